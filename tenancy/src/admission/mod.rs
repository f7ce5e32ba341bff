//! Who gets the next connection: tenants take turns, and none holds them all.
//!
//! A pool alone serves first come, first served: a tenant that asks for a thousand connections at once makes everybody
//! wait for a thousand transactions. Before a transaction gets a connection it is therefore let in by the
//! [`FairQueue`] of its database, and, where there is a limit over all databases, by the one of the `budget`.
//!
//! INVARIANT: as many are let in as there are connections to give, so that nobody waits at the pool behind it.

mod budget;
mod busy;
mod fair_queue;
mod fairness;
#[cfg(test)]
mod tests;
mod turns;

use std::{sync::Arc, time::Duration};

pub use busy::Busy;
pub use fair_queue::{FairQueue, Permit};
pub use fairness::Fairness;

pub(crate) use budget::{Budget, Slot};

use crate::{StorageError, TenantId};

/// What lets a transaction in to one database.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    here: FairQueue,
    budget: Option<Arc<Budget>>,
    patience: Duration,
}

/// Leave to have a connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    _here: Permit,
    _of_all: Option<Permit>,
}

impl Admission {
    pub(crate) fn new(here: FairQueue, budget: Option<Arc<Budget>>, patience: Duration) -> Self {
        Self { here, budget, patience }
    }

    /// Waits for its turn here and then for its turn among all databases: always in this order, so that no two wait
    /// for each other.
    pub(crate) async fn enter(&self, who: TenantId) -> Result<Admitted, StorageError> {
        let here = self.turn(&self.here, who).await?;
        let of_all = match &self.budget {
            Some(budget) => Some(self.turn(budget.queue(), who).await?),
            None => None,
        };
        Ok(Admitted { _here: here, _of_all: of_all })
    }

    pub(crate) fn waiting(&self, who: TenantId) -> usize {
        self.here.waiting(who)
    }

    /// A timer is made only by whoever has to wait.
    async fn turn(&self, queue: &FairQueue, who: TenantId) -> Result<Permit, Busy> {
        match queue.ask(who)? {
            Ok(permit) => Ok(permit),
            Err(waiting) => match tokio::time::timeout(self.patience, waiting.permit()).await {
                Ok(permit) => permit,
                Err(_) => Err(Busy::timed_out(self.patience)),
            },
        }
    }
}
