//! What a deliverer has done, as numbers for a monitor.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the deliverer was made. How far it is behind is asked of the database:
/// [`Deliverer::backlog`](super::Deliverer::backlog).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinkMetrics {
    /// Events that the sink has taken.
    pub delivered: u64,
    /// Events that its filter has left out.
    pub filtered: u64,
    /// Sends that failed and were tried again.
    pub retried: u64,
    /// Events that became dead letters.
    pub dead: u64,
    /// Events that were not there any more when they were to be sent: their tenant was removed, or their time of keeping
    /// was over.
    pub gone: u64,
    /// How often the stream had been pruned before it was read: what it held then never went out.
    pub pruned: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) filtered: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) pruned: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> SinkMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SinkMetrics {
            delivered: read(&self.delivered),
            filtered: read(&self.filtered),
            retried: read(&self.retried),
            dead: read(&self.dead),
            gone: read(&self.gone),
            pruned: read(&self.pruned),
        }
    }
}
