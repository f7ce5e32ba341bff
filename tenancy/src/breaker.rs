//! Keeps calls away from a server that does not answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Closed: the server is asked. Open: it is not, and from time to time one caller is told to look after it.
#[derive(Debug)]
pub(crate) struct Breaker {
    begun: Instant,
    every: Duration,
    /// INVARIANT: zero when closed, else when to look next, in nanoseconds since `begun`.
    look_at: AtomicU64,
}

impl Breaker {
    /// Looks `every` so often.
    pub(crate) fn new(every: Duration) -> Self {
        Self { begun: Instant::now(), every, look_at: AtomicU64::new(0) }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.look_at.load(Ordering::Acquire) > 0
    }

    /// Was it closed?
    pub(crate) fn open(&self) -> bool {
        self.look_at.swap(self.next(), Ordering::AcqRel) == 0
    }

    pub(crate) fn close(&self) {
        self.look_at.store(0, Ordering::Release);
    }

    /// Is it this caller who looks?
    pub(crate) fn is_due(&self) -> bool {
        let at = self.look_at.load(Ordering::Acquire);
        at > 0
            && at <= self.now()
            && self.look_at.compare_exchange(at, self.next(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn next(&self) -> u64 {
        self.now().saturating_add(u64::try_from(self.every.as_nanos()).unwrap_or(u64::MAX)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_looks_at_a_time() {
        let breaker = Breaker::new(Duration::ZERO);
        assert!(!breaker.is_open() && !breaker.is_due());
        assert!(breaker.open() && !breaker.open() && breaker.is_open());
        assert!(breaker.is_due());
        breaker.close();
        assert!(!breaker.is_open() && !breaker.is_due());

        let patient = Breaker::new(Duration::from_secs(3_600));
        patient.open();
        assert!(patient.is_open() && !patient.is_due());
    }
}
