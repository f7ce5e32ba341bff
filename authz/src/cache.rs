//! The graphs of all tenants in this process, weighed in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use formwork_tenancy::{Snapshot, Tenant, TenantId};
use moka::ops::compute::Op;
use tokio::sync::Mutex;

use crate::graph::Graph;

/// So long it is taken for granted that a tenant has stayed over its budget.
const OVER_FOR: Duration = Duration::from_secs(300);

/// What one tenant's relationships were at a snapshot.
///
/// INVARIANT: the graph has the changes of all transactions that are visible in the snapshot, and nothing that is not
/// committed. On a primary it has no others; what a standby said may have some, which are read again.
pub(crate) struct Published {
    pub(crate) snapshot: Snapshot,
    pub(crate) graph: Arc<Graph>,
    /// The primary's, where it was one.
    pub(crate) timeline: Option<String>,
    /// Which database of which cluster said so: a follower counts only when it reads the same.
    pub(crate) origin: Arc<str>,
    /// The state was the newest at this time or later; unknown of what a standby said, or
    /// a transaction that saw an earlier state.
    pub(crate) asked_at: Option<Instant>,
    /// The snapshot includes what the follower's look of this number saw.
    pub(crate) look: u64,
}

/// The place of one tenant in one home: when the home changes, nothing that was known of its transactions counts.
pub(crate) struct Slot {
    pub(crate) epoch: i64,
    pub(crate) database: Box<str>,
    schema: Box<str>,
    pub(crate) published: ArcSwapOption<Published>,
    /// The number of the follower's last look that found changes of this tenant. A state of an earlier look is old.
    pub(crate) changed_in: AtomicU64,
    /// Held while a whole graph is loaded, so that a cold tenant is loaded once and not by everyone.
    pub(crate) loading: Mutex<()>,
    /// When the tenant was found to have more relationships than its budget allows.
    over: ArcSwapOption<Instant>,
    /// Questions while no graph was there.
    cold: AtomicU32,
}

impl Slot {
    fn new(tenant: &Tenant) -> Self {
        Self {
            epoch: tenant.epoch(),
            database: tenant.database_name().into(),
            schema: tenant.schema_name().into(),
            published: ArcSwapOption::empty(),
            changed_in: AtomicU64::new(0),
            loading: Mutex::default(),
            over: ArcSwapOption::empty(),
            cold: AtomicU32::new(0),
        }
    }

    /// Is the state what the follower's last look left, which follows without a gap since the look `since`?
    pub(crate) fn is_followed(&self, published: &Published, since: u64) -> bool {
        published.look >= since && published.look >= self.changed_in.load(Ordering::Acquire)
    }

    /// The tenant has more than its budget allows: nothing of it is kept for a while.
    pub(crate) fn put_over(&self) {
        self.over.store(Some(Arc::new(Instant::now())));
        self.published.store(None);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load().as_ref().is_some_and(|since| since.elapsed() < OVER_FOR)
    }

    /// Is this one of the first `questions` since there was a graph?
    pub(crate) fn is_cold(&self, questions: u32) -> bool {
        if questions == 0 {
            return false;
        }
        if self.published.load().is_some() {
            self.cold.store(0, Ordering::Relaxed);
            return false;
        }
        self.cold.fetch_add(1, Ordering::Relaxed) < questions
    }

    fn bytes(&self) -> usize {
        self.published.load().as_ref().map_or(0, |published| published.graph.memory_bytes())
    }
}

pub(crate) struct Cache {
    slots: moka::sync::Cache<TenantId, Arc<Slot>>,
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |_: &TenantId, slot: &Arc<Slot>| {
            u32::try_from(slot.bytes() + size_of::<Slot>()).unwrap_or(u32::MAX)
        };
        Self { slots: moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build() }
    }

    pub(crate) fn slot(&self, tenant: &Tenant) -> Arc<Slot> {
        let slot = self.slots.get_with(tenant.id(), || Arc::new(Slot::new(tenant)));
        let is_same_place =
            *slot.database == *tenant.database_name() && *slot.schema == *tenant.schema_name();
        if slot.epoch == tenant.epoch() && is_same_place {
            return slot;
        }
        let own = Arc::new(Slot::new(tenant));
        // Somebody who knows an older home than others asks for themselves.
        if slot.epoch <= tenant.epoch() {
            self.slots.insert(tenant.id(), Arc::clone(&own));
        }
        own
    }

    /// The slot of a tenant that somebody has asked about.
    pub(crate) fn known(&self, tenant: TenantId) -> Option<Arc<Slot>> {
        self.slots.get(&tenant)
    }

    /// Forgets what is known of a database's tenants.
    pub(crate) fn forget(&self, database: &str) {
        let gone: Vec<TenantId> =
            self.slots.iter().filter(|(_, slot)| *slot.database == *database).map(|(id, _)| *id).collect();
        for tenant in gone {
            self.slots.invalidate(&tenant);
        }
    }

    /// Makes a newer state known to all, unless another one came in between: then that one stays,
    /// which is as true as this one.
    pub(crate) fn publish(
        &self,
        tenant: TenantId,
        slot: &Arc<Slot>,
        before: Option<&Arc<Published>>,
        published: Arc<Published>,
    ) {
        let bytes = published.graph.memory_bytes();
        let weighed = before.map_or(0, |before| before.graph.memory_bytes());
        let expected = before.map(Arc::clone);
        slot.published.compare_and_swap(&expected, Some(published));
        // The cache weighs what it is given, so a graph that has grown is given again; but not one that was put out
        // meanwhile: it may have missed what the follower saw.
        if bytes.abs_diff(weighed) > weighed / 8 {
            self.weigh_again(tenant, slot);
        }
    }

    pub(crate) fn weigh_again(&self, tenant: TenantId, slot: &Arc<Slot>) {
        self.slots.entry(tenant).and_compute_with(|entry| match entry {
            Some(entry) if Arc::ptr_eq(entry.value(), slot) => Op::Put(Arc::clone(slot)),
            _ => Op::Nop,
        });
    }

    /// How many graphs there are, and their bytes together.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.slots.run_pending_tasks();
        (self.slots.entry_count(), self.slots.weighted_size())
    }
}
