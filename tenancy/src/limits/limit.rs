//! How often, and how many at once.

use std::time::Duration;

/// What refills within this is as long as a limit can look: nanoseconds of it fit into 63 bits, and its microseconds
/// since 1970 into the 53 bits of Redis' numbers.
const HORIZON: u64 = 100 * 365 * 86_400 * 1_000_000_000;

/// So many a period, and a burst that may come at once after a rest; by default a period's worth.
///
/// Counted in whole nanoseconds a unit (in Redis: microseconds), rounded up: never more than asked for. Zero a period,
/// or a burst of zero, lets nothing through.
///
/// ```
/// use formwork_tenancy::limits::Limit;
///
/// let limit = Limit::per_minute(60).burst(10);
/// assert_eq!((limit.units(), limit.most_at_once()), (60, 10));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limit {
    units: u32,
    /// Nanoseconds in which one unit comes back. INVARIANT: from 1 to the horizon.
    interval: u64,
    /// INVARIANT: `interval * burst` is at most the horizon.
    burst: u32,
}

impl Limit {
    /// `units` a second.
    pub const fn per_second(units: u32) -> Self {
        Self::per(units, Duration::from_secs(1))
    }

    /// `units` a minute.
    pub const fn per_minute(units: u32) -> Self {
        Self::per(units, Duration::from_secs(60))
    }

    /// `units` an hour.
    pub const fn per_hour(units: u32) -> Self {
        Self::per(units, Duration::from_secs(3_600))
    }

    /// `units` a day of 24 hours, counted back from now and not from midnight.
    pub const fn per_day(units: u32) -> Self {
        Self::per(units, Duration::from_secs(86_400))
    }

    /// `units` a period, of at most 100 years.
    pub const fn per(units: u32, period: Duration) -> Self {
        let nanos = period.as_nanos();
        let period = if nanos > HORIZON as u128 { HORIZON } else { nanos as u64 };
        let interval = if units == 0 { period } else { period.div_ceil(units as u64) };
        let interval = if interval == 0 { 1 } else { interval };
        Self { units, interval, burst: 0 }.burst(units)
    }

    /// At most so many at once; what takes longer than 100 years to come back is cut off.
    #[must_use]
    pub const fn burst(mut self, units: u32) -> Self {
        let most = HORIZON / self.interval;
        self.burst = if self.units == 0 {
            0
        } else if units as u64 > most {
            most as u32
        } else {
            units
        };
        self
    }

    /// Units that come back in one period.
    pub const fn units(self) -> u32 {
        self.units
    }

    /// Units that may come at once.
    pub const fn most_at_once(self) -> u32 {
        self.burst
    }

    /// From empty to full.
    pub const fn refill(self) -> Duration {
        Duration::from_nanos(self.span())
    }

    pub(super) const fn interval(self) -> u64 {
        self.interval
    }

    /// The most that can be owed, in nanoseconds.
    pub(super) const fn span(self) -> u64 {
        self.interval * self.burst as u64
    }

    /// What `cost` units owe, in nanoseconds.
    pub(super) const fn owed(self, cost: u32) -> u64 {
        self.interval.saturating_mul(cost as u64)
    }

    /// In whole microseconds, rounded up.
    #[cfg(any(feature = "redis", test))]
    pub(super) const fn in_micros(mut self) -> Self {
        self.interval = self.interval.div_ceil(1_000) * 1_000;
        self.burst(self.burst)
    }

    /// One node's share among `nodes`. Its burst is never less than one call of the whole limit's, which that call
    /// could otherwise never make.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn share(mut self, nodes: u32, cost: u32) -> Self {
        let least = cost.min(self.burst);
        let burst = (self.burst / nodes.max(1)).max(least);
        self.interval = self.interval.saturating_mul(u64::from(nodes.max(1))).min(HORIZON);
        self.burst(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_rounds_against_the_caller() {
        let third = Limit::per_second(3);
        assert_eq!((third.interval(), third.in_micros().interval()), (333_333_334, 333_334_000));
        assert_eq!(Limit::per_second(u32::MAX).interval(), 1);
        assert_eq!(Limit::per(5, Duration::ZERO).interval(), 1);
    }

    #[test]
    fn no_limit_overflows() {
        for units in [0, 1, 7, u32::MAX] {
            for period in [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(1), Duration::MAX] {
                for burst in [0, 1, u32::MAX] {
                    let limit = Limit::per(units, period).burst(burst);
                    for limit in [limit, limit.in_micros(), limit.share(u32::MAX, 1), limit.share(0, 9)] {
                        assert!(limit.span() <= HORIZON && limit.interval() >= 1, "{limit:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn shares_add_up_to_no_more_than_the_limit() {
        let limit = Limit::per_second(10).burst(20);
        let share = limit.share(4, 1);
        assert_eq!((share.interval(), share.most_at_once()), (4 * limit.interval(), 5));
        assert_eq!(limit.share(100, 3).most_at_once(), 3);
        assert_eq!(Limit::per_second(0).share(2, 1).most_at_once(), 0);
    }
}
