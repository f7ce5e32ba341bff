//! Connections that have just been used, for whoever comes next.
//!
//! sqlx's pool hands out the connection that has rested longest, and asks each one that comes back whether it
//! lives. A server process that has just worked has its caches full: the same transaction on it takes half as
//! long. So the last ones stay here for a moment, the latest on top.
//!
//! Nobody waits because of this: with anybody waiting at the pool, connections go there.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use sqlx::{PgPool, Postgres, pool::PoolConnection};
use tokio::{runtime::Handle, time::Instant};

use crate::admission::{Budget, Slot};

/// How long an unused connection stays away from the pool, which closes what is idle.
const REST: Duration = Duration::from_secs(1);
/// How long a used one does, so that the pool can close what is too old.
const LEASE: Duration = Duration::from_secs(30);
/// The same two where connections never go back to the pool, since they are counted over all databases: they are closed.
const REST_OF_BUDGET: Duration = Duration::from_secs(60);
const LEASE_OF_BUDGET: Duration = Duration::from_secs(1_800);
/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

/// Where connections come from and go back to.
#[derive(Debug)]
pub(crate) struct Warm {
    pool: PgPool,
    budget: Option<Arc<Budget>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// INVARIANT: empty while anybody waits at the pool.
    ready: Vec<Leased>,
    waiting: usize,
    /// Is there a task that takes back to the pool what has rested?
    tidied: bool,
    off: bool,
}

/// A connection of the pool.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) conn: PoolConnection<Postgres>,
    since: Instant,
    used: Instant,
    /// Has the server behind it been found to be the one that was meant?
    pub(crate) is_verified: bool,
    slot: Option<Slot>,
}

impl Warm {
    pub(crate) fn new(pool: PgPool, budget: Option<Arc<Budget>>) -> Arc<Self> {
        let warm = Arc::new(Self { pool, budget, state: Mutex::default() });
        if let Some(budget) = &warm.budget {
            budget.join(&warm);
        }
        warm
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// The connection that was used last, or one of the pool.
    #[expect(clippy::disallowed_methods, reason = "the one place that takes connections")]
    pub(crate) async fn take(&self) -> Result<Leased, sqlx::Error> {
        let _waiting = {
            let mut state = self.state();
            if let Some(ready) = state.ready.pop() {
                return Ok(ready);
            }
            state.waiting += 1;
            Waiting(self)
        };
        let slot = match &self.budget {
            Some(budget) => {
                let patience = self.pool.options().get_acquire_timeout();
                let slot = tokio::time::timeout(patience, budget.slot()).await;
                Some(slot.map_err(|_| sqlx::Error::PoolTimedOut)?)
            }
            None => None,
        };
        let conn = self.pool.acquire().await?;
        let now = Instant::now();
        Ok(Leased { conn, since: now, used: now, is_verified: false, slot })
    }

    /// Since when the connection that was used longest ago rests.
    pub(crate) fn rests_since(&self) -> Option<Instant> {
        self.state().ready.first().map(|leased| leased.used)
    }

    /// The connection that was used longest ago, of those that rest.
    pub(crate) fn take_rested(&self) -> Option<Leased> {
        let mut state = self.state();
        (!state.ready.is_empty()).then(|| state.ready.remove(0))
    }

    /// Takes back a connection that is in no transaction and owes no answer.
    pub(crate) fn give_back(self: &Arc<Self>, mut leased: Leased) {
        leased.used = Instant::now();
        let runtime = Handle::try_current();
        let mut state = self.state();
        let lease = if self.budget.is_some() { LEASE_OF_BUDGET } else { LEASE };
        // With a budget nobody waits at the pool.
        let is_wanted = self.budget.is_some() || state.waiting == 0;
        let stays = is_wanted && !state.off && leased.used - leased.since < lease;
        let Some(runtime) = runtime.ok().filter(|_| stays && !self.pool.is_closed()) else {
            drop(state);
            return leased.release();
        };
        state.ready.push(leased);
        let is_tidied = mem::replace(&mut state.tidied, true);
        drop(state);
        if let Some(budget) = &self.budget {
            budget.rests();
        }
        if !is_tidied {
            let rest = if self.budget.is_some() { REST_OF_BUDGET } else { REST };
            drop(runtime.spawn(tidy(Arc::downgrade(self), rest)));
        }
    }

    /// From now on every connection goes to the pool at once.
    pub(crate) fn turn_off(&self) {
        let ready = {
            let mut state = self.state();
            state.off = true;
            mem::take(&mut state.ready)
        };
        ready.into_iter().for_each(Leased::release);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leased {
    /// The pool needs a runtime to take it back; without one it is closed, and so is one that is counted.
    fn release(self) {
        match Handle::try_current() {
            Ok(runtime) if self.slot.is_some() => drop(runtime.spawn(self.close())),
            Ok(_) => drop(self.conn),
            Err(_) => drop(self.conn.detach()),
        }
    }

    /// Closes one of which an answer is owed. Needs a runtime.
    pub(crate) fn give_up(mut self) {
        match self.slot {
            Some(_) => self.release(),
            None => self.conn.close_on_drop(),
        }
    }

    /// Closes it, and then gives back its slot.
    pub(crate) async fn close(self) {
        let _ = tokio::time::timeout(GOODBYE, self.conn.close()).await;
        drop(self.slot);
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut state.ready).into_iter().for_each(Leased::release);
    }
}

struct Waiting<'a>(&'a Warm);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// Takes to the pool what nobody has used for a while; ends when there is nothing left.
async fn tidy(warm: Weak<Warm>, rest: Duration) {
    loop {
        tokio::time::sleep(rest).await;
        let Some(warm) = warm.upgrade() else { return };
        let (rested, done) = {
            let mut state = warm.state();
            let now = Instant::now();
            let (rested, ready): (Vec<_>, _) =
                mem::take(&mut state.ready).into_iter().partition(|one| now - one.used >= rest);
            state.ready = ready;
            state.tidied = !state.ready.is_empty();
            (rested, !state.tidied)
        };
        rested.into_iter().for_each(Leased::release);
        if done {
            return;
        }
    }
}
