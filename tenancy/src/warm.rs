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

/// How long an unused connection stays away from the pool, which closes what is idle.
const REST: Duration = Duration::from_secs(1);
/// How long a used one does, so that the pool can close what is too old.
const LEASE: Duration = Duration::from_secs(30);

/// Where connections come from and go back to.
#[derive(Debug)]
pub(crate) struct Warm {
    pool: PgPool,
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
}

impl Warm {
    pub(crate) fn new(pool: PgPool) -> Arc<Self> {
        Arc::new(Self { pool, state: Mutex::default() })
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
        let conn = self.pool.acquire().await?;
        let now = Instant::now();
        Ok(Leased { conn, since: now, used: now })
    }

    /// Takes back a connection that is in no transaction and owes no answer.
    pub(crate) fn give_back(self: &Arc<Self>, mut leased: Leased) {
        leased.used = Instant::now();
        let runtime = Handle::try_current();
        let mut state = self.state();
        let stays = state.waiting == 0 && !state.off && leased.used - leased.since < LEASE;
        let Some(runtime) = runtime.ok().filter(|_| stays && !self.pool.is_closed()) else {
            drop(state);
            return leased.release();
        };
        state.ready.push(leased);
        if !mem::replace(&mut state.tidied, true) {
            drop(state);
            drop(runtime.spawn(tidy(Arc::downgrade(self))));
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
    /// The pool needs a runtime to take it back; without one it is closed.
    fn release(self) {
        match Handle::try_current() {
            Ok(_) => drop(self.conn),
            Err(_) => drop(self.conn.detach()),
        }
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
async fn tidy(warm: Weak<Warm>) {
    loop {
        tokio::time::sleep(REST).await;
        let Some(warm) = warm.upgrade() else { return };
        let (rested, done) = {
            let mut state = warm.state();
            let now = Instant::now();
            let (rested, ready): (Vec<_>, _) =
                mem::take(&mut state.ready).into_iter().partition(|one| now - one.used >= REST);
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
