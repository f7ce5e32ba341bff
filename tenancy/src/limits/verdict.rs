//! May the call go on, and if not, which limit says so and until when.

use std::{fmt, time::Duration};

use smallvec::SmallVec;

use super::{Call, Limit, Scope};

/// The answer to a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every limit had room, and it was taken.
    Allowed(Allowed),
    /// One limit had none; nothing was taken from any.
    Refused(Refused),
}

/// What is left after an allowed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    standings: Standings,
}

/// Which limit refused, and until when. HTTP 429.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    scope: Scope,
    limit: Limit,
    retry_after: Option<Duration>,
    standings: Vec<Standing>,
}

type Standings = SmallVec<[Standing; 4]>;

/// How one of the call's limits stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    scope: Scope,
    limit: Limit,
    /// Nanoseconds until it is full again.
    owed: u64,
}

impl Verdict {
    /// INVARIANT: this is the one place that decides; the script in Redis takes by the same rule. `owed` is what each
    /// limit owed before the call, in nanoseconds, in the order of the call's items.
    pub(super) fn of(call: &Call<'_>, owed: &[u64]) -> Self {
        let cost = call.units();
        let mut standings: Standings = call
            .items()
            .iter()
            .zip(owed)
            .map(|(item, &owed)| Standing { scope: call.scope_of(item), limit: item.limit, owed })
            .collect();
        // Whoever waits for the last one to have room finds room in all.
        let refusing = standings
            .iter()
            .filter_map(|standing| {
                standing.refuses(cost).map(|wait| (wait.unwrap_or(Duration::MAX), standing))
            })
            .max_by_key(|(wait, _)| *wait);
        if let Some((wait, &Standing { scope, limit, .. })) = refusing {
            let retry_after = (wait < Duration::MAX).then_some(wait);
            return Self::Refused(Refused { scope, limit, retry_after, standings: standings.into_vec() });
        }
        for standing in &mut standings {
            standing.owed = standing.owed.saturating_add(standing.limit.owed(cost));
        }
        Self::Allowed(Allowed { standings })
    }

    /// May the call go on?
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The refusal as an error, for `?`.
    ///
    /// # Errors
    ///
    /// [`Refused`].
    pub fn into_result(self) -> Result<Allowed, Refused> {
        match self {
            Self::Allowed(allowed) => Ok(allowed),
            Self::Refused(refused) => Err(refused),
        }
    }

    /// How each of the call's limits stands: after it when it was allowed, and else as it is now.
    pub fn standings(&self) -> &[Standing] {
        match self {
            Self::Allowed(allowed) => &allowed.standings,
            Self::Refused(refused) => &refused.standings,
        }
    }
}

impl Allowed {
    /// Units that every limit of the call has left; none when the call had no limit.
    pub fn remaining(&self) -> Option<u32> {
        self.standings.iter().map(|standing| standing.remaining()).min()
    }

    /// Until all are full again, if nothing more comes.
    pub fn reset(&self) -> Duration {
        self.standings.iter().map(|standing| standing.reset()).max().unwrap_or_default()
    }

    /// How each of the call's limits stands.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }
}

impl Refused {
    /// What the refusing limit counts: of several, the one that takes longest to have room.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The refusing limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// When the same call will find room in all its limits, if nothing else comes. None: never, since it asks for more
    /// than a limit lets through at once.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// How each of the call's limits stands.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scope, most) = (self.scope, self.limit.most_at_once());
        match self.retry_after {
            Some(wait) => {
                write!(f, "the {scope} limit has no room: try again in {} s", super::headers::seconds(wait))
            }
            None => write!(
                f,
                "the {scope} limit lets through {most} at once, and the call asks for more: split it"
            ),
        }
    }
}

impl std::error::Error for Refused {}

impl Standing {
    /// What it counts.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The limit.
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Units that could come now.
    pub fn remaining(&self) -> u32 {
        let room = self.limit.span().saturating_sub(self.owed) / self.limit.interval();
        u32::try_from(room).unwrap_or(u32::MAX)
    }

    /// Until it is full again, if nothing more comes.
    pub fn reset(&self) -> Duration {
        Duration::from_nanos(self.owed)
    }

    /// Has it no room for `cost`? Then how long until it has; none, when it never will.
    fn refuses(&self, cost: u32) -> Option<Option<Duration>> {
        if cost > self.limit.most_at_once() {
            return Some(None);
        }
        let over = self.owed.saturating_add(self.limit.owed(cost)).saturating_sub(self.limit.span());
        (over > 0).then(|| Some(Duration::from_nanos(over)))
    }
}
