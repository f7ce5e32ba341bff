//! 32 bytes that nobody sees: never printed, overwritten when dropped.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// A key of 256 bits. Its `Debug` shows nothing, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// A new key, from the system's random numbers.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut key = Self(Zeroizing::new([0; 32]));
        getrandom::fill(&mut *key.0).map_err(std::io::Error::other)?;
        Ok(key)
    }

    /// The key with these bytes; none when they are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Self(Zeroizing::new([0; 32]));
        (bytes.len() == key.0.len()).then(|| key.0.copy_from_slice(bytes))?;
        Some(key)
    }

    /// The bytes, for a provider that wraps them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// How a key stands in a key file. Private to it: a public `Serialize` would put keys into logs.
pub(super) mod as_base64 {
    use super::*;

    /// A key that serde may write.
    #[derive(Clone)]
    pub(in super::super) struct Stored(pub(in super::super) SecretKey);

    impl Serialize for Stored {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0.expose())))
        }
    }

    impl<'de> Deserialize<'de> for Stored {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(Base64Key)
        }
    }

    struct Base64Key;

    impl de::Visitor<'_> for Base64Key {
        type Value = Stored;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("32 bytes in base64")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Stored, E> {
            // The error of serde would repeat the text.
            let bad = || E::custom("a key is not 32 bytes in base64");
            let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| bad())?);
            SecretKey::from_slice(&bytes).map(Stored).ok_or_else(bad)
        }
    }
}
