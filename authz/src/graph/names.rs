//! Ids of one type's objects as dense numbers, both ways; copies share what has not changed.
//!
//! The table of a shard holds, beside each number, a part of its hash: that part is compared first, so
//! that a number is known before its key has been read, and the key confirms it.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::graph::cow_vec::CowVec;
use crate::graph::key::{Key, Name, NameHash};

/// Names of one piece, as a power of two.
const PIECE_BITS: u32 = 4;
const PIECE: usize = 1 << PIECE_BITS;
/// Names of a shard, on average, before the table is spread over more of them.
const FULL: usize = 128;
/// The two largest numbers stand for what is absent.
const MAX_NUMBER: u32 = u32::MAX - 2;

/// Sixteen names.
#[derive(Debug, Clone, Default)]
struct Piece {
    keys: [[u8; 16]; PIECE],
    /// Longer texts, by place.
    texts: Option<Box<FxHashMap<u8, Box<str>>>>,
}

impl Piece {
    fn put(&mut self, at: usize, key: Key, name: &str) {
        if let Some(place) = self.keys.get_mut(at) {
            *place = key.bytes();
        }
        if key.is_long() {
            self.texts.get_or_insert_default().insert(at as u8, name.into());
        }
    }

    fn text(&self, at: usize) -> Option<&str> {
        self.texts.as_ref()?.get(&(at as u8)).map(|text| &**text)
    }

    #[inline]
    fn key(&self, at: usize) -> Option<Key> {
        self.keys.get(at).copied().map(Key::of_bytes)
    }

    fn name(&self, at: usize) -> Option<Name<'_>> {
        if self.key(at)?.is_long() { self.text(at).map(Name::Text) } else { Key::name(self.keys.get(at)?) }
    }

    fn bytes(&self) -> usize {
        let texts = self.texts.iter().flat_map(|texts| texts.values());
        size_of::<Self>() + 16 + texts.map(|text| text.len() + 48).sum::<usize>()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pieces: CowVec<Arc<Piece>>,
    /// Open tables; an entry has the upper half of a hash, and the number + 1.
    shards: CowVec<Arc<[u64]>>,
    len: u32,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn name(&self, number: u32) -> Option<Name<'_>> {
        let (piece, at) = self.place(number)?;
        piece.name(at)
    }

    #[inline]
    fn place(&self, number: u32) -> Option<(&Piece, usize)> {
        if number >= self.len {
            return None;
        }
        Some((self.pieces.get((number >> PIECE_BITS) as usize)?, number as usize & (PIECE - 1)))
    }

    fn key(&self, number: u32) -> Option<Key> {
        let (piece, at) = self.place(number)?;
        piece.key(at)
    }

    pub(crate) fn find(&self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        self.seek(hash, space, name).number()
    }

    /// The first half of [`Names::find`]: who looks for several begins with all of them, so that they
    /// wait for memory together.
    #[inline]
    pub(crate) fn seek<'n>(&'n self, hash: &NameHash, space: u32, name: &'n str) -> Seek<'n> {
        let key = hash.key(name);
        self.seek_key(hash.hash(space, key), key, name)
    }

    #[inline]
    fn seek_key<'n>(&'n self, hash: u64, key: Key, name: &'n str) -> Seek<'n> {
        let table: &[u64] = self.shard_of(hash).and_then(|shard| self.shards.get(shard)).map_or(&[], |t| t);
        let at = start(table, hash);
        let entry = table.get(at).copied().unwrap_or(0);
        Seek { names: self, table, hash, key, name, at, entry }
    }

    #[inline]
    fn shard_of(&self, hash: u64) -> Option<usize> {
        // The number of shards is a power of two; the bits are apart from those of the place in a table.
        Some((hash >> 40) as usize & self.shards.len().checked_sub(1)?)
    }

    /// The next number for a name that is not known yet; `None` when there are too many.
    pub(crate) fn add(&mut self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        let number = self.len;
        if number >= MAX_NUMBER {
            return None;
        }
        let (key, at) = (hash.key(name), number as usize % PIECE);
        if at == 0 {
            self.pieces.push(Arc::default());
        }
        let piece = self.pieces.get_mut((number >> PIECE_BITS) as usize)?;
        Arc::make_mut(piece).put(at, key, name);
        self.len += 1;
        if self.len as usize > self.shards.len() * FULL {
            let of = |number| self.key(number).map_or(0, |key| hash.hash(space, key));
            let hashes: Vec<u64> = (0..self.len).map(of).collect();
            self.spread(&hashes);
        } else {
            self.enter(hash, space, hash.hash(space, key), number);
        }
        Some(number)
    }

    fn enter(&mut self, hash: &NameHash, space: u32, of_name: u64, number: u32) -> Option<()> {
        let shard = self.shard_of(of_name)?;
        let table = self.shards.get(shard)?;
        let used = table.iter().filter(|&&entry| entry != 0).count();
        if (used + 1) * 4 > table.len() * 3 {
            let numbers = table.iter().filter(|&&entry| entry != 0).map(|&entry| entry as u32 - 1);
            let of = |number| (self.key(number).map_or(0, |key| hash.hash(space, key)), number);
            let all: Vec<(u64, u32)> = numbers.map(of).chain([(of_name, number)]).collect();
            *self.shards.get_mut(shard)? = table_of(&all);
        } else {
            put(Arc::make_mut(self.shards.get_mut(shard)?), of_name, number);
        }
        Some(())
    }

    /// Makes the shards anew; `hashes` by number.
    fn spread(&mut self, hashes: &[u64]) {
        let count = hashes.len().div_ceil(FULL / 2).next_power_of_two();
        let mut shards: Vec<Vec<(u64, u32)>> = vec![Vec::new(); count];
        for (number, &hash) in (0..).zip(hashes) {
            if let Some(shard) = shards.get_mut((hash >> 40) as usize & (count - 1)) {
                shard.push((hash, number));
            }
        }
        self.shards = shards.iter().map(|shard| table_of(shard)).collect();
    }

    pub(crate) fn bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.bytes()).sum();
        let tables: usize = self.shards.iter().map(|table| table.len() * 8 + 16).sum();
        self.pieces.bytes() + self.shards.bytes() + pieces + tables
    }
}

/// A name that is being looked for.
pub(crate) struct Seek<'n> {
    names: &'n Names,
    table: &'n [u64],
    hash: u64,
    key: Key,
    name: &'n str,
    at: usize,
    /// What stands there.
    entry: u64,
}

impl Seek<'_> {
    #[inline]
    pub(crate) fn number(mut self) -> Option<u32> {
        while self.entry != 0 {
            if (self.entry >> 32) == (self.hash >> 32) {
                let number = (self.entry as u32).wrapping_sub(1);
                let (piece, place) = self.names.place(number)?;
                let text = || !self.key.is_long() || piece.text(place) == Some(self.name);
                if piece.key(place) == Some(self.key) && text() {
                    return Some(number);
                }
            }
            self.at = if self.at + 1 == self.table.len() { 0 } else { self.at + 1 };
            self.entry = *self.table.get(self.at)?;
        }
        None
    }
}

/// Where the search for a hash begins.
#[inline]
fn start(table: &[u64], hash: u64) -> usize {
    ((u64::from(hash as u32) * table.len() as u64) >> 32) as usize
}

fn table_of(entries: &[(u64, u32)]) -> Arc<[u64]> {
    // Room to grow, and at most three quarters full: a search always meets a free place.
    let mut table = vec![0; entries.len() * 3 / 2 + 2];
    for &(hash, number) in entries {
        put(&mut table, hash, number);
    }
    table.into()
}

fn put(table: &mut [u64], hash: u64, number: u32) {
    let mut at = start(table, hash);
    while let Some(place) = table.get_mut(at) {
        if *place == 0 {
            *place = (hash >> 32 << 32) | u64::from(number + 1);
            return;
        }
        at = if at + 1 == table.len() { 0 } else { at + 1 };
    }
}

/// Gives numbers to names in bulk; then they are [`Names`].
#[derive(Debug, Default)]
pub(crate) struct NamesBuilder {
    keys: Vec<Key>,
    texts: FxHashMap<u32, Box<str>>,
    hashes: Vec<u64>,
    /// As a table of [`Names`].
    table: Vec<u64>,
}

impl NamesBuilder {
    fn is(&self, number: u32, key: Key, name: &str) -> bool {
        self.keys.get(number as usize) == Some(&key)
            && (!key.is_long() || self.texts.get(&number).is_some_and(|text| **text == *name))
    }

    /// The number of a name, new or known; `None` when there are too many.
    pub(crate) fn intern(&mut self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        if (self.hashes.len() + 1) * 3 > self.table.len() * 2 {
            self.table = vec![0; (self.hashes.len() + 8) * 4];
            for (number, &hash) in (0..).zip(&self.hashes) {
                put(&mut self.table, hash, number);
            }
        }
        let key = hash.key(name);
        let hash = hash.hash(space, key);
        let mut at = start(&self.table, hash);
        loop {
            let entry = *self.table.get(at)?;
            if entry == 0 {
                break;
            }
            let number = (entry as u32).wrapping_sub(1);
            if (entry >> 32) == (hash >> 32) && self.is(number, key, name) {
                return Some(number);
            }
            at = if at + 1 == self.table.len() { 0 } else { at + 1 };
        }
        let number = u32::try_from(self.hashes.len()).ok().filter(|&number| number < MAX_NUMBER)?;
        *self.table.get_mut(at)? = (hash >> 32 << 32) | u64::from(number + 1);
        if key.is_long() {
            self.texts.insert(number, name.into());
        }
        self.keys.push(key);
        self.hashes.push(hash);
        Some(number)
    }

    pub(crate) fn finish(self) -> Names {
        let text = |number: usize| self.texts.get(&(number as u32)).map_or("", |text| text);
        let piece = |(first, keys): (usize, &[Key])| {
            let mut piece = Piece::default();
            for (at, &key) in keys.iter().enumerate() {
                let text = if key.is_long() { text(first * PIECE + at) } else { "" };
                piece.put(at, key, text);
            }
            Arc::new(piece)
        };
        let pieces = self.keys.chunks(PIECE).enumerate().map(piece).collect();
        let mut names = Names { pieces, shards: CowVec::default(), len: self.keys.len() as u32 };
        if !self.hashes.is_empty() {
            names.spread(&self.hashes);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_number() {
        let hash = NameHash::new();
        let mut builder = NamesBuilder::default();
        // Short ones, UUIDs and longer ones.
        let name = |i: u32| match i % 3 {
            0 => format!("object-{i}"),
            1 => format!("0192f0c1-2b3c-7d4e-8f50-0000{i:08x}"),
            _ => format!("an object with a longer name {i}"),
        };
        for round in 0..2 {
            for i in 0..1_000 {
                assert_eq!(builder.intern(&hash, 0, &name(i)), Some(i), "round {round}");
            }
        }
        let built = builder.finish();
        let mut names = built.clone();
        for i in 1_000..5_000 {
            assert_eq!(names.find(&hash, 0, &name(i)), None);
            assert_eq!(names.add(&hash, 0, &name(i)), Some(i));
        }
        for i in 0..5_000 {
            assert_eq!(names.find(&hash, 0, &name(i)), Some(i));
            assert_eq!(names.name(i).as_deref(), Some(name(i).as_str()));
            assert_eq!(built.name(i).is_some(), i < 1_000);
        }
        assert_eq!((built.len(), names.len(), names.name(5_000)), (1_000, 5_000, None));
        assert_eq!(names.find(&hash, 0, "object"), None);
        assert_eq!(Names::default().find(&hash, 0, "object"), None);
        let mut few = Names::default();
        assert_eq!(few.add(&hash, 7, "first"), Some(0));
        assert_eq!(few.find(&hash, 7, "first"), Some(0));
    }

    #[test]
    fn equal_hashes_do_not_make_equal_names() {
        let mut names = Names::default();
        let hash = NameHash::new();
        for (number, name) in (0..).zip(["one", "two", "three"]) {
            assert_eq!(names.add(&hash, 0, name), Some(number));
        }
        let of_one = hash.hash(0, hash.key("one"));
        assert_eq!(names.seek_key(of_one, hash.key("two"), "two").number(), None);
        assert_eq!(names.seek_key(of_one, hash.key("one"), "one").number(), Some(0));
    }
}
