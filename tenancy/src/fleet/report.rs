//! What a run says while it is at work, and at its end.

use std::{fmt, time::Duration};

use super::{home::Home, plan::FleetPlan};
use crate::{ControlError, StorageError};

/// A part of a run; each ends before the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wave {
    /// What all homes rest on.
    Platform,
    /// The home of every tenant in `shared` isolation.
    Shared,
    /// The homes that go first.
    Canary,
    /// All others, so many at a time: the wave's number, from 1.
    Fleet(usize),
    /// Homes that were made while the run was at work.
    Late,
}

impl fmt::Display for Wave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Shared => f.write_str("shared home"),
            Self::Canary => f.write_str("canary"),
            Self::Fleet(nr) => write!(f, "wave {nr}"),
            Self::Late => f.write_str("late homes"),
        }
    }
}

/// How far a run is, in homes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// To be done in this run.
    pub total: usize,
    /// Done.
    pub done: usize,
    /// Failed.
    pub failed: usize,
}

/// What happens in a run, for whoever shows it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum FleetEvent<'a> {
    /// Another run is at work: this one waits for its end.
    Waiting,
    /// What is to be done is known.
    Planned {
        /// All of it.
        plan: &'a FleetPlan,
    },
    /// A wave begins.
    WaveBegun {
        /// Which.
        wave: Wave,
        /// Of how many homes.
        homes: usize,
    },
    /// A home is up to date.
    Done {
        /// Which.
        home: &'a Home,
        /// How far the run is now.
        counts: FleetCounts,
    },
    /// A home was stopped by what may pass, and is tried again.
    Retry {
        /// Which.
        home: &'a Home,
        /// By what.
        reason: &'a str,
        /// After how long.
        wait: Duration,
    },
    /// A home failed and is as it was.
    Failed {
        /// Which, and why.
        failure: &'a HomeFailure,
        /// How far the run is now.
        counts: FleetCounts,
    },
}

/// A home that is as it was, and why. Written out it is one line.
#[derive(Debug, Clone)]
pub struct HomeFailure {
    pub(super) home: Home,
    pub(super) step: Option<String>,
    pub(super) line: Option<usize>,
    pub(super) reason: String,
    pub(super) attempts: u32,
    pub(super) source: StorageError,
}

impl HomeFailure {
    /// Which home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The step that failed, as `set/0001_name`; none when no step had begun.
    pub fn step(&self) -> Option<&str> {
        self.step.as_deref()
    }

    /// What the database said, on one line.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// How often it was tried.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl fmt::Display for HomeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.home)?;
        if let Some(step) = &self.step {
            write!(f, ": {step}")?;
        }
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        write!(f, ": {}", self.reason)?;
        match self.attempts {
            1 => Ok(()),
            attempts => write!(f, " (tried {attempts} times)"),
        }
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct FleetReport {
    pub(super) homes: usize,
    pub(super) migrated: usize,
    pub(super) steps: usize,
    pub(super) failures: Vec<HomeFailure>,
    pub(super) not_tried: usize,
    pub(super) stopped: Option<Wave>,
}

impl FleetReport {
    /// Of a database that a run did not get to.
    pub(super) fn not_tried_of(plan: &super::FleetPlan) -> Self {
        let (homes, not_tried) = (plan.homes().count(), plan.pending().count());
        Self { homes, not_tried, ..Self::default() }
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.homes += other.homes;
        self.migrated += other.migrated;
        self.steps += other.steps;
        self.failures.extend(other.failures);
        self.not_tried += other.not_tried;
        self.stopped = self.stopped.or(other.stopped);
    }

    /// How many homes there are, the platform among them.
    pub fn homes(&self) -> usize {
        self.homes
    }

    /// How many homes were brought up to date.
    pub fn migrated(&self) -> usize {
        self.migrated
    }

    /// How many steps were run, over all homes.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The homes that failed; each is as it was.
    pub fn failures(&self) -> &[HomeFailure] {
        &self.failures
    }

    /// How many homes lack steps and were not tried, because the run was stopped.
    pub fn not_tried(&self) -> usize {
        self.not_tried
    }

    /// Where the run was stopped by failures, if it was.
    pub fn stopped(&self) -> Option<Wave> {
        self.stopped
    }

    /// Takes the first failure for the whole's.
    ///
    /// # Errors
    ///
    /// [`ControlError::Migration`] when a home failed.
    pub fn into_result(self) -> Result<Self, ControlError> {
        match self.failures.first() {
            None => Ok(self),
            Some(failure) => Err(ControlError::Migration {
                name: failure.step.clone().unwrap_or_else(|| "before the first step".to_owned()),
                home: failure.home.schema.clone(),
                source: failure.source.clone(),
            }),
        }
    }
}

/// A line of totals, and one for each failure.
impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { homes, migrated, steps, failures, not_tried, stopped } = self;
        write!(f, "{migrated} of {homes} homes brought up to date by {steps} steps")?;
        if !failures.is_empty() {
            write!(f, ", {} failed", failures.len())?;
        }
        if let Some(wave) = stopped {
            write!(f, ", stopped in {wave} with {not_tried} homes not tried")?;
        }
        failures.iter().try_for_each(|failure| write!(f, "\n{failure}"))
    }
}
