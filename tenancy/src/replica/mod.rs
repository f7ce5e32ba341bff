//! Reads on a replica that is known to be far enough, and on the primary otherwise.
//!
//! The message that begins the transaction also asks how far the replica is, so one that is far enough costs no round
//! trip, and one that is not costs one and is then not asked for a while. A replica is never the reason why a read fails:
//! whatever is wrong with it, the primary answers.
//!
//! INVARIANT: a transaction on a replica sees every commit whose token it was begun with.

mod begin;
mod identity;
mod marks;
mod position;
mod standing;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

pub(crate) use begin::Needs;
pub(crate) use marks::Marks;
pub(crate) use position::WalPosition;

use crate::databases::Database;
use identity::Identity;
use standing::Standing;

/// Who answers the statements of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedBy {
    /// The primary of the tenant's database.
    Primary,
    /// A replica of it.
    Replica {
        /// Counted from zero, in the order in which [`TenantsBuilder::replica`](crate::TenantsBuilder::replica) was
        /// called for the database.
        number: usize,
    },
}

impl ServedBy {
    /// Is it a replica?
    pub fn is_replica(self) -> bool {
        matches!(self, Self::Replica { .. })
    }
}

/// Why a server is not used as a replica.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaFault {
    /// It takes writes: it is a primary, or has become one.
    #[error("the server is no standby: give the address of one, or take it out of the list of replicas")]
    NotAStandby,
    /// It follows another primary, or is connected to another database of it.
    #[error("the server is a standby of another database: give the address of one that follows this primary")]
    OtherDatabase,
    /// It follows a copy that went its own way; or its primary was promoted a moment ago.
    #[error(
        "the standby is on timeline {here} and the primary on {primary}: it follows another one, or has not made a \
         restart point since the promotion"
    )]
    OtherHistory {
        /// Of the standby.
        here: String,
        /// Of the primary.
        primary: String,
    },
}

/// The replicas of one database.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    replicas: Vec<Replica>,
    marks: Arc<Marks>,
    /// Whose turn it is.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Replica {
    number: usize,
    server: Database,
    standing: Standing,
    /// What it was found to be, until it fails.
    found: Mutex<Option<Identity>>,
}

impl Replicas {
    pub(crate) fn new(servers: impl IntoIterator<Item = Database>) -> Self {
        let replica = |(number, server)| Replica {
            number,
            server,
            standing: Standing::default(),
            found: Mutex::default(),
        };
        Self { replicas: servers.into_iter().enumerate().map(replica).collect(), ..Self::default() }
    }

    /// Where commits leave their marks; none without replicas, for which alone they are.
    pub(crate) fn marks(&self) -> Option<&Arc<Marks>> {
        (!self.replicas.is_empty()).then_some(&self.marks)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Database> {
        self.replicas.iter().map(|replica| &replica.server)
    }

    /// All of them, each time from the next one on.
    fn in_turn(&self) -> impl Iterator<Item = &Replica> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.replicas.len().max(1);
        let (before, after) = self.replicas.split_at_checked(first).unwrap_or((&[], &self.replicas));
        after.iter().chain(before)
    }
}

impl Replica {
    fn found(&self) -> Option<Identity> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_found(&self, found: Option<Identity>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
