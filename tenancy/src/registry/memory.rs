//! What this process remembers: tenants, and keys that no tenant has.
//!
//! INVARIANT: an older version never takes the place of a newer one, unless the control plane's database itself went
//! back to it.

use std::{sync::Arc, time::Duration};

use moka::{ops::compute::Op, sync::Cache};

use super::{FRESHNESS, Key, KeyRef, STALE, front::Front};
use crate::{Tenant, limits::Clock};

/// How long it is remembered that a key has no tenant: one that was just made is found within a second.
const UNKNOWN: Duration = Duration::from_millis(500);
/// How long one may be answered from before the cache, in nanoseconds: so often the cache hears that it is in use.
const IN_FRONT: u64 = 100_000_000;
/// Keys without a tenant that are remembered; each is a host name at most.
const UNKNOWN_KEYS: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Memory {
    clock: Arc<dyn Clock>,
    front: Front,
    tenants: Cache<Key, Tenant>,
    /// When the database said so, in nanoseconds.
    unknown: Cache<Key, u64>,
}

/// Who said what a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A cache that other nodes write to.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "there is no such cache"))]
    Shared,
    /// The control plane's database.
    Database,
}

impl Memory {
    pub(super) fn new(clock: Arc<dyn Clock>, capacity: u64) -> Self {
        Self { clock, front: Front::new(), tenants: Cache::new(capacity), unknown: Cache::new(UNKNOWN_KEYS) }
    }

    /// The tenant, if it was so less than a second ago.
    pub(super) fn current(&self, key: KeyRef<'_>, now: u64) -> Option<Tenant> {
        let is_fresh = |tenant: &Tenant| tenant.age(&self.clock, now).is_some_and(|age| age < FRESHNESS);
        let has_been_used = |tenant: &Tenant| now.saturating_sub(tenant.used_at()) <= IN_FRONT;
        if let Some(tenant) = self.front.get(key).filter(|tenant| has_been_used(tenant) && is_fresh(tenant)) {
            return Some(tenant);
        }
        let before = self.front.before();
        let tenant = self.aged(key, now, FRESHNESS)?;
        tenant.is_used_at(now);
        self.front.put(before, key, &tenant, |held| is_fresh(held) && has_been_used(held));
        Some(tenant)
    }

    /// The tenant, if it was so less than half a minute ago, and nobody knows better.
    pub(super) fn stale(&self, key: KeyRef<'_>, now: u64) -> Option<Tenant> {
        self.aged(key, now, STALE)
    }

    fn aged(&self, key: KeyRef<'_>, now: u64, limit: Duration) -> Option<Tenant> {
        self.tenants.get(&key).filter(|tenant| tenant.age(&self.clock, now).is_some_and(|age| age < limit))
    }

    pub(super) fn is_unknown(&self, key: KeyRef<'_>, now: u64) -> bool {
        let age = |at| Duration::from_nanos(now.saturating_sub(at));
        self.unknown.get(&key).is_some_and(|at| age(at) < UNKNOWN)
    }

    /// Keeps what was said under this key and the tenant's identity, and answers what is to be believed. None: another
    /// version of the tenant is believed, and nobody has said that it has this slug or domain: ask again.
    pub(super) fn keep(&self, key: Key, tenant: Tenant, source: Source) -> Option<Tenant> {
        let (by_id, version) = (Key::Id(tenant.id()), tenant.version());
        if key == by_id {
            return Some(self.keep_under(by_id, tenant, source));
        }
        let known = self.keep_under(by_id, tenant, source);
        // Each change of a slug or a domain is another version. Under this key, it would be renewed for ever.
        (known.version() == version).then(|| self.keep_under(key, known, source))
    }

    fn keep_under(&self, key: Key, tenant: Tenant, source: Source) -> Tenant {
        let kept = self.tenants.entry(key.clone()).and_upsert_with(|held| match held {
            Some(held) if stands(held.value(), &tenant, source) => held.into_value(),
            held => {
                // Under other keys too, what could not be judged is asked for again.
                if let Some(held) = held.filter(|held| held.value().unjudged().is_some()) {
                    held.value().is_outdated();
                }
                tenant
            }
        });
        self.front.clear(key.as_ref());
        kept.into_value()
    }

    /// No tenant has this key: asked at this moment.
    pub(super) fn keep_unknown(&self, key: Key, asked_at: u64) {
        let _ = self.tenants.entry_by_ref(&key).and_compute_with(|held| match held {
            Some(held) if held.value().current_at() <= asked_at => {
                held.value().is_outdated();
                Op::Remove
            }
            _ => Op::Nop,
        });
        self.front.clear(key.as_ref());
        self.unknown.insert(key, asked_at);
    }

    /// Forgets one that the registry says other things of now.
    pub(super) fn forget(&self, key: &Key, outdated: &Tenant) {
        outdated.is_outdated();
        let _ = self.tenants.entry_by_ref(key).and_compute_with(|held| match held {
            Some(held) if held.value().is_same_record(outdated) => Op::Remove,
            _ => Op::Nop,
        });
        self.front.clear(key.as_ref());
    }

    /// Those that are in use, with their keys.
    pub(super) fn in_use(&self, now: u64) -> Vec<(Key, Tenant)> {
        let used = |tenant: &Tenant| Duration::from_nanos(now.saturating_sub(tenant.used_at())) < FRESHNESS;
        let used = self.tenants.iter().filter(|(_, tenant)| used(tenant) && tenant.current_at() > 0);
        used.map(|(key, tenant)| (Key::clone(&key), tenant)).collect()
    }

    /// Tenants and unknown keys that are remembered, about.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.tenants.entry_count(), self.unknown.entry_count())
    }
}

/// Is what is held to be believed, rather than this?
fn stands(held: &Tenant, said: &Tenant, source: Source) -> bool {
    if held.current_at() == 0 {
        return false;
    }
    match source {
        _ if held.id() != said.id() => held.current_at() > said.current_at(),
        Source::Shared => held.version() > said.version() || held.current_at() >= said.current_at(),
        // Asked later, it is right, whatever its version: it may have been restored from a backup.
        Source::Database => held.current_at() > said.current_at() && held.version() >= said.version(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{limits::Monotonic, tenant::HomeStanding};

    const SECOND: u64 = 1_000_000_000;

    pub(crate) fn tenant(memory: &Memory, id: u128, version: i64, at: u64) -> Tenant {
        let entry = serde_json::from_value(serde_json::json!({
            "id": uuid::Uuid::from_u128(id), "slug": "a", "name": "A", "status": "active", "isolation": "shared",
            "database_name": "main", "schema_name": "shared", "epoch": 1, "region": "local", "plan": "standard",
            "default_currency": "KWD", "time_zone": "UTC", "version": version, "own_role": false,
            "home_versions": {}, "home_stamp": 0,
        }));
        Tenant::new(entry.unwrap(), HomeStanding::Supported, Arc::clone(&memory.clock), at)
    }

    pub(crate) fn memory() -> Memory {
        Memory::new(Arc::new(Monotonic::new()), 100)
    }

    fn key() -> Key {
        Key::Slug("a".to_owned())
    }

    #[test]
    fn an_older_version_never_takes_the_place_of_a_newer_one() {
        use Source::{Database, Shared};
        // Held: identity 1, version 5, read at the tenth second.
        for (id, version, at, source, kept) in [
            (1, 4, 9, Database, 5), // arrives late
            (1, 5, 9, Database, 5),
            (1, 6, 11, Database, 6),
            (1, 6, 9, Database, 6),  // cannot be, and is newer
            (1, 4, 11, Database, 4), // restored from a backup
            (1, 4, 11, Shared, 5),
            (1, 4, 9, Shared, 5),
            (1, 6, 11, Shared, 6),
            (2, 1, 11, Database, 1), // another tenant has the slug now
            (2, 1, 11, Shared, 1),
            (2, 9, 9, Database, 5),
        ] {
            let memory = memory();
            memory.keep(key(), tenant(&memory, 1, 5, 10 * SECOND), Database);
            let answer = memory.keep(key(), tenant(&memory, id, version, at * SECOND), source);
            let answer = answer.map(|answer| answer.version());
            let held = memory.stale(key().as_ref(), 10 * SECOND).map(|held| held.version());
            let what = format!("{id}, version {version} of second {at} by {source:?}");
            // What another version of the same tenant stands against is asked for again.
            let expected = (id != 1 || kept == version).then_some(kept);
            assert_eq!((answer, held), (expected, Some(kept)), "{what}");
        }
    }

    #[test]
    fn a_domain_that_a_newer_version_may_have_lost_is_never_bound_to_it() {
        use Source::{Database, Shared};
        for source in [Shared, Database] {
            let memory = memory();
            let domain = || Key::Domain("d.example".to_owned());
            let newest = tenant(&memory, 1, 7, 10 * SECOND);
            memory.keep(Key::Id(newest.id()), newest.clone(), Database).unwrap();
            assert!(memory.keep(domain(), tenant(&memory, 1, 6, 9 * SECOND), source).is_none());
            assert!(memory.stale(domain().as_ref(), 10 * SECOND).is_none(), "{source:?}");
            // Said of the version that is believed, it is bound to it, and renewed with it.
            let bound = memory.keep(domain(), tenant(&memory, 1, 7, 9 * SECOND), source).unwrap();
            assert!(bound.is_same_record(&newest), "{source:?}");
        }
    }

    #[test]
    fn what_is_renewed_is_young_again_for_whoever_holds_it_and_what_is_outdated_never() {
        let memory = memory();
        let held = memory.keep(key(), tenant(&memory, 1, 5, SECOND), Source::Database).unwrap();
        assert!(memory.current(key().as_ref(), 2 * SECOND).is_none());
        assert!(memory.stale(key().as_ref(), 31 * SECOND - 1).is_some());
        assert!(memory.stale(key().as_ref(), 31 * SECOND).is_none());
        held.is_current_at(30 * SECOND);
        assert!(memory.current(key().as_ref(), 31 * SECOND - 1).is_some());
        memory.forget(&key(), &held);
        held.is_current_at(40 * SECOND);
        assert_eq!(held.current_at(), 0);
        assert!(memory.stale(key().as_ref(), 40 * SECOND).is_none());
        // Nor under the key that nobody has forgotten.
        assert!(memory.stale(KeyRef::Id(held.id()), 40 * SECOND).is_none());
        let newer =
            memory.keep(Key::Id(held.id()), tenant(&memory, 1, 5, 39 * SECOND), Source::Shared).unwrap();
        assert_eq!(newer.current_at(), 39 * SECOND);
    }

    #[test]
    fn a_key_without_a_tenant_is_remembered_for_half_a_second() {
        let memory = memory();
        let held = memory.keep(key(), tenant(&memory, 1, 5, SECOND), Source::Database).unwrap();
        memory.keep_unknown(key(), 2 * SECOND);
        assert_eq!(held.current_at(), 0, "the tenant has this key no more");
        assert!(memory.is_unknown(key().as_ref(), 2 * SECOND + 499_999_999));
        assert!(!memory.is_unknown(key().as_ref(), 2 * SECOND + 500_000_000));
        // An answer that was asked for later stands.
        memory.keep(key(), tenant(&memory, 1, 5, 4 * SECOND), Source::Database);
        memory.keep_unknown(key(), 3 * SECOND);
        assert!(memory.current(key().as_ref(), 4 * SECOND).is_some());
    }
}
