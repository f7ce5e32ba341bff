//! Finding sealed values by equality, without opening them.
//!
//! HMAC-SHA-256 of the normalised value, under a key of the column that is derived (HKDF) from the tenant's index key.
//! It tells whoever reads the column which rows of one tenant hold equal values, and how often; not which value, and
//! nothing between two tenants or two columns. A short index makes different values collide on purpose: then rows must
//! be opened and compared, and less can be told from it.

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sqlx::{
    Postgres,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef},
};
use zeroize::Zeroizing;

use super::{KeyError, Keys, Purpose, SecretKey, encoding::joined, normalise};
use crate::TenantTx;

/// A column that can be searched by equality although it is sealed.
///
/// ```
/// use formwork_tenancy::keys::{IndexedColumn, normalise};
///
/// const EMAIL: IndexedColumn = IndexedColumn::new("people", "email").normalised(normalise::ignoring_case);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct IndexedColumn {
    table: &'static str,
    column: &'static str,
    length: usize,
    normalise: fn(&str) -> String,
}

impl IndexedColumn {
    /// The column as it is, with an index of 16 bytes. The names are those under which it was first used.
    pub const fn new(table: &'static str, column: &'static str) -> Self {
        Self { table, column, length: 16, normalise: normalise::exact }
    }

    /// Length of the index in bytes, from 1 to 32. Two different values share an index of `n` bytes with a probability
    /// of 1 in 256 to the power of `n`.
    #[must_use]
    pub const fn length(mut self, bytes: usize) -> Self {
        self.length = match bytes {
            0 => 1,
            1..=32 => bytes,
            _ => 32,
        };
        self
    }

    /// Values of the same form count as equal: [`normalise`].
    #[must_use]
    pub const fn normalised(mut self, form: fn(&str) -> String) -> Self {
        self.normalise = form;
        self
    }

    fn index(&self, key: &SecretKey, value: &str) -> BlindIndex {
        let place = joined(&[b"formwork/blind-index", self.table.as_bytes(), self.column.as_bytes()]);
        let mut column_key = Zeroizing::new([0; 32]);
        // 32 bytes are below every limit of HKDF, and HMAC takes a key of any length.
        let derived = Hkdf::<Sha256>::new(None, key.expose()).expand(&place, &mut *column_key);
        let mac = derived.ok().and_then(|()| Hmac::<Sha256>::new_from_slice(&*column_key).ok());
        let value = Zeroizing::new((self.normalise)(value));
        let bytes = mac.map(|mac| mac.chain_update(value.as_bytes()).finalize().into_bytes());
        BlindIndex(bytes.iter().flatten().take(self.length).copied().collect())
    }
}

impl Keys {
    /// The index of a value that is being written. The index key is made on first use, as the data key is.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn blind_index(
        &self,
        tx: &mut TenantTx,
        column: &IndexedColumn,
        value: &str,
    ) -> Result<BlindIndex, KeyError> {
        let key = self.newest_or_new(tx, Purpose::Index).await?;
        Ok(column.index(&key.secret, value))
    }

    /// The index of a value that is looked for; none when this tenant has never indexed anything, and so has no row to
    /// find. Bound into `column = $1` it finds no row then. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub async fn blind_index_to_find(
        &self,
        tx: &mut TenantTx,
        column: &IndexedColumn,
        value: &str,
    ) -> Result<Option<BlindIndex>, KeyError> {
        let key = self.newest(tx, Purpose::Index).await?;
        Ok(key.map(|key| column.index(&key.secret, value)))
    }
}

/// What stands in the place of a value, to find it by. A column of type `bytea`, best with an index on
/// `(tenant_id, column)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BlindIndex(Vec<u8>);

impl BlindIndex {
    /// As it stands in a column.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for BlindIndex {
    /// Equal values could be told by it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlindIndex({} bytes)", self.0.len())
    }
}

impl sqlx::Type<Postgres> for BlindIndex {
    fn type_info() -> PgTypeInfo {
        <Vec<u8> as sqlx::Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <Vec<u8> as sqlx::Type<Postgres>>::compatible(ty)
    }
}

impl PgHasArrayType for BlindIndex {
    fn array_type_info() -> PgTypeInfo {
        <Vec<u8> as PgHasArrayType>::array_type_info()
    }
}

impl sqlx::Encode<'_, Postgres> for BlindIndex {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <&[u8] as sqlx::Encode<Postgres>>::encode(self.as_bytes(), buffer)
    }
}

impl<'r> sqlx::Decode<'r, Postgres> for BlindIndex {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <Vec<u8> as sqlx::Decode<Postgres>>::decode(value).map(Self)
    }
}
