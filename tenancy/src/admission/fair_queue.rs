//! A queue in which tenants take turns.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{
    Busy, Fairness,
    turns::{Asked, Turns, Who},
};
use crate::TenantId;

/// Lets so many in at a time, and tenants take turns. What a [`Tenants`](crate::Tenants) has before the connections of
/// each of its databases; a worker can put one before its jobs.
///
/// Nobody waits while there is room that it may have. A future that waits may be dropped at any time: its place is given
/// up, and a permit that was on its way to it goes to the next one. Cheap to clone.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use formwork_tenancy::{TenantId, admission::{Fairness, FairQueue}};
///
/// let (noisy, quiet) = (TenantId::generate(), TenantId::generate());
/// let jobs = FairQueue::new(4, Fairness::new().at_most(3));
/// let held = [jobs.enter(noisy).await?, jobs.enter(noisy).await?, jobs.enter(noisy).await?];
/// // A fourth of the same tenant would wait; another tenant finds room.
/// let permit = jobs.enter(quiet).await?;
/// drop(permit);
/// # drop(held);
/// # Ok::<(), formwork_tenancy::admission::Busy>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct FairQueue(Arc<Mutex<Turns>>);

/// Leave to go on, until it is dropped.
#[must_use = "dropped at once, it lets the next one in"]
pub struct Permit {
    queue: FairQueue,
    who: Who,
}

/// A place in the queue.
pub(super) struct Waiting {
    queue: FairQueue,
    who: Who,
    ticket: u64,
    told: oneshot::Receiver<Permit>,
}

impl FairQueue {
    /// Lets `capacity` in at a time, one at the least.
    pub fn new(capacity: u32, fairness: Fairness) -> Self {
        Self(Arc::new(Mutex::new(Turns::new(fairness.limits(capacity)))))
    }

    /// Waits for the turn of `who`, for as long as it takes.
    ///
    /// # Errors
    ///
    /// [`Busy`] at once, when as many of this tenant wait already as may.
    pub async fn enter(&self, who: TenantId) -> Result<Permit, Busy> {
        match self.ask(who)? {
            Ok(permit) => Ok(permit),
            Err(waiting) => waiting.permit().await,
        }
    }

    /// How many permits of this tenant there are.
    pub fn held(&self, who: TenantId) -> u32 {
        let turns = self.turns();
        let who = number(&turns, who);
        turns.held(who)
    }

    /// How many of this tenant wait.
    pub fn waiting(&self, who: TenantId) -> usize {
        let turns = self.turns();
        let who = number(&turns, who);
        turns.waiting(who)
    }

    /// A permit, or a place in the queue.
    pub(super) fn ask(&self, who: TenantId) -> Result<Result<Permit, Waiting>, Busy> {
        let mut turns = self.turns();
        let who = number(&turns, who);
        let mut receiver = None;
        let asked = turns.ask(who, || {
            let (sender, told) = oneshot::channel();
            receiver = Some(told);
            sender
        });
        drop(turns);
        match (asked?, receiver) {
            (Asked::Wait { ticket }, Some(told)) => {
                Ok(Err(Waiting { queue: self.clone(), who, ticket, told }))
            }
            _ => Ok(Ok(Permit { queue: self.clone(), who })),
        }
    }

    pub(super) fn turns(&self) -> MutexGuard<'_, Turns> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(turns: &Turns, who: TenantId) -> Who {
    if turns.limits().is_first_come { 0 } else { who.as_uuid().as_u128() }
}

impl Waiting {
    /// Waits. Dropped meanwhile, it gives up its place; the permit that was sent to it goes with the receiver.
    pub(super) async fn permit(mut self) -> Result<Permit, Busy> {
        // The sender stands in the queue, which `self` keeps alive.
        (&mut self.told).await.map_err(|_| Busy::closed())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // The lock is given back before the sender is dropped.
        let left = self.queue.turns().leave(self.who, self.ticket);
        drop(left);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let served = self.queue.turns().give_back(self.who);
        for (told, who) in served {
            // Whoever does not wait any more hands its permit to the next one by dropping it.
            drop(told.send(Self { queue: self.queue.clone(), who }));
        }
    }
}

impl fmt::Debug for FairQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairQueue").field("limits", self.turns().limits()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
