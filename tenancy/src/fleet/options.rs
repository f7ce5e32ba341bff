//! How a run goes about it.

use std::time::Duration;

/// What goes first, by itself: a failure there stops the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// The oldest homes, so many of them.
    First(usize),
    /// The homes of these tenants, by slug.
    Tenants(Vec<String>),
}

/// What to do when another run is at work on the same database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Busy {
    /// Wait for its end, and do what is left.
    #[default]
    Wait,
    /// Fail with [`ControlError::Busy`](crate::ControlError::Busy).
    Refuse,
}

/// How a run goes about it. The default: one home as canary, waves of 250, 4 connections, one second for a lock, 6
/// attempts, a stop after 10 failures.
#[derive(Debug, Clone)]
pub struct FleetOptions {
    pub(super) canary: Canary,
    pub(super) wave: usize,
    pub(super) connections: usize,
    pub(super) lock_timeout: Duration,
    pub(super) attempts: u32,
    pub(super) backoff: Duration,
    pub(super) stop_after: usize,
    pub(super) busy: Busy,
    /// Whether all databases together have been asked for the canaries.
    pub(super) canaries_are_known: bool,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            canary: Canary::First(1),
            wave: 250,
            connections: 4,
            lock_timeout: Duration::from_secs(1),
            attempts: 6,
            backoff: Duration::from_millis(200),
            stop_after: 10,
            busy: Busy::Wait,
            canaries_are_known: false,
        }
    }
}

impl FleetOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// What goes first, by itself.
    #[must_use]
    pub fn canary(mut self, canary: Canary) -> Self {
        self.canary = canary;
        self
    }

    /// How many homes make a wave; the next begins when all of one are settled on disk.
    #[must_use]
    pub fn wave(mut self, homes: usize) -> Self {
        self.wave = homes.max(1);
        self
    }

    /// How many homes are worked on at a time, on a connection each. One more connection holds the lock.
    #[must_use]
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count.max(1);
        self
    }

    /// How long a statement waits for a lock. Whoever comes after it waits as long, the tenant's own requests too.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// How often a home is tried that a lock, a deadlock or a lost connection stopped.
    #[must_use]
    pub fn attempts(mut self, count: u32) -> Self {
        self.attempts = count.max(1);
        self
    }

    /// How long to leave such a home alone before the second attempt; twice as long before each further one, up to
    /// five seconds. Other homes go on meanwhile.
    #[must_use]
    pub fn backoff(mut self, first: Duration) -> Self {
        self.backoff = first;
        self
    }

    /// After how many failed homes no other is begun.
    #[must_use]
    pub fn stop_after(mut self, failures: usize) -> Self {
        self.stop_after = failures.max(1);
        self
    }

    /// What to do when another run is at work.
    #[must_use]
    pub fn busy(mut self, busy: Busy) -> Self {
        self.busy = busy;
        self
    }

    pub(super) fn wait_after(&self, attempt: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.backoff.saturating_mul(factor).min(Duration::from_secs(5))
    }
}
