//! What can be sealed, and what can be made of it again.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::types::Json;

/// A value that can be sealed: text, bytes, and with [`Json`] around it whatever serde can write.
pub trait ToSealed {
    /// What opening gives.
    type Value: FromSealed;

    /// Appends the plaintext; false when the value cannot be written.
    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool;

    /// About how long the plaintext is, in bytes.
    fn plain_len(&self) -> usize {
        64
    }
}

/// What a sealed value can be opened as.
pub trait FromSealed: Sized {
    /// The value; none when the plaintext is not one of this type. What is wrong with it is not told, since that would
    /// repeat part of it.
    fn from_plain(plain: Vec<u8>) -> Option<Self>;
}

impl ToSealed for str {
    type Value = String;

    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool {
        self.as_bytes().write_plain(buffer)
    }

    fn plain_len(&self) -> usize {
        self.len()
    }
}

impl ToSealed for [u8] {
    type Value = Vec<u8>;

    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool {
        buffer.extend_from_slice(self);
        true
    }

    fn plain_len(&self) -> usize {
        self.len()
    }
}

impl ToSealed for String {
    type Value = Self;

    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool {
        self.as_str().write_plain(buffer)
    }

    fn plain_len(&self) -> usize {
        self.len()
    }
}

impl ToSealed for Vec<u8> {
    type Value = Self;

    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool {
        self.as_slice().write_plain(buffer)
    }

    fn plain_len(&self) -> usize {
        self.len()
    }
}

impl<T: Serialize + DeserializeOwned> ToSealed for Json<T> {
    type Value = Self;

    fn write_plain(&self, buffer: &mut Vec<u8>) -> bool {
        serde_json::to_writer(buffer, &self.0).is_ok()
    }
}

impl FromSealed for String {
    fn from_plain(plain: Vec<u8>) -> Option<Self> {
        Self::from_utf8(plain).ok()
    }
}

impl FromSealed for Vec<u8> {
    fn from_plain(plain: Vec<u8>) -> Option<Self> {
        Some(plain)
    }
}

impl<T: DeserializeOwned> FromSealed for Json<T> {
    fn from_plain(plain: Vec<u8>) -> Option<Self> {
        serde_json::from_slice(&plain).ok().map(Json)
    }
}
