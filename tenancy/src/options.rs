//! How a transaction is begun.

use std::{fmt::Write, time::Duration};

use crate::{CommitToken, Status, TenantId, replica::WalPosition};

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
    whatever_status: bool,
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
    beyond_plan: bool,
    required: Option<Required>,
    staleness: Option<Duration>,
    on_primary: bool,
}

/// What a token asks of whoever answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Required {
    tenant: TenantId,
    epoch: i64,
    position: WalPosition,
}

/// What a tenant's plan allows each of its transactions, unless they ask for less.
///
/// ```
/// use std::time::Duration;
/// use formwork_tenancy::{PlanLimits, Tenants};
///
/// let builder = Tenants::builder()
///     .plan("standard", PlanLimits::new().statement_timeout(Duration::from_secs(5)))
///     .other_plans(PlanLimits::new().statement_timeout(Duration::from_secs(1)));
/// # let _ = builder;
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanLimits {
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
}

impl PlanLimits {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a statement may take.
    #[must_use]
    pub fn statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = Some(limit);
        self
    }

    /// How long a statement may wait for a lock.
    #[must_use]
    pub fn lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = Some(limit);
        self
    }
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

    pub(crate) fn is_serializable(&self) -> bool {
        self.level == IsolationLevel::Serializable
    }

    /// Begins it for a tenant that is not in service too: for exports, removals and whoever puts a tenant right. One
    /// that is archived is only read, and one that is deleted has nothing to begin in.
    #[must_use]
    pub fn whatever_status(mut self) -> Self {
        self.whatever_status = true;
        self
    }

    pub(crate) fn serves(&self, status: Status) -> bool {
        match status {
            Status::Active => true,
            Status::Archived => self.whatever_status && self.read_only,
            Status::Deleted => false,
            Status::Provisioning | Status::Suspended | Status::Deleting => self.whatever_status,
        }
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

    /// Its limits may be wider than those of the tenant's plan, which otherwise hold: for a report, an export.
    #[must_use]
    pub fn beyond_plan(mut self) -> Self {
        self.beyond_plan = true;
        self
    }

    /// With the plan's limits where there are none, and never beyond them unless it was said so.
    pub(crate) fn within(mut self, plan: PlanLimits) -> Self {
        let bounded = |own: Option<Duration>, plan: Option<Duration>| match (own, plan) {
            (Some(own), Some(plan)) if !self.beyond_plan => Some(own.min(plan)),
            (own, plan) => own.or(plan),
        };
        self.statement_timeout = bounded(self.statement_timeout, plan.statement_timeout);
        self.lock_timeout = bounded(self.lock_timeout, plan.lock_timeout);
        self
    }

    /// It sees at least the state that the token was taken of, as the session's own token has it
    /// ([`Session::at_least`](crate::Session::at_least)). For one that only reads: a replica that has come as far
    /// answers it, else the primary.
    #[must_use]
    pub fn at_least(mut self, token: &CommitToken) -> Self {
        self.required =
            Some(Required { tenant: token.tenant(), epoch: token.epoch(), position: WalPosition::of(token) });
        self
    }

    /// For one that only reads: a replica may answer it that shows what had been committed this long ago, and whatever
    /// a token asks for besides. Counted from the time of the question, by this process's clock alone.
    #[must_use]
    pub fn at_most_stale(mut self, age: Duration) -> Self {
        self.staleness = Some(age);
        self
    }

    /// The primary answers it, whatever a replica could.
    #[must_use]
    pub fn on_primary(mut self) -> Self {
        self.on_primary = true;
        self
    }

    /// A standby has no serializable transactions.
    pub(crate) fn may_be_on_replica(&self) -> bool {
        self.read_only && !self.on_primary && !self.is_serializable()
    }

    pub(crate) fn is_read_committed(&self) -> bool {
        self.level == IsolationLevel::ReadCommitted
    }

    pub(crate) fn staleness(&self) -> Option<Duration> {
        self.staleness
    }

    /// Epoch and position that it must have reached for this tenant.
    pub(crate) fn required_of(&self, tenant: TenantId) -> Option<(i64, WalPosition)> {
        let required = self.required.filter(|required| required.tenant == tenant)?;
        Some((required.epoch, required.position))
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
    fn a_plan_bounds_what_a_transaction_asks_for() {
        let second = Duration::from_secs(1);
        let plan = PlanLimits::new().statement_timeout(second);
        let statement = |options: TxOptions| options.within(plan).statement_timeout;
        assert_eq!(statement(TxOptions::new()), Some(second));
        assert_eq!(statement(TxOptions::new().beyond_plan()), Some(second));
        assert_eq!(statement(TxOptions::new().statement_timeout(second / 2)), Some(second / 2));
        assert_eq!(statement(TxOptions::new().statement_timeout(second * 2)), Some(second));
        assert_eq!(statement(TxOptions::new().statement_timeout(second * 2).beyond_plan()), Some(second * 2));
        assert_eq!(TxOptions::new().within(plan).lock_timeout, None);
    }

    #[test]
    fn limits_are_whole_milliseconds_and_never_none_by_accident() {
        let text = |limit| TxOptions::new().statement_timeout(limit).begin_text();
        assert!(text(Duration::ZERO).ends_with("statement_timeout = 1"));
        assert!(text(Duration::from_micros(1_001)).ends_with("statement_timeout = 2"));
        assert!(text(Duration::MAX).ends_with(&format!("statement_timeout = {}", i32::MAX)));
    }
}
