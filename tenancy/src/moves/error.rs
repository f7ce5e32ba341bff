//! What can be wrong with a move, sorted by what is to be done about it.

use std::time::Duration;

use super::MoveStep;
use crate::{ControlError, Status, StorageError, TenantId, UnknownDatabase};

/// A tenant was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// Nothing was begun and nothing changed.
    #[error(transparent)]
    Refused(#[from] MoveRefusal),
    /// It failed and was undone: the tenant lives where it lived, and can be moved again.
    #[error("the move failed after step `{step}` and was undone: {source}")]
    RolledBack {
        /// The last step that was done.
        step: MoveStep,
        /// What failed.
        source: MoveFault,
    },
    /// It failed, and the database does not let it be undone or gone on with now: call `resume_move`, or `abort_move`
    /// before the flip, when it does. Until then the tenant may be frozen.
    #[error("the move was interrupted after step `{step}`: resume it, or abort it before its flip: {source}")]
    Interrupted {
        /// The last step that is known to be done.
        step: MoveStep,
        /// What failed.
        source: MoveFault,
    },
    /// The database failed before anything was begun.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nothing was begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveRefusal {
    /// No tenant has this identity.
    #[error("there is no tenant {tenant}")]
    UnknownTenant {
        /// As given.
        tenant: TenantId,
    },
    /// A tenant in this status has no home that could be moved.
    #[error("the tenant is {status}: only one that is active, suspended or archived can be moved")]
    NotMovable {
        /// Where it stands.
        status: Status,
    },
    /// Its schema has a role of its own, which a move does not take along yet.
    #[error("the tenant's schema has a role of its own: such a tenant cannot be moved yet")]
    OwnRole,
    /// It lives there.
    #[error("the tenant lives there already")]
    AlreadyThere,
    /// The tenant's data may not lie in that region.
    #[error("the tenant's data may lie in {} only, not in region `{region}`", allowed.join(", "))]
    Residency {
        /// The region of the database that it was to be moved to.
        region: String,
        /// Where they may lie.
        allowed: Vec<String>,
    },
    /// The place is in a database that this control plane was not told of.
    #[error(transparent)]
    UnknownDatabase(UnknownDatabase),
    /// An earlier move is not done with.
    #[error("the tenant has a move that stands at step `{step}`: {}", step.remedy())]
    Open {
        /// Where it stands.
        step: MoveStep,
    },
    /// There is no move to resume, abort or finish.
    #[error("the tenant has no open move")]
    NotOpen,
    /// Too late to undo it.
    #[error("the tenant lives in its new home already: finish the move, and move it back if need be")]
    PastFlip,
    /// Too early to remove the old home.
    #[error("the old home may still be read: it can be removed in {} seconds", left.as_secs().max(1))]
    TooEarly {
        /// How long to wait.
        left: Duration,
    },
    /// Somebody else is at work: on this tenant's move, or on the migrations of a database that it concerns.
    #[error("another move or import of this tenant, or a migration, is at work: wait for its end")]
    Busy,
}

/// Why a move failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveFault {
    /// The two homes have not been through the same migrations.
    #[error("the homes `{from}` and `{to}` are not at the same version: run the migrations, then move")]
    Behind {
        /// The old home, as `database/schema`.
        from: String,
        /// The new one.
        to: String,
    },
    /// A table is not the same on both sides, though the migrations are.
    #[error("table `{table}` is not the same in both homes: look at the fleet's drift")]
    Different {
        /// Its name.
        table: String,
    },
    /// Tables that refer to each other cannot be filled one after the other.
    #[error("tables {} refer to each other: make one of their foreign keys deferrable", tables.join(", "))]
    CircularKeys {
        /// Their names.
        tables: Vec<String>,
    },
    /// The copy is not what was copied.
    #[error(
        "table `{table}` is not the same after the copy: {source_rows} rows there, {target_rows} here, \
         or other values: look for triggers and defaults that change what is inserted"
    )]
    Mismatch {
        /// Its name.
        table: String,
        /// Rows in the old home.
        source_rows: i64,
        /// Rows in the new one.
        target_rows: i64,
    },
    /// A table could not be copied.
    #[error("table `{table}` could not be copied: {source}")]
    Copy {
        /// Its name.
        table: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A home is not in the state that the move left it in.
    #[error("the home `{home}` was changed by somebody else during the move")]
    Disturbed {
        /// As `database/schema`.
        home: String,
    },
    /// The new home could not be made.
    #[error("the new home could not be made: {0}")]
    Home(#[source] Box<ControlError>),
    /// It may not be gone on with.
    #[error(transparent)]
    Refused(#[from] MoveRefusal),
    /// The database failed.
    #[error("{}", text(.0))]
    Storage(#[source] StorageError),
}

impl MoveFault {
    /// What it is when nothing had been begun.
    pub(super) fn before_the_move(self) -> MoveError {
        match self {
            Self::Refused(refusal) => refusal.into(),
            Self::Storage(error) => error.into(),
            source => MoveError::RolledBack { step: MoveStep::Begun, source },
        }
    }
}

impl From<sqlx::Error> for MoveFault {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<StorageError> for MoveFault {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<ControlError> for MoveFault {
    fn from(error: ControlError) -> Self {
        Self::Home(Box::new(error))
    }
}

impl From<sqlx::Error> for MoveError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// What the database said, since an operator reads it.
fn text(error: &StorageError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
