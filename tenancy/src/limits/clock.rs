//! The time that limits in memory, and the age of what is known of a tenant, are counted in.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Time since any fixed moment. It must not go back; when it does, limits refill later.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time.
    fn now(&self) -> Duration;
}

/// The machine's own, which no correction moves.
#[derive(Debug)]
pub(crate) struct Monotonic(Instant);

impl Monotonic {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
