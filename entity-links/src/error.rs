//! Why a link could not be made, taken away or listed.

use formwork_audit::AuditError;
use formwork_authz::CheckError;
use formwork_tenancy::StorageError;

use crate::{End, InvalidLinkType, MetadataError};

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
    /// A type that a tenant was to have cannot be one.
    #[error(transparent)]
    InvalidType(#[from] InvalidLinkType),
    /// A type that has links cannot be changed or taken away.
    #[error("`{name}` has {links} links: take them away first")]
    TypeInUse {
        /// The link type.
        name: String,
        /// How many.
        links: i64,
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
    /// The metadata does not fit the type.
    #[error("metadata {0}")]
    Metadata(#[from] MetadataError),
    /// An end does not exist, or the actor may not see it: the answer is the same.
    #[error("there is no `{end}`")]
    NotFound {
        /// The end.
        end: End,
    },
    /// No such link, or none that the actor may see.
    #[error("there is no such link")]
    NoSuchLink,
    /// The actor sees the end but may not do this to it.
    #[error("permission `{permission}` on `{end}` is needed")]
    Denied {
        /// What is asked for.
        permission: String,
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
    /// An end has as many links of the type as it may have.
    #[error("`{end}` may have no more than {most} as `{name}`: take one away first")]
    Full {
        /// The end.
        end: End,
        /// The name of the type, as read from that end.
        name: String,
        /// How many it may have.
        most: u32,
    },
    /// The link would close a cycle of a type that has none.
    #[error("`{to}` leads to `{from}` as `{name}` already: the link would close a cycle")]
    Cycle {
        /// The source.
        from: End,
        /// The link type.
        name: String,
        /// The target.
        to: End,
    },
    /// Links hold the entity: see [`OnDelete::Block`](crate::OnDelete::Block).
    #[error("{links} links hold `{end}`: take them away first")]
    Blocked {
        /// The entity that was to be removed.
        end: End,
        /// How many hold it, or one of those that would be removed with it.
        links: usize,
        /// The other ends that the actor may see.
        by: Vec<End>,
    },
    /// Something that would be removed with the entity may not be removed by the actor, who may not see it either.
    #[error("`{end}` cannot be removed: something that would be removed with it may not be")]
    CannotCascade {
        /// The entity that was to be removed.
        end: End,
    },
    /// The application's resolver has left an entity that was to be removed.
    #[error("{left} entities of kind `{kind}` were not removed: implement `EntityResolver::remove` for them")]
    NotRemoved {
        /// Their kind.
        kind: String,
        /// How many are left.
        left: usize,
    },
    /// More than one call may touch.
    #[error("{what} at most {most} at a time")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// Two entities of different kinds cannot be merged.
    #[error("`{from}` and `{into}` are of different kinds: they cannot be merged")]
    DifferentKinds {
        /// The one that goes.
        from: End,
        /// The one that stays.
        into: End,
    },
    /// What is counted under a lock must be counted as of now.
    #[error(
        "links with limits or without cycles are not made under `repeatable read`: begin as `read committed`"
    )]
    Isolation,
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
