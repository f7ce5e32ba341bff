//! Where the primary's log stood, and when: how old what a replica shows is, without asking any clock.
//!
//! A replica that has come as far as the primary's log had at some moment shows all that was committed before it. The
//! replica's own word would not do: the time of the last replayed commit grows old while nothing is committed, and a
//! replica that has lost its primary has replayed all that it received.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::WalPosition;

/// Nearer to each other than this, marks say nothing new.
const APART: Duration = Duration::from_millis(50);
const KEPT: usize = 64;

/// Marks of one primary, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Marks(Mutex<VecDeque<(Instant, WalPosition)>>);

impl Marks {
    /// The log stood at `position` at `at`, or later.
    pub(crate) fn set(&self, at: Instant, position: WalPosition) {
        let mut marks = self.marks();
        if marks.back().is_some_and(|(last, _)| at < *last + APART) {
            return;
        }
        if marks.len() == KEPT {
            marks.pop_front();
        }
        marks.push_back((at, position));
    }

    /// The least that a replica must have replayed to be no older than `age`; none when the primary has not been heard
    /// of for as long.
    pub(super) fn within(&self, age: Duration, now: Instant) -> Option<WalPosition> {
        let marks = self.marks();
        let mut young = marks.iter().filter(|(at, _)| now.saturating_duration_since(*at) <= age);
        young.next().map(|(_, position)| *position)
    }

    fn marks(&self) -> MutexGuard<'_, VecDeque<(Instant, WalPosition)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_mark_that_is_young_enough_asks_for_the_least() {
        let (marks, start) = (Marks::default(), Instant::now());
        let position = |text| WalPosition::parse(text).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(marks.within(second, start), None);
        marks.set(start, position("0/10"));
        marks.set(start + APART / 2, position("0/15"));
        marks.set(start + second, position("0/20"));
        assert_eq!(marks.within(2 * second, start + second), Some(position("0/10")));
        assert_eq!(marks.within(second / 2, start + second), Some(position("0/20")));
        assert_eq!(marks.within(second / 2, start + 2 * second), None);
    }

    #[test]
    fn no_more_are_kept_than_are_of_use() {
        let (marks, start) = (Marks::default(), Instant::now());
        for number in 0..1_000 {
            marks.set(start + APART * number, WalPosition::default());
        }
        assert_eq!(marks.marks().len(), KEPT);
    }
}
