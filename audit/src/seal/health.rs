//! How far sealing is behind, as numbers for a monitor. They cost no question to the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use formwork_tenancy::{SweepRound, TenantId};

use super::Sealed;

/// A tenant whose visits fail is told for so long after the last one.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the visits of a [`Sealer`](super::Sealer) tell what they did. Cheap to clone.
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, relay: formwork_tenancy::Relay,
/// #   sealer: formwork_audit::seal::Sealer) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_audit::seal::{SealMetrics, Sealer};
///
/// let metrics = SealMetrics::default();
/// let sealer = sealer.metrics(metrics.clone());
/// let mut sweep = tenants.sweep(Sealer::KIND, &relay);
/// sweep.run(|tx| sealer.visit(tx), |round| {
///     metrics.round(round);
///     println!("{:?}", metrics.read());
/// }).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct SealMetrics(Arc<Mutex<State>>);

/// What sealing has done in this process, and how far it is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealHealth {
    /// Events that were sealed.
    pub events: u64,
    /// Checkpoints that were signed.
    pub checkpoints: u64,
    /// Visits that failed, as rounds have told.
    pub failed: u64,
    /// Lag: tenants that had more to seal when their last visit ended.
    pub behind: u64,
    /// How long the oldest event of the last visit of each tenant had waited for its seal, the longest of them.
    pub waited: Duration,
    /// Age: since when not all of a tenant's events were known to be sealed, of the tenant for which that is longest.
    /// With everything well it is the time between two visits.
    pub age: Duration,
}

#[derive(Debug, Default)]
struct State {
    events: u64,
    checkpoints: u64,
    failed: u64,
    tenants: HashMap<TenantId, Standing>,
    last_full: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Standing {
    visited: Instant,
    whole: Instant,
    is_behind: bool,
    is_failing: bool,
    waited: Duration,
}

impl SealMetrics {
    /// What was counted until now.
    pub fn read(&self) -> SealHealth {
        let (state, now) = (self.state(), Instant::now());
        let each = || state.tenants.values();
        SealHealth {
            events: state.events,
            checkpoints: state.checkpoints,
            failed: state.failed,
            behind: each().filter(|one| one.is_behind).count() as u64,
            waited: each().map(|one| one.waited).max().unwrap_or_default(),
            age: each().map(|one| now.saturating_duration_since(one.whole)).max().unwrap_or_default(),
        }
    }

    /// Counts what failed in a round, and after a full one forgets tenants that are not in service any more.
    pub fn round(&self, round: &SweepRound) {
        let mut state = self.state();
        let now = Instant::now();
        state.failed += round.failed().len() as u64;
        for tenant in round.failed().keys() {
            let new = Standing {
                visited: now,
                whole: now,
                is_behind: false,
                is_failing: true,
                waited: Duration::ZERO,
            };
            let standing = state.tenants.entry(*tenant).or_insert(new);
            (standing.visited, standing.is_failing) = (now, true);
        }
        if round.is_full() {
            let before = state.last_full.replace(now);
            state.tenants.retain(|_, one| match one.is_failing {
                true => now.saturating_duration_since(one.visited) < REMEMBERED,
                false => before.is_none_or(|before| one.visited >= before),
            });
        }
    }

    /// Told before the commit: what is not committed then is told as sealed once more.
    pub(crate) fn visited(&self, tenant: TenantId, sealed: &Sealed) {
        let mut state = self.state();
        let now = Instant::now();
        state.events += sealed.events();
        state.checkpoints += u64::from(sealed.checkpoint().is_some());
        let before = state.tenants.get(&tenant).map_or(now, |one| one.whole);
        let is_behind = !sealed.is_caught_up();
        let whole = if is_behind { before } else { now };
        let waited = sealed.waited();
        state.tenants.insert(tenant, Standing { visited: now, whole, is_behind, is_failing: false, waited });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
