//! Errors of writing and of listing.

use formwork_tenancy::StorageError;

/// An event could not be written, or the trail not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Not of the form `noun.verb`.
    #[error("`{action}` is no action: write it as `noun.verb`, lower case")]
    InvalidAction {
        /// As given.
        action: String,
    },
    /// Not among the declared ones.
    #[error("`{action}` is not declared: add it to the program's `Actions`")]
    UnknownAction {
        /// As given.
        action: String,
    },
    /// What is to be compared has no fields.
    #[error("only structs and maps can be compared field by field")]
    NoFields,
    /// Personal fields could not be sealed or opened.
    #[cfg(feature = "keys")]
    #[error("the personal fields could not be sealed or opened")]
    Keys(#[from] formwork_tenancy::keys::KeyError),
    /// There are personal fields, and nothing to seal or to open them with.
    #[cfg(feature = "keys")]
    #[error("the event has personal fields: give the trail the tenants' keys with `Audit::keys`")]
    NoKeys,
    /// The database failed.
    #[error("the audit trail could not be reached")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for AuditError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}
