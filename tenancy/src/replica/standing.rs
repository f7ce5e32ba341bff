//! What is known of a replica without asking it: how far it was, and whether it answers.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::WalPosition;

/// How long a replica that was not far enough is not asked about what it lacked, at first and at the most.
const LAG: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How long one that failed is left alone, at first and at the most.
const FAILURE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// It only goes on from here, for as long as it is the same server.
    seen: WalPosition,
    misses: u32,
    failures: u32,
    /// When it may be asked about what lies beyond `seen`.
    look: Option<Instant>,
    /// When it may be asked at all.
    rest: Option<Instant>,
}

/// Whether to begin a transaction there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prospect {
    /// It was far enough already.
    Sure,
    /// It may have come far enough since; or may answer again. Asked by one at a time.
    Chance,
    Hopeless,
}

impl Standing {
    /// What to expect. A chance is taken by claiming it.
    pub(super) fn prospect(&self, needed: WalPosition, now: Instant) -> Prospect {
        let state = self.state();
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        if !is_due(state.rest) {
            Prospect::Hopeless
        } else if state.failures == 0 && state.seen >= needed {
            Prospect::Sure
        } else if is_due(state.look) {
            Prospect::Chance
        } else {
            Prospect::Hopeless
        }
    }

    /// Takes the chance, so that nobody else does until it has answered or some time has passed.
    pub(super) fn claim(&self, now: Instant) {
        let mut state = self.state();
        state.look = Some(now + backoff(LAG, state.misses));
        if state.failures > 0 {
            state.rest = Some(now + backoff(FAILURE, state.failures));
        }
    }

    /// It answered, and was as far as this.
    pub(super) fn answered(&self, position: WalPosition, is_enough: bool, now: Instant) {
        let mut state = self.state();
        state.seen = state.seen.max(position);
        (state.failures, state.rest) = (0, None);
        if is_enough {
            (state.misses, state.look) = (0, None);
        } else {
            state.misses += 1;
            state.look = Some(now + backoff(LAG, state.misses));
        }
    }

    /// It did not answer, or as somebody else.
    pub(super) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.seen = WalPosition::default();
        state.failures += 1;
        state.rest = Some(now + backoff(FAILURE, state.failures));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Twice as long each time.
fn backoff((first, most): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> WalPosition {
        WalPosition::parse(text).unwrap()
    }

    #[test]
    fn what_was_seen_is_sure_and_what_lies_beyond_is_tried_by_one() {
        let (standing, now) = (Standing::default(), Instant::now());
        assert_eq!(standing.prospect(WalPosition::default(), now), Prospect::Sure);
        assert_eq!(standing.prospect(position("0/20"), now), Prospect::Chance);
        standing.claim(now);
        assert_eq!(standing.prospect(position("0/20"), now), Prospect::Hopeless);
        standing.answered(position("0/10"), false, now);
        assert_eq!(standing.prospect(position("0/10"), now), Prospect::Sure);
        assert_eq!(standing.prospect(position("0/20"), now), Prospect::Hopeless);
        assert_eq!(standing.prospect(position("0/20"), now + LAG.0), Prospect::Chance);
        standing.answered(position("0/20"), true, now);
        assert_eq!(standing.prospect(position("0/20"), now), Prospect::Sure);
    }

    #[test]
    fn one_that_fails_is_left_alone_for_longer_each_time_and_comes_back() {
        let (standing, now) = (Standing::default(), Instant::now());
        standing.answered(position("0/20"), true, now);
        standing.failed(now);
        let least = WalPosition::default();
        assert_eq!(standing.prospect(least, now), Prospect::Hopeless);
        let later = now + FAILURE.0;
        assert_eq!(standing.prospect(least, later), Prospect::Chance);
        standing.claim(later);
        assert_eq!(standing.prospect(least, later), Prospect::Hopeless, "one tries at a time");
        standing.failed(later);
        assert_eq!(standing.prospect(least, later + FAILURE.0), Prospect::Hopeless);
        for _ in 0..40 {
            standing.failed(later);
        }
        assert_eq!(standing.prospect(least, later + FAILURE.1), Prospect::Chance);
        standing.answered(position("0/5"), true, later);
        assert_eq!(standing.prospect(position("0/5"), later), Prospect::Sure);
        assert_eq!(standing.prospect(position("0/20"), later), Prospect::Chance, "it may be another server");
    }
}
