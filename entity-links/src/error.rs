//! Why a link could not be made, taken away or listed.

use formwork_audit::AuditError;
use formwork_authz::CheckError;
use formwork_tenancy::StorageError;

use crate::End;

/// A link operation did not succeed; nothing of it is stored once the transaction is dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No link type has this name.
    #[error("`{name}` is no relationship: use one of {known}")]
    UnknownType {
        /// As given.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The link type does not join these kinds.
    #[error("`{name}` does not join `{from}` to `{to}`")]
    WrongKind {
        /// The link type.
        name: String,
        /// Kind of the source.
        from: String,
        /// Kind of the target.
        to: String,
    },
    /// An entity may not be linked to itself.
    #[error("`{end}` cannot be linked to itself")]
    Itself {
        /// The entity.
        end: End,
    },
    /// An end does not exist, or the actor may not see it: the answer is the same.
    #[error("there is no `{end}`")]
    NotFound {
        /// The end.
        end: End,
    },
    /// No such link, or none that the actor may see.
    #[error("there is no such link")]
    NoSuchLink,
    /// The actor sees the end but may not link it.
    #[error("permission `link` on `{end}` is needed")]
    Denied {
        /// The end.
        end: End,
    },
    /// The two are linked like this already.
    #[error("`{from}` and `{to}` are linked as `{name}` already")]
    Exists {
        /// The source.
        from: End,
        /// The link type.
        name: String,
        /// The target.
        to: End,
    },
    /// A permission could not be decided.
    #[error("the permission to link could not be decided")]
    Check(#[from] CheckError),
    /// The audit trail could not be written.
    #[error("the link could not be recorded")]
    Audit(#[from] AuditError),
    /// The database failed.
    #[error("the links could not be reached")]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for LinkError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}
