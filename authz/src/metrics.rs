//! What the graphs of a process cost, as numbers for a monitor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::authz::Authz;

/// Counted since the handle was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Graphs in memory.
    pub graphs: u64,
    /// Bytes that they take together.
    pub bytes: u64,
    /// Whole graphs that were read from the database.
    pub loaded: u64,
    /// First questions of transactions that asked the database what had changed.
    pub caught_up: u64,
    /// First questions that were answered without asking.
    pub from_memory: u64,
    /// Questions that were answered through SQL, without a graph in memory.
    pub by_sql: u64,
    /// Changes that a follower has put into graphs.
    pub followed: u64,
    /// By database, how long ago its follower last knew all that was committed; absent while none follows.
    pub lag: Vec<(String, Duration)>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    loaded: AtomicU64,
    caught_up: AtomicU64,
    from_memory: AtomicU64,
    by_sql: AtomicU64,
    followed: AtomicU64,
}

impl Counters {
    pub(crate) fn loaded(&self) {
        self.loaded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn caught_up(&self) {
        self.caught_up.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remembered(&self) {
        self.from_memory.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn by_sql(&self) {
        self.by_sql.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn followed(&self, changes: usize) {
        self.followed.fetch_add(changes as u64, Ordering::Relaxed);
    }
}

impl Authz {
    /// What the graphs of this process cost.
    pub fn metrics(&self) -> Metrics {
        let (graphs, bytes) = self.inner().cache.size();
        let counters = &self.inner().counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            graphs,
            bytes,
            loaded: read(&counters.loaded),
            caught_up: read(&counters.caught_up),
            from_memory: read(&counters.from_memory),
            by_sql: read(&counters.by_sql),
            followed: read(&counters.followed),
            lag: self.inner().looks.lag(),
        }
    }
}
