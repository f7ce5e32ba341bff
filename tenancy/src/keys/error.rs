//! What can go wrong with a sealed value. No text repeats a value or a key.

use super::{Field, ProviderError};
use crate::{Retryable, StorageError, TenantId};

/// A value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The tenant's keys have been shredded. Nothing will ever open its values again.
    #[error("the keys of tenant {tenant} have been shredded: its sealed values are gone for good")]
    Shredded {
        /// The tenant.
        tenant: TenantId,
    },
    /// The bytes are not what was sealed for this place.
    #[error(
        "`{table}.{column}` holds bytes that were not sealed for this place: changed, or copied from another row, \
         column, table or tenant"
    )]
    NotSealedHere {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The tenant has no data key of this version.
    #[error(
        "`{table}.{column}` is sealed under version {version} of the tenant's data key, which it does not have"
    )]
    UnknownVersion {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The version that the bytes name.
        version: u32,
    },
    /// The value was opened and is not of the type that was asked for, or one was given that cannot be written.
    #[error("the value of `{table}.{column}` is not of the type that was asked for")]
    NotOfType {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// The key provider failed. A value whose key is in memory is opened all the same.
    #[error("the tenant's key could not be had")]
    Provider(#[source] ProviderError),
    /// The database failed.
    #[error("the tenant's keys could not be read or written")]
    Storage(#[from] StorageError),
    /// The system has no random numbers.
    #[error("no random numbers to seal with")]
    Random(#[source] std::io::Error),
}

impl KeyError {
    /// Would the same, run again, have a chance?
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Provider(error) => error.is_retryable(),
            Self::Storage(error) => error.is_retryable(),
            _ => false,
        }
    }

    pub(super) fn of_provider(error: ProviderError, tenant: TenantId) -> Self {
        match error {
            ProviderError::Destroyed => Self::Shredded { tenant },
            error => Self::Provider(error),
        }
    }

    pub(super) fn not_sealed_here(field: Field<'_>) -> Self {
        Self::NotSealedHere { table: field.table.to_owned(), column: field.column.to_owned() }
    }

    pub(super) fn not_of_type(field: Field<'_>) -> Self {
        Self::NotOfType { table: field.table.to_owned(), column: field.column.to_owned() }
    }

    pub(super) fn unknown_version(field: Field<'_>, version: u32) -> Self {
        Self::UnknownVersion { table: field.table.to_owned(), column: field.column.to_owned(), version }
    }
}

impl From<sqlx::Error> for KeyError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl Retryable for KeyError {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}
