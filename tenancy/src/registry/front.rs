//! The tenants that are asked for most, before the cache that counts and evicts: one slot for each hash, no lock.
//!
//! INVARIANT: what the cache has let go is in no slot once the cache's change has returned. A reader that was between the
//! two takes back what it has put there.

use std::{
    hash::{BuildHasher, BuildHasherDefault},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use moka::Equivalent;
use rustc_hash::FxHasher;

use super::{Key, KeyRef};
use crate::Tenant;

/// A power of two; each takes a pointer. Two keys in one slot: the second is found in the cache.
const SLOTS: usize = 4_096;

type Slot = ArcSwapOption<(Key, Tenant)>;

#[derive(Debug)]
pub(super) struct Front {
    slots: Box<[Slot]>,
    changes: AtomicU64,
}

/// How many changes there had been before the cache was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before(u64);

impl Front {
    pub(super) fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| Slot::empty()).collect(), changes: AtomicU64::new(0) }
    }

    pub(super) fn get(&self, key: KeyRef<'_>) -> Option<Tenant> {
        let held = self.slot(key)?.load();
        held.as_deref().filter(|(of, _)| key.equivalent(of)).map(|(_, tenant)| tenant.clone())
    }

    pub(super) fn before(&self) -> Before {
        Before(self.changes.load(Ordering::SeqCst))
    }

    /// Puts what the cache has said there, unless somebody is there who is `in_use`.
    pub(super) fn put(
        &self,
        before: Before,
        key: KeyRef<'_>,
        tenant: &Tenant,
        in_use: impl Fn(&Tenant) -> bool,
    ) {
        let Some(slot) = self.slot(key) else { return };
        let stays = |(of, held): &(Key, Tenant)| match key.equivalent(of) {
            true => held.is_same_record(tenant),
            false => in_use(held),
        };
        if slot.load().as_deref().is_some_and(stays) {
            return;
        }
        slot.store(Some(Arc::new((key.to_owned(), tenant.clone()))));
        if self.changes.load(Ordering::SeqCst) != before.0 {
            slot.store(None);
        }
    }

    /// The cache says otherwise of this key now.
    pub(super) fn clear(&self, key: KeyRef<'_>) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        if let Some(slot) = self.slot(key) {
            slot.store(None);
        }
    }

    fn slot(&self, key: KeyRef<'_>) -> Option<&Slot> {
        let hash = BuildHasherDefault::<FxHasher>::default().hash_one(key);
        self.slots.get((hash >> 32) as usize & (SLOTS - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::memory::tests::{memory, tenant};

    #[test]
    fn what_was_read_before_a_change_does_not_stay() {
        let (front, memory) = (Front::new(), memory());
        let (old, key) = (tenant(&memory, 1, 1, 1), KeyRef::Slug("a"));
        let before = front.before();
        front.put(before, key, &old, |_| true);
        assert!(front.get(key).is_some_and(|held| held.is_same_record(&old)));
        assert!(front.get(KeyRef::Slug("b")).is_none() && front.get(KeyRef::Domain("a")).is_none());

        front.clear(key);
        assert!(front.get(key).is_none());
        front.put(before, key, &old, |_| true);
        assert!(front.get(key).is_none(), "the cache had let it go before it was put here");
        front.put(front.before(), key, &old, |_| true);
        assert!(front.get(key).is_some());
    }

    #[test]
    fn who_is_in_use_stays_where_two_keys_meet() {
        let (front, memory) = (Front::new(), memory());
        let slot = |key: &str| std::ptr::from_ref(front.slot(KeyRef::Slug(key)).unwrap());
        let other = (0..).map(|n| format!("b{n}")).find(|other| slot(other) == slot("a")).unwrap();
        let (first, second) = (tenant(&memory, 1, 1, 1), tenant(&memory, 2, 1, 1));
        front.put(front.before(), KeyRef::Slug("a"), &first, |_| true);
        front.put(front.before(), KeyRef::Slug(&other), &second, |_| true);
        assert!(front.get(KeyRef::Slug("a")).is_some() && front.get(KeyRef::Slug(&other)).is_none());
        front.put(front.before(), KeyRef::Slug(&other), &second, |_| false);
        assert!(front.get(KeyRef::Slug("a")).is_none() && front.get(KeyRef::Slug(&other)).is_some());
    }
}
