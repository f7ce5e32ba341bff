//! A value as it stands in a row: sealed.

use std::{borrow::Cow, fmt, marker::PhantomData};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sqlx::{
    Postgres,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef},
};

/// Format of the bytes: 1, the version of the data key as 4 bytes, big-endian, nonce, ciphertext, tag.
const FORMAT: u8 = 1;
pub(super) const HEADER: usize = 5;
/// Bytes that sealing adds.
const OVERHEAD: usize = HEADER + super::cipher::NONCE + super::cipher::TAG;

/// A `T` that only [`Keys::open`](super::Keys::open) shows. A column of type `bytea`.
///
/// It holds no plaintext, so neither `Debug` nor serde can show one: serde writes the sealed bytes, as a text
/// that begins with `sealed:`, and reads them back. Sealing adds 45 bytes.
///
/// ```
/// # fn example(row: &sqlx::postgres::PgRow) -> Result<(), sqlx::Error> {
/// use formwork_tenancy::keys::Sealed;
/// use sqlx::Row;
///
/// let passport: Option<Sealed<String>> = row.try_get("passport")?;
/// # Ok(()) }
/// ```
pub struct Sealed<T> {
    bytes: Vec<u8>,
    value: PhantomData<fn() -> T>,
}

/// What the bytes of a key's version begin with.
pub(super) fn header(version: u32) -> [u8; HEADER] {
    let [a, b, c, d] = version.to_be_bytes();
    [FORMAT, a, b, c, d]
}

impl<T> Sealed<T> {
    /// What stands in a column, as it stands there. Whether it is whole shows when it is opened.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, value: PhantomData }
    }

    /// As it stands in a column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Version of the data key under which it was sealed; none when the bytes are no sealed value of a format that is
    /// known here.
    pub fn key_version(&self) -> Option<u32> {
        self.parts().map(|(version, _)| version)
    }

    /// The key's version, and what stands behind the header.
    pub(super) fn parts(&self) -> Option<(u32, &[u8])> {
        let ([FORMAT, version @ ..], rest) = self.bytes.split_first_chunk::<HEADER>()? else { return None };
        (self.bytes.len() >= OVERHEAD).then_some((u32::from_be_bytes(*version), rest))
    }
}

impl<T> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self::from_bytes(self.bytes.clone())
    }
}

impl<T> PartialEq for Sealed<T> {
    /// The same bytes: two sealings of one value are not equal.
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Sealed<T> {}

impl<T> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.bytes.len())
    }
}

impl<T> sqlx::Type<Postgres> for Sealed<T> {
    fn type_info() -> PgTypeInfo {
        <Vec<u8> as sqlx::Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <Vec<u8> as sqlx::Type<Postgres>>::compatible(ty)
    }
}

impl<T> PgHasArrayType for Sealed<T> {
    fn array_type_info() -> PgTypeInfo {
        <Vec<u8> as PgHasArrayType>::array_type_info()
    }
}

impl<T> sqlx::Encode<'_, Postgres> for Sealed<T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&[u8] as sqlx::Encode<Postgres>>::encode(self.as_bytes(), buffer)
    }
}

impl<'r, T> sqlx::Decode<'r, Postgres> for Sealed<T> {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <Vec<u8> as sqlx::Decode<Postgres>>::decode(value).map(Self::from_bytes)
    }
}

const PREFIX: &str = "sealed:";

impl<T> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = PREFIX.to_owned();
        STANDARD_NO_PAD.encode_string(&self.bytes, &mut text);
        serializer.serialize_str(&text)
    }
}

impl<'de, T> Deserialize<'de> for Sealed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        // Whoever sends plaintext by mistake does not find it in a log: the text is not repeated.
        text.strip_prefix(PREFIX)
            .and_then(|text| STANDARD_NO_PAD.decode(text).ok())
            .map(Self::from_bytes)
            .ok_or_else(|| de::Error::custom("not a sealed value: it does not read `sealed:` and base64"))
    }
}
