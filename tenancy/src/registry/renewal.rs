//! Looking after what is in use: one question about all of it, before any of it is too old.
//!
//! Driven by use: the look-up that finds it due begins it in the background and waits for nothing. Whoever hears of a
//! change makes it due at once. A registry that nobody asks does nothing.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{Key, Look, Registry, metrics::Counters, nanos, postgres};
use crate::{Tenant, TenantId, Tenants, databases::MAIN};

/// How often, while there are look-ups: twice before anything is too old.
const EVERY: Duration = Duration::from_millis(400);
/// How often at most, however many changes are told of.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);
/// While one is going on.
const UNDER_WAY: u64 = u64::MAX;

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    next: AtomicU64,
    /// When the last one began.
    began: AtomicU64,
    /// Before this, something was not yet known that has changed since.
    suspect: AtomicU64,
}

impl Schedule {
    /// Is it this caller who begins it?
    fn begins(&self, now: u64) -> bool {
        let next = self.next.load(Ordering::Acquire);
        let begins = now >= next
            && self.next.compare_exchange(next, UNDER_WAY, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if begins {
            self.began.store(now, Ordering::Release);
        }
        begins
    }

    fn ends(&self, began: u64) {
        let next = began.saturating_add(nanos(EVERY));
        // Unless somebody has told of a change meanwhile.
        let _ = self.next.compare_exchange(UNDER_WAY, next, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn is_suspect(&self, now: u64) {
        self.suspect.fetch_max(now, Ordering::AcqRel);
        self.next.store(self.began.load(Ordering::Acquire) + nanos(AT_MOST_EVERY), Ordering::Release);
    }
}

/// Ends a renewal that is dropped, too.
struct UnderWay<'a> {
    schedule: &'a Schedule,
    began: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.schedule.ends(self.began);
    }
}

impl Registry {
    /// Something has changed, or may have while nobody was listening.
    pub(super) fn is_suspect(&self) {
        self.0.schedule.is_suspect(self.now());
    }

    /// Was it read before something changed that nobody had looked at?
    #[cfg(feature = "redis")]
    pub(super) fn is_before_a_change(&self, moment: u64) -> bool {
        moment <= self.0.schedule.suspect.load(Ordering::Acquire)
    }
}

impl Tenants {
    /// Begins a renewal in the background when it is time; while the database is out of reach, a look after that.
    pub(super) fn renew_when_due(&self, now: u64) {
        let registry = &self.registry().0;
        let look = match registry.database.breaker.is_open() {
            true => registry.database.begins_look(),
            false => None,
        };
        let is_down = registry.database.breaker.is_open();
        if look.is_some() || (!is_down && registry.schedule.begins(now)) {
            drop(tokio::spawn(renew(self.clone(), now, look)));
        }
    }
}

async fn renew(tenants: Tenants, began: u64, _look: Option<Look>) {
    let registry = tenants.registry();
    let _under_way = UnderWay { schedule: &registry.0.schedule, began };
    let held = held(&tenants, began);
    let newest: Vec<Tenant> = held.values().filter_map(|keys| newest(keys)).collect();
    if newest.is_empty() && !registry.0.database.breaker.is_open() {
        return;
    }
    let changed = postgres::changed(&tenants, &newest).await;
    registry.0.database.note(&changed);
    Counters::add(&registry.0.counters.renewals);
    let Ok(changed) = changed else { return };
    for asked in newest.iter().filter(|asked| !changed.contains(&asked.id())) {
        asked.is_current_at(began);
    }
    Counters::add_many(&registry.0.counters.renewed, newest.len() - changed.len());
    for id in &changed {
        for (key, tenant) in held.get(id).into_iter().flatten() {
            registry.0.memory.forget(key, tenant);
        }
    }
    if !changed.is_empty() {
        Counters::add_many(&registry.0.counters.outdated, changed.len());
        registry.0.schedule.suspect.fetch_max(began, Ordering::AcqRel);
        #[cfg(feature = "redis")]
        if let Some(redis) = &registry.0.redis {
            redis.announce(&tenants).await;
        }
    }
}

/// What is in use and can be asked about here. The versions of a home in another database stand there: where they
/// count, such a tenant is asked for anew each second.
fn held(tenants: &Tenants, now: u64) -> HashMap<TenantId, Vec<(Key, Tenant)>> {
    let anywhere = tenants.supported().is_empty();
    let mut held: HashMap<TenantId, Vec<(Key, Tenant)>> = HashMap::new();
    for (key, tenant) in tenants.registry().0.memory.in_use(now) {
        if anywhere || tenant.database_name() == MAIN {
            held.entry(tenant.id()).or_default().push((key, tenant));
        }
    }
    held
}

/// The one that is asked about: what is older than it is not renewed, and is asked for when it is too old.
fn newest(keys: &[(Key, Tenant)]) -> Option<Tenant> {
    keys.iter()
        .map(|(_, tenant)| tenant)
        .max_by_key(|tenant| (tenant.version(), tenant.current_at()))
        .cloned()
}
