//! How often, and after what pauses, something is tried again.

use std::time::Duration;

/// When a send is tried again, and when its first event is given up.
///
/// ```
/// use std::time::Duration;
/// use formwork_audit::sink::Retry;
///
/// let retry = Retry::times(4).pauses(Duration::from_secs(1), Duration::from_secs(3));
/// let pauses: Vec<_> = (1..=4).map(|attempt| retry.pause_after(attempt)).collect();
/// let seconds = |n| Some(Duration::from_secs(n));
/// assert_eq!(pauses, [seconds(1), seconds(2), seconds(3), None]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    attempts: Option<u32>,
    first: Duration,
    longest: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self::until_taken()
    }
}

impl Retry {
    /// For as long as it takes: while the place is away everything waits, and nothing is given up. One second, then twice
    /// as long each time, up to a minute.
    pub fn until_taken() -> Self {
        Self { attempts: None, first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }

    /// So many attempts for each event, at least one; then it is a dead letter, and the next one is tried.
    pub fn times(attempts: u32) -> Self {
        Self { attempts: Some(attempts.max(1)), ..Self::until_taken() }
    }

    /// The pause after the first attempt, which doubles, and the longest one.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first, self.longest) = (first, longest.max(first));
        self
    }

    /// No pause is longer.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// How long to wait after so many attempts; none when there is to be no other.
    pub fn pause_after(&self, attempts: u32) -> Option<Duration> {
        if self.attempts.is_some_and(|most| attempts >= most) {
            return None;
        }
        let doubled =
            2u32.checked_pow(attempts.saturating_sub(1)).and_then(|times| self.first.checked_mul(times));
        Some(doubled.map_or(self.longest, |pause| pause.min(self.longest)))
    }
}
