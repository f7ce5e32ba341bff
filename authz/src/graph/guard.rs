//! What decides whether a stored relationship counts: a condition, an expiry, or both.

use crate::condition::{Bound, ConditionError};

/// Which relationship: edge, object and subject, which is 0 for a wildcard.
pub(crate) type GuardKey = (u32, u32, u32);

#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) condition: Option<u32>,
    /// What is stored for the condition; an error when that cannot be read, which decides nothing.
    pub(crate) bound: Result<Bound, ConditionError>,
    /// The same as JSON, to be shown.
    pub(crate) context: Box<str>,
    /// Microseconds since 1970: from then on the relationship does not count.
    pub(crate) expires_at: Option<i64>,
}

impl Guard {
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.context.len() * 3
    }
}

/// How far something holds: what is conditional lies between yes and no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    No,
    Maybe,
    Yes,
}

impl Value {
    pub(crate) fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}
