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
    /// The database failed.
    #[error("the audit trail could not be reached")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for AuditError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}
