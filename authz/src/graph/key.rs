//! Ids as numbers of 128 bits, so that two are compared without reading text.
//!
//! Text of up to fifteen bytes and UUIDs are their own keys. Longer text has a hash for a key, under a
//! secret of this process, and its text decides.
//!
//! INVARIANT: the last byte of a key says which of the three it is, so no key stands for two ids of
//! the first two kinds.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Deref;

use uuid::Uuid;

use crate::packed::{SHORT, fold, pack};

/// The last byte of a short text is its length, that of a UUID its variant (a byte of 0x80 to 0xbf), and
/// this one of a longer text.
const LONG: u8 = 0xff;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u128);

/// Hashes ids under a secret of this process: ids come from outside, and whoever could choose
/// colliding ones could make every lookup slow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameHash {
    first: u64,
    second: u64,
    third: u64,
}

impl NameHash {
    pub(crate) fn new() -> Self {
        let state = RandomState::new();
        let key = |n: u64| {
            let mut hasher = state.build_hasher();
            hasher.write_u64(n);
            hasher.finish()
        };
        Self { first: key(1), second: key(2) | 1, third: key(3) | 1 }
    }

    /// A number that other graphs of this process have only by a rare chance.
    pub(crate) fn stamp(&self) -> u32 {
        (self.first >> 32) as u32 ^ self.second as u32
    }

    #[inline]
    pub(super) fn key(&self, name: &str) -> Key {
        let bytes = name.as_bytes();
        if let Some(short) = pack(bytes) {
            return Key(short);
        }
        uuid(bytes).unwrap_or_else(|| {
            let (low, high) = (self.long(bytes, self.first), self.long(bytes, self.third));
            Key(u128::from(low) | (u128::from(high >> 8) << 64) | (u128::from(LONG) << 120))
        })
    }

    /// The hash of a key; spaces are apart.
    #[inline]
    pub(super) fn hash(&self, space: u32, Key(key): Key) -> u64 {
        let (low, high) = (key as u64, (key >> 64) as u64);
        fold(fold(low ^ self.first, high ^ self.second), self.third ^ u64::from(space))
    }

    fn long(&self, bytes: &[u8], start: u64) -> u64 {
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        let state = words.fold(start ^ bytes.len() as u64, |state, word| fold(state ^ word, self.second));
        let last = rest.iter().fold(0, |last, &byte| (last << 8) | u64::from(byte));
        fold(state ^ last, self.third)
    }
}

/// A UUID as one writes it, in small letters and of the usual variant; its byte of the variant last.
fn uuid(bytes: &[u8]) -> Option<Key> {
    if bytes.len() != 36 || bytes.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut id = Uuid::try_parse_ascii(bytes).ok()?.into_bytes();
    id.swap(8, 15);
    id.last().is_some_and(|variant| (0x80..0xc0).contains(variant)).then(|| Key(u128::from_le_bytes(id)))
}

impl Key {
    /// Whether the text is kept apart.
    pub(super) fn is_long(self) -> bool {
        (self.0 >> 120) as u8 == LONG
    }

    pub(super) fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    pub(super) fn bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// The id of a stored key that is not a longer text.
    pub(super) fn name(stored: &[u8; 16]) -> Option<Name<'_>> {
        let len = *stored.last()? as usize;
        if len <= SHORT {
            return stored.get(..len).and_then(|text| std::str::from_utf8(text).ok()).map(Name::Text);
        }
        let mut id = *stored;
        id.swap(8, 15);
        let mut text = [0; 36];
        Uuid::from_bytes(id).hyphenated().encode_lower(&mut text);
        Some(Name::Uuid(text))
    }
}

/// An id as text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name<'g> {
    Text(&'g str),
    Uuid([u8; 36]),
}

impl Deref for Name<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Uuid(text) => std::str::from_utf8(text).unwrap_or_default(),
        }
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name<'_> {}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_text_back_and_no_two_are_equal() {
        let hash = NameHash::new();
        let uuid = "0192f0c1-2b3c-7d4e-8f50-61728394a5b6";
        let mut texts: Vec<String> =
            (1..=20).map(|len| "abcdefghijklmnopqrstuvwxyz"[..len].to_owned()).collect();
        texts.extend(["é", "ä".repeat(7).as_str(), "a\0", "a\0\0", "", uuid].map(str::to_owned));
        // Neither is text of a UUID as one writes it.
        texts.extend([uuid.to_uppercase(), uuid.replace("-8f50-", "-0f50-"), uuid.replace('-', "")]);
        for (at, text) in texts.iter().enumerate() {
            let key = hash.key(text);
            assert_eq!(key, Key::of_bytes(key.bytes()));
            assert!(texts.iter().take(at).all(|other| hash.key(other) != key), "{text}");
            assert_eq!(key.is_long(), text.len() > SHORT && text != uuid, "{text}");
            if !key.is_long() {
                assert_eq!(Key::name(&key.bytes()).as_deref(), Some(text.as_str()));
            }
        }
    }
}
