//! The answer to a check.

/// The answer to a check. A denial is an answer and not an error.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The subject holds the permission.
    Allowed,
    /// The subject does not hold the permission.
    Denied,
}

impl Decision {
    pub(crate) fn from_bool(allowed: bool) -> Self {
        if allowed { Self::Allowed } else { Self::Denied }
    }

    /// Whether this is [`Decision::Allowed`].
    pub fn is_allowed(self) -> bool {
        self == Self::Allowed
    }
}
