//! What the registry has done, as numbers for whatever the application measures with.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Registry;

/// A counter on a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Counter(AtomicU64);

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) hits: Counter,
    pub(super) unknown_hits: Counter,
    pub(super) stale: Counter,
    pub(super) misses: Counter,
    pub(super) refused: Counter,
    pub(super) questions: Counter,
    pub(super) renewals: Counter,
    pub(super) renewed: Counter,
    pub(super) outdated: Counter,
    pub(super) heard: Counter,
    pub(super) redis_hits: Counter,
    pub(super) redis_unbelieved: Counter,
}

impl Counters {
    pub(super) fn add(counter: &Counter) {
        Self::add_many(counter, 1);
    }

    pub(super) fn add_many(counter: &Counter, count: usize) {
        counter.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// What the registry of one [`Tenants`](crate::Tenants) has done since it was connected, and how it stands.
///
/// ```no_run
/// # fn example(tenants: &formwork_tenancy::Tenants) {
/// let metrics = tenants.registry_metrics();
/// println!("{} of {} from memory", metrics.hits, metrics.hits + metrics.misses);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryMetrics {
    /// Tenants answered from memory.
    pub hits: u64,
    /// Keys that were known to have no tenant.
    pub unknown_hits: u64,
    /// Answers that were older than a second, given because nothing newer could be had.
    pub stale: u64,
    /// Look-ups that had to ask.
    pub misses: u64,
    /// Look-ups that were turned away because too many waited.
    pub refused: u64,
    /// Questions to the control plane's database, each of up to 128 keys.
    pub questions: u64,
    /// Questions about which of the tenants in use had changed.
    pub renewals: u64,
    /// Tenants that were found unchanged, each time.
    pub renewed: u64,
    /// Tenants that were found changed or gone.
    pub outdated: u64,
    /// Times that somebody said that something had changed.
    pub heard: u64,
    /// Tenants that the Redis knew.
    pub redis_hits: u64,
    /// Entries in the Redis that no node of this service has written, or not lately.
    pub redis_unbelieved: u64,
    /// Does the Redis not answer? False without one.
    pub redis_is_down: bool,
    /// Does the control plane's database not answer?
    pub database_is_down: bool,
    /// Keys of tenants that are remembered, about.
    pub remembered: u64,
    /// Keys without a tenant that are remembered, about.
    pub remembered_unknown: u64,
}

impl RegistryMetrics {
    pub(super) fn of(registry: &Registry) -> Self {
        let counters = &registry.0.counters;
        let read = |counter: &Counter| counter.0.load(Ordering::Relaxed);
        let (remembered, remembered_unknown) = registry.0.memory.sizes();
        #[cfg(feature = "redis")]
        let redis_is_down = registry.0.redis.as_ref().is_some_and(super::redis::RedisTier::is_down);
        #[cfg(not(feature = "redis"))]
        let redis_is_down = false;
        Self {
            hits: read(&counters.hits),
            unknown_hits: read(&counters.unknown_hits),
            stale: read(&counters.stale),
            misses: read(&counters.misses),
            refused: read(&counters.refused),
            questions: read(&counters.questions),
            renewals: read(&counters.renewals),
            renewed: read(&counters.renewed),
            outdated: read(&counters.outdated),
            heard: read(&counters.heard),
            redis_hits: read(&counters.redis_hits),
            redis_unbelieved: read(&counters.redis_unbelieved),
            redis_is_down,
            database_is_down: registry.0.database.breaker.is_open(),
            remembered,
            remembered_unknown,
        }
    }
}
