//! Why a schema was not adopted.

use formwork_tenancy::StorageError;

use super::SchemaPlan;
use crate::schema::{ConversionError, SchemaError};

/// A schema was not adopted; nothing was stored, and the transaction can go on (not after [`AdoptError::Storage`]).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// Relationships are stored that it has no place for.
    #[error("relationships are stored that the schema has no place for; nothing was changed:\n{0}")]
    Orphans(Box<SchemaPlan>),
    /// Neither language can say the schema as text.
    #[error(transparent)]
    Unsaid(#[from] ConversionError),
    /// What is stored is read by this version of the library as no schema.
    #[error("the stored schema of version {version} cannot be read: it was stored by a newer program")]
    Unreadable {
        /// Which one.
        version: i32,
        /// What is wrong with its text.
        #[source]
        source: Box<SchemaError>,
    },
    /// Who adopts a schema needs to see what others have just committed.
    #[error("a schema is adopted at the isolation level READ COMMITTED only: begin the transaction so")]
    Isolation,
    /// The database failed.
    #[error("the schemas could not be read or stored")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for AdoptError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}
