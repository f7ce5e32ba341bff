//! One limit over the connections to all databases, kept when they are opened.
//!
//! A cap that is enforced by somebody who comes by and closes what is too much is none: between two visits everything
//! may be open. Here a connection is opened only against a slot. When all slots are out, the connection that has rested
//! longest in any pool is closed first, and whoever asked waits until it is.
//!
//! INVARIANT: a slot is out exactly while its connection is open, so the pools of sqlx, in which connections rest without
//! a slot, never get one back.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use super::{FairQueue, Fairness};
use crate::warm::Warm;

/// The slots of all databases of one [`Tenants`](crate::Tenants).
#[derive(Debug)]
pub(crate) struct Budget {
    total: u32,
    /// As many transactions as slots at a time, so that whoever is let in finds one, or a connection that rests.
    queue: FairQueue,
    state: Mutex<State>,
    /// A connection was closed, or rests.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    open: u32,
    pools: Vec<Weak<Warm>>,
}

/// Leave to have a connection open.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Budget>);

impl Budget {
    pub(crate) fn new(total: u32, fairness: Fairness) -> Arc<Self> {
        let total = total.max(1);
        let queue = FairQueue::new(total, fairness);
        Arc::new(Self { total, queue, state: Mutex::default(), changed: Notify::new() })
    }

    pub(super) fn queue(&self) -> &FairQueue {
        &self.queue
    }

    /// From now on what rests there can be closed for others.
    pub(crate) fn join(&self, pool: &Arc<Warm>) {
        self.state().pools.push(Arc::downgrade(pool));
    }

    /// Says that a connection rests.
    pub(crate) fn rests(&self) {
        self.changed.notify_waiters();
    }

    /// How many connections are open.
    #[cfg(feature = "testing")]
    pub(crate) fn open(&self) -> u32 {
        self.state().open
    }

    /// Waits for a slot, and closes for it what has rested longest. Only for whoever was let in by the queue: of so many
    /// each finds something to close when no slot is left.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on nothing is missed.
            changed.as_mut().enable();
            if let Some(slot) = self.free_slot() {
                return slot;
            }
            match self.longest_rested().and_then(|pool| pool.take_rested()) {
                Some(rested) => rested.close().await,
                None => changed.await,
            }
        }
    }

    fn free_slot(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state();
        if state.open >= self.total {
            return None;
        }
        state.open += 1;
        Some(Slot(Arc::clone(self)))
    }

    fn longest_rested(&self) -> Option<Arc<Warm>> {
        let pools: Vec<_> = self.state().pools.iter().filter_map(Weak::upgrade).collect();
        let resting = pools.into_iter().filter_map(|pool| Some((pool.rests_since()?, pool)));
        resting.min_by_key(|(since, _)| *since).map(|(_, pool)| pool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().open -= 1;
        self.0.changed.notify_waiters();
    }
}
