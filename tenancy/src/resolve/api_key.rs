//! The text of an API key: `fwk_<prefix>_<secret>`, and what is kept of it.
//!
//! The secret is two version 4 UUIDs: 244 bits of the operating system's randomness. What is kept is the SHA-256 of the
//! whole text. INVARIANT: the text is shown by [`ApiKeySecret::reveal`] alone, never by `Debug`.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

const MARK: &str = "fwk_";
const PREFIX: usize = 12;
const SECRET: usize = 64;

/// The key itself, which is shown once.
#[derive(Clone)]
pub struct ApiKeySecret(String);

impl ApiKeySecret {
    pub(crate) fn generate() -> Self {
        let secret = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let prefix: String = Uuid::new_v4().simple().to_string().chars().take(PREFIX).collect();
        Self(format!("{MARK}{prefix}_{secret}"))
    }

    /// The text that its holder sends.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn last_four(&self) -> &str {
        self.0.get(self.0.len().saturating_sub(4)..).unwrap_or_default()
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeySecret(..)")
    }
}

/// What of a key is compared: enough to find it, not enough to be it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ApiKeyDigest {
    prefix: String,
    hash: [u8; 32],
}

impl ApiKeyDigest {
    /// None when it does not have the shape of a key, which is no secret.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let (prefix, secret) = text.strip_prefix(MARK)?.split_once('_')?;
        let hexadecimal = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let has_shape =
            prefix.len() == PREFIX && secret.len() == SECRET && hexadecimal(prefix) && hexadecimal(secret);
        has_shape.then(|| Self { prefix: prefix.to_owned(), hash: Sha256::digest(text).into() })
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn hash(&self) -> &[u8] {
        &self.hash
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_has_a_shape_and_no_two_are_the_same() {
        let (a, b) = (ApiKeySecret::generate(), ApiKeySecret::generate());
        let (a_digest, b_digest) =
            (ApiKeyDigest::of(a.reveal()).unwrap(), ApiKeyDigest::of(b.reveal()).unwrap());
        assert_ne!(a_digest, b_digest);
        assert_ne!(a_digest.prefix(), b_digest.prefix());
        assert!(a.reveal().ends_with(a.last_four()) && a.last_four().len() == 4);
        assert_eq!(format!("{a:?}"), "ApiKeySecret(..)");
        let text = a.reveal();
        for bad in
            ["", "fwk_", "fwk__", &text.to_uppercase(), &format!("{text}0"), &format!(" {text}"), &text[1..]]
        {
            assert_eq!(ApiKeyDigest::of(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(fwk_)?\\PC{0,90}", hex in "fwk_[0-9a-f]{11,13}_[0-9a-f]{63,65}") {
            prop_assert_eq!(ApiKeyDigest::of(&text), None);
            prop_assert_eq!(ApiKeyDigest::of(&hex).is_some(), hex.len() == 81 && hex.find("_").is_some() && hex.as_bytes()[16] == b'_');
        }
    }
}
