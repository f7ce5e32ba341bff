//! Why a transaction was not let in.

use std::time::Duration;

/// A tenant has as much under way as it may have: nothing was begun, and a moment later it may be. HTTP 503 or 429.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Busy {
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    Full { limit: usize },
    TimedOut { after: Duration },
    Closed,
}

impl Busy {
    pub(crate) fn full(limit: usize) -> Self {
        Self { why: Why::Full { limit } }
    }

    pub(super) fn timed_out(after: Duration) -> Self {
        Self { why: Why::TimedOut { after } }
    }

    pub(super) fn closed() -> Self {
        Self { why: Why::Closed }
    }

    /// Did it not even wait, since as many of the tenant wait already as may?
    pub fn is_queue_full(&self) -> bool {
        matches!(self.why, Why::Full { .. })
    }

    fn text(&self) -> String {
        match self.why {
            Why::Full { limit } => {
                format!("{limit} transactions of the tenant wait for a connection already: try again shortly")
            }
            Why::TimedOut { after } => {
                format!("no connection was free for the tenant within {after:?}: try again shortly")
            }
            Why::Closed => "nobody is let in any more".to_owned(),
        }
    }
}

impl From<Busy> for crate::StorageError {
    fn from(busy: Busy) -> Self {
        sqlx::Error::Configuration(Box::new(busy)).into()
    }
}
