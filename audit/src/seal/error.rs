//! Errors of sealing, of verifying and of proving.

use formwork_tenancy::{CursorError, StorageError};
use uuid::Uuid;

use super::{AnchorError, PublicKey};

/// A trail could not be sealed, verified, or proved. What verifying finds is no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The last checkpoint is signed by a key that the sealer does not have.
    #[error("the last checkpoint is signed by `{key}`: give the sealer that key as the retiring one")]
    UnknownKey {
        /// The key.
        key: PublicKey,
    },
    /// What is to be built upon is broken.
    #[error("the seals are broken, {what}: nothing is sealed; verify the trail and find out who changed it")]
    Broken {
        /// In which way.
        what: &'static str,
    },
    /// There is no such event, or none that is sealed.
    #[error("event `{event}` is not sealed: seal, and ask again")]
    NotSealed {
        /// As given.
        event: Uuid,
    },
    /// The event was removed when its time was over; its leaf is still there.
    #[error("event `{event}` was removed when its time was over, by tombstone {tombstone}")]
    Removed {
        /// As given.
        event: Uuid,
        /// Number of the checkpoint that covers it.
        tombstone: u64,
    },
    /// There is no such checkpoint.
    #[error("there is no checkpoint {number}, or it cannot be read")]
    NoCheckpoint {
        /// As given.
        number: u64,
    },
    /// The anchor failed.
    #[error("the anchor could not be used")]
    Anchor(#[source] AnchorError),
    /// The database failed.
    #[error("the audit trail could not be reached")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for SealError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl From<CursorError> for SealError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Storage(error) => Self::Storage(error),
            error => Self::Storage(sqlx::Error::Configuration(Box::new(error)).into()),
        }
    }
}
