//! What can be wrong with a change of status, sorted by what is to be done about it.

use std::error::Error;

use chrono::{DateTime, Utc};

use super::{HookFailure, LegalHold, Transition, TransitionStep};
use crate::{Status, StorageError, TenantId, UnknownDatabase, moves::MoveFault, moves::MoveRefusal};

/// A tenant's status was not changed, or not yet in all that belongs to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleError {
    /// Nothing was done.
    #[error(transparent)]
    Refused(#[from] LifecycleRefusal),
    /// It was cut off. Ask for it again, or resume it: it goes on from this step.
    #[error("`{transition}` was interrupted after step `{step}`: resume it: {source}")]
    Interrupted {
        /// Which change.
        transition: Transition,
        /// The last step that is known to be done.
        step: TransitionStep,
        /// What failed.
        source: LifecycleFault,
    },
    /// The database failed before anything was begun.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleRefusal {
    /// No tenant has this identity.
    #[error("there is no tenant {tenant}")]
    UnknownTenant {
        /// As given.
        tenant: TenantId,
    },
    /// There is no such way from where it stands.
    #[error("the tenant is {status}: `{transition}` leads nowhere from there")]
    NotAllowed {
        /// What was asked for.
        transition: Transition,
        /// Where it stands.
        status: Status,
    },
    /// Nobody said why.
    #[error("it needs a reason, which the tenant will read")]
    NoReason,
    /// Somebody has to be able to look at its data.
    #[error("the tenant is on legal hold by {}: release it first", holders(.holds))]
    Held {
        /// All that stand.
        holds: Vec<LegalHold>,
    },
    /// It can still be brought back.
    #[error("the tenant can be brought back until {}: purge it afterwards", until.to_rfc3339())]
    TooEarly {
        /// When its time of grace is over.
        until: DateTime<Utc>,
    },
    /// Another change was cut off, and is to be resumed first.
    #[error("the tenant's `{transition}` stands at step `{step}`: resume it first")]
    Open {
        /// Which.
        transition: Transition,
        /// Where it stands.
        step: TransitionStep,
    },
    /// It has two homes.
    #[error("the tenant has a move that is not done with: finish or abort it first")]
    Moving,
    /// Nobody has looked at its home yet.
    #[error("the tenant has an import that is not done with: import it again, or abort the import")]
    Importing,
    /// Its sealed fields would stay readable in every copy of the database.
    #[error("the tenant has keys of its own, and nobody here can destroy them: give them with `shred_with`")]
    NoKeys,
    /// A hook is against it.
    #[error("{0}")]
    Hook(HookFailure),
    /// It is being removed already.
    #[error("the tenant is being removed for good: it is too late")]
    TooLate,
    /// There is no such hold, or it was released.
    #[error("there is no such legal hold")]
    UnknownHold,
    /// Nothing was cut off, and no hook waits.
    #[error("the tenant has nothing to be resumed")]
    NotOpen,
    /// The tenant lives in a database that this control plane was not told of.
    #[error(transparent)]
    UnknownDatabase(UnknownDatabase),
    /// Somebody else is at work: on this tenant, or on the migrations of its database.
    #[error("another change or move of this tenant, or a migration, is at work: wait for its end")]
    Busy,
}

fn holders(holds: &[LegalHold]) -> String {
    let each = |hold: &LegalHold| format!("{} ({})", hold.holder(), hold.reason());
    holds.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// What failed under way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LifecycleFault {
    /// The registry or the home is not as it was left.
    #[error("the tenant was changed by somebody else meanwhile")]
    Disturbed,
    /// Its keys could not be destroyed.
    #[error("the tenant's keys could not be destroyed: {0}")]
    Shred(#[source] Box<dyn Error + Send + Sync>),
    /// A table could not be emptied.
    #[error("table `{table}` could not be emptied: {}", text(source))]
    Table {
        /// Its name.
        table: String,
        /// What the database said.
        source: StorageError,
    },
    /// It may not be gone on with.
    #[error(transparent)]
    Refused(#[from] LifecycleRefusal),
    /// The database failed.
    #[error("{}", text(.0))]
    Storage(#[source] StorageError),
}

impl From<sqlx::Error> for LifecycleFault {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<StorageError> for LifecycleFault {
    fn from(error: StorageError) -> Self {
        if error.is_while_imported() { LifecycleRefusal::Importing.into() } else { Self::Storage(error) }
    }
}

impl From<sqlx::Error> for LifecycleError {
    fn from(error: sqlx::Error) -> Self {
        let error = StorageError::from(error);
        if error.is_while_imported() { LifecycleRefusal::Importing.into() } else { Self::Storage(error) }
    }
}

/// Homes are taken away by the hands of moves.
impl From<MoveFault> for LifecycleFault {
    fn from(fault: MoveFault) -> Self {
        match fault {
            MoveFault::Refused(MoveRefusal::UnknownDatabase(error)) => {
                LifecycleRefusal::UnknownDatabase(error).into()
            }
            MoveFault::Refused(_) => LifecycleRefusal::Busy.into(),
            MoveFault::Copy { table, source } => Self::Table { table, source: source.into() },
            MoveFault::Storage(error) => error.into(),
            _ => Self::Disturbed,
        }
    }
}

impl LifecycleFault {
    /// What it is when nothing had been begun.
    pub(super) fn before_anything(self) -> LifecycleError {
        match self {
            Self::Refused(refusal) => refusal.into(),
            Self::Storage(error) => error.into(),
            other => LifecycleError::Storage(sqlx::Error::Protocol(other.to_string()).into()),
        }
    }
}

/// What the database said, since an operator reads it.
fn text(error: &StorageError) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
