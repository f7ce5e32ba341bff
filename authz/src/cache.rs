//! The graphs of all tenants in this process, weighed in bytes.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use formwork_tenancy::{Snapshot, Tenant, TenantId};
use tokio::sync::Mutex;

use crate::graph::Graph;

/// What one tenant's relationships were at a snapshot.
///
/// INVARIANT: the graph has exactly the changes of the transactions that are visible in the snapshot,
/// and of no other: nothing that is not committed is ever here.
pub(crate) struct Published {
    pub(crate) snapshot: Snapshot,
    pub(crate) graph: Arc<Graph>,
}

/// The place of one tenant.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) published: ArcSwapOption<Published>,
    /// Held while a whole graph is loaded, so that a cold tenant is loaded once and not by everyone.
    pub(crate) loading: Mutex<()>,
}

/// A tenant in one home: when the home changes, nothing that was known of its transactions counts.
type Key = (TenantId, i64);

pub(crate) struct Cache {
    slots: moka::sync::Cache<Key, Arc<Slot>>,
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |_: &Key, slot: &Arc<Slot>| {
            let graph = slot.published.load().as_ref().map_or(0, |published| published.graph.memory_bytes());
            u32::try_from(graph + size_of::<Slot>()).unwrap_or(u32::MAX)
        };
        Self { slots: moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build() }
    }

    pub(crate) fn slot(&self, tenant: &Tenant) -> Arc<Slot> {
        self.slots.get_with((tenant.id(), tenant.epoch()), Arc::default)
    }

    /// Makes a newer state known to all, unless another one came in between: then that one stays,
    /// which is as true as this one.
    pub(crate) fn publish(
        &self,
        tenant: &Tenant,
        slot: &Arc<Slot>,
        before: Option<&Arc<Published>>,
        published: Arc<Published>,
    ) {
        let bytes = published.graph.memory_bytes();
        let weighed = before.map_or(0, |before| before.graph.memory_bytes());
        let expected = before.map(Arc::clone);
        slot.published.compare_and_swap(&expected, Some(published));
        // The cache weighs what it is given, so a graph that has grown is given again.
        if bytes.abs_diff(weighed) > weighed / 8 {
            self.slots.insert((tenant.id(), tenant.epoch()), Arc::clone(slot));
        }
    }
}
