//! Limits counted in this process.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use smallvec::SmallVec;

use super::{
    Call, Clock, Limit, Verdict,
    call::{Anchor, Item},
    clock::Monotonic,
    table::{Key, Place, Table},
};

/// Keys of tenants, and as many of addresses, unless something else is said.
const KEYS: usize = 500_000;
/// One tenant's keys take up to this part of the place that it shares with others.
const SHARE: usize = 4;

/// Counts in memory, under one short lock a call. Cheap to clone; clones count together.
///
/// **Bounded.** It keeps only limits that are in use, and forgets only those that are full again, which loses nothing.
/// When the bound is reached by limits in use, the newcomers that find no place share one count for each limit (those
/// of one tenant among themselves; addresses among themselves): too strict under a flood, never too lax. A flood of
/// addresses takes no place from tenants, and one tenant leaves most of the place to the others.
///
/// See [the module](super) for an example.
#[derive(Debug, Clone)]
pub struct MemoryLimiter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Box<dyn Clock>,
    secrets: [RandomState; 2],
    tenants: Table,
    networks: Table,
}

/// How a [`MemoryLimiter`] is made.
#[derive(Debug)]
pub struct MemoryLimiterBuilder {
    clock: Box<dyn Clock>,
    keys: usize,
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLimiter {
    /// With the machine's clock, and place for 500,000 keys of tenants and as many of addresses.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// To say otherwise.
    pub fn builder() -> MemoryLimiterBuilder {
        MemoryLimiterBuilder { clock: Box::new(Monotonic::new()), keys: KEYS }
    }

    /// May the call go on? If so, it has taken its units of every limit.
    pub fn check(&self, call: &Call<'_>) -> Verdict {
        let this = &*self.0;
        let now = u64::try_from(this.clock.now().as_nanos()).unwrap_or(u64::MAX);
        let table = match call.anchor() {
            Anchor::Tenant(_) => &this.tenants,
            Anchor::Network(_) => &this.networks,
        };
        let anchor = this.secrets[0].hash_one(call.anchor().bits());
        let key = |item: &Item<'_>| Key { anchor, rest: this.secrets[1].hash_one(item) };
        let mut keys: SmallVec<[Key; 4]> = call.items().iter().map(key).collect();
        let mut owed: SmallVec<[u64; 4]> = SmallVec::new();
        let mut shard = table.lock(anchor);
        let mut taken = 0;
        for (key, item) in keys.iter_mut().zip(call.items()) {
            let full_at = match table.place(&mut shard, *key, now, taken) {
                Place::Own(full_at) => full_at,
                Place::New => {
                    taken += 1;
                    0
                }
                Place::Crowded => {
                    *key = this.shared(call, item, anchor);
                    shard.full_at(*key)
                }
            };
            owed.push(full_at.saturating_sub(now));
        }
        let verdict = Verdict::of(call, &owed);
        if verdict.is_allowed() && call.units() > 0 {
            for ((key, owed), item) in keys.into_iter().zip(owed).zip(call.items()) {
                shard.set(key, now.saturating_add(owed).saturating_add(item.limit.owed(call.units())));
            }
        }
        verdict
    }

    /// Keys that are kept. For a gauge.
    pub fn keys(&self) -> usize {
        self.0.tenants.size().0 + self.0.networks.size().0
    }

    /// Bytes that they take up, about.
    pub fn bytes(&self) -> usize {
        self.0.tenants.size().1 + self.0.networks.size().1
    }
}

impl Inner {
    /// The key of those that found no place: in the same shard, so that the lock is the same.
    fn shared(&self, call: &Call<'_>, item: &Item<'_>, anchor: u64) -> Key {
        let crowd: (&str, super::Scope, Limit) = ("crowd", call.scope_of(item), item.limit);
        let rest = self.secrets[1].hash_one(crowd);
        match call.anchor() {
            Anchor::Tenant(_) => Key { anchor, rest },
            // Of addresses, one for the whole shard.
            Anchor::Network(_) => Key { anchor: Table::home_of(anchor), rest },
        }
    }
}

impl MemoryLimiterBuilder {
    /// Counts in the time of this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Place for so many keys of tenants, and as many of addresses; a key takes from 28 to 57 bytes.
    #[must_use]
    pub fn max_keys(mut self, count: usize) -> Self {
        self.keys = count;
        self
    }

    /// Makes it.
    pub fn build(self) -> MemoryLimiter {
        MemoryLimiter(Arc::new(Inner {
            clock: self.clock,
            secrets: [RandomState::new(), RandomState::new()],
            tenants: Table::new(self.keys, SHARE),
            networks: Table::new(self.keys, 1),
        }))
    }
}
