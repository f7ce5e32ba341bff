//! What a change of status tells.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{HookFailure, Transition, TransitionStep, ledger::Entry};
use crate::Status;

/// Something that a change has come to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum LifecycleEvent<'a> {
    /// A step is done; the next begins.
    Reached {
        /// The step.
        step: TransitionStep,
    },
    /// Rows are gone for good, a batch of them.
    Removed {
        /// The table.
        table: &'a str,
        /// Rows of it so far.
        rows: u64,
    },
}

/// What a change did.
#[derive(Debug, Clone)]
pub struct TransitionReport {
    pub(super) status: Status,
    pub(super) changed: bool,
    pub(super) removed: u64,
    pub(super) waiting: Vec<HookFailure>,
}

impl TransitionReport {
    /// Where the tenant stands now.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Was it done just now, or was it done already?
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Rows removed one by one: of a shared home and of the streams. What went with a schema is not counted.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Hooks that are to be called again: `resume` does it.
    pub fn waiting(&self) -> &[HookFailure] {
        &self.waiting
    }
}

impl fmt::Display for TransitionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let already = if self.changed { "" } else { " already" };
        write!(f, "the tenant is {}{already}", self.status)?;
        if self.removed > 0 {
            write!(f, ", {} rows are removed", self.removed)?;
        }
        for failure in &self.waiting {
            write!(f, "; to be called again: {failure}")?;
        }
        Ok(())
    }
}

/// A change that was asked for once, by the ledger, which is never cleared.
#[derive(Debug, Clone)]
pub struct PastTransition {
    entry: Entry,
}

impl PastTransition {
    pub(super) fn of(entry: Entry) -> Self {
        Self { entry }
    }

    /// Identity.
    pub fn id(&self) -> Uuid {
        self.entry.id
    }

    /// Which.
    pub fn transition(&self) -> Transition {
        self.entry.transition
    }

    /// From where.
    pub fn from(&self) -> Status {
        self.entry.from
    }

    /// To where.
    pub fn to(&self) -> Status {
        self.entry.to
    }

    /// How far it came.
    pub fn step(&self) -> TransitionStep {
        self.entry.step
    }

    /// Who wanted it, as `kind:id`.
    pub fn actor(&self) -> &str {
        &self.entry.actor
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.entry.reason
    }

    /// Why nothing came of it, or what a hook said last.
    pub fn problem(&self) -> Option<&str> {
        self.entry.problem.as_deref()
    }

    /// When it was asked for, by the database's clock.
    pub fn begun_at(&self) -> DateTime<Utc> {
        self.entry.begun_at
    }
}
