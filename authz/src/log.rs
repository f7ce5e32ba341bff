//! The log of changes: which columns whoever follows it reads, and what its rows say.

use formwork_tenancy::{StreamKey, StreamTable};

/// What a log's row says has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Touch,
    Delete,
    /// A schema was adopted: the row is about no relationship.
    Schema,
}

impl Op {
    pub(crate) fn of(text: &str) -> Self {
        match text {
            "touch" => Self::Touch,
            "schema" => Self::Schema,
            _ => Self::Delete,
        }
    }
}

macro_rules! log {
    ($($more:literal),*) => {
        StreamTable::new(
            "platform.permission_changes",
            StreamKey::Int,
            &[
                "op",
                "namespace",
                "object_id",
                "relation",
                "subject_ns",
                "subject_id",
                "subject_rel",
                "condition",
                "context",
                "expires_at",
                $($more),*
            ],
        )
    };
}

/// As a node follows the changes of all tenants.
pub(crate) const FOLLOWED: StreamTable = log!("tenant_id");
/// As one tenant's changes are watched.
pub(crate) const WATCHED: StreamTable = log!("id", "metadata", "at");
