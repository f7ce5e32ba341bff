//! How a transaction is begun.

use std::{fmt::Write, time::Duration};

/// What transactions see of each other (PostgreSQL manual, "Transaction Isolation").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Each statement sees what was committed when it began.
    #[default]
    ReadCommitted,
    /// The whole transaction sees what was committed at its first statement.
    RepeatableRead,
    /// As if transactions ran one after the other; some fail and must be run again.
    Serializable,
}

/// How a transaction is begun: by default it may write, reads what is committed, and has no time limits of its
/// own.
///
/// ```
/// use std::time::Duration;
/// use formwork_tenancy::{IsolationLevel, TxOptions};
///
/// let report = TxOptions::new()
///     .read_only()
///     .isolation_level(IsolationLevel::RepeatableRead)
///     .statement_timeout(Duration::from_secs(30));
/// # let _ = report;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TxOptions {
    level: IsolationLevel,
    read_only: bool,
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
}

impl TxOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// It may not write.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// What it sees of others.
    #[must_use]
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.level = level;
        self
    }

    /// A statement that takes longer is cancelled by the server; rounded up to milliseconds.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = Some(limit);
        self
    }

    /// A statement that waits longer for a lock fails; rounded up to milliseconds.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = Some(limit);
        self
    }

    /// The text that begins the transaction; nothing in it comes from outside.
    pub(crate) fn begin_text(&self) -> String {
        let level = match self.level {
            IsolationLevel::ReadCommitted => "read committed",
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => "serializable",
        };
        let access = if self.read_only { "read only" } else { "read write" };
        let mut text = format!("begin isolation level {level} {access}");
        let limits = [("statement_timeout", self.statement_timeout), ("lock_timeout", self.lock_timeout)];
        for (name, limit) in limits {
            if let Some(limit) = limit {
                // Zero would mean no limit at all.
                let millis = limit.as_nanos().div_ceil(1_000_000).clamp(1, i32::MAX as u128);
                let _ = write!(text, "; set local {name} = {millis}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_whole_milliseconds_and_never_none_by_accident() {
        let text = |limit| TxOptions::new().statement_timeout(limit).begin_text();
        assert!(text(Duration::ZERO).ends_with("statement_timeout = 1"));
        assert!(text(Duration::from_micros(1_001)).ends_with("statement_timeout = 2"));
        assert!(text(Duration::MAX).ends_with(&format!("statement_timeout = {}", i32::MAX)));
    }
}
