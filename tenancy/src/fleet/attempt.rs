//! One home, once: what is sent, and what a failure means.

use std::sync::Arc;

use sqlx::{PgConnection, postgres::PgDatabaseError};

use super::{
    FleetOptions, FleetPlan, PlannedHome,
    home::{PLATFORM, Step},
    ledger::PREPARE,
    message::{Message, StepError},
};
use crate::own_role;

/// How a home's transaction ends.
#[derive(Debug)]
pub(super) enum Mode {
    Commit,
    /// Beneath a home stands what the platform lacks, since its steps may rest on it.
    RollBack {
        platform: Vec<Arc<Step>>,
        is_new: bool,
    },
}

impl Mode {
    pub(super) fn roll_back(plan: &FleetPlan) -> Self {
        let platform = plan.pending().find(|planned| planned.home.is_platform());
        Self::RollBack {
            platform: platform.map(|planned| planned.steps.clone()).unwrap_or_default(),
            is_new: plan.is_new,
        }
    }

    pub(super) fn commits(&self) -> bool {
        matches!(self, Self::Commit)
    }

    /// Whether two homes at a time would wait for each other.
    pub(super) fn is_serial(&self) -> bool {
        matches!(self, Self::RollBack { platform, is_new } if *is_new || !platform.is_empty())
    }
}

/// Runs all that the home lacks, in one transaction.
pub(super) async fn migrate(
    conn: &mut PgConnection,
    planned: &PlannedHome,
    mode: &Mode,
    options: &FleetOptions,
) -> Result<(), StepError> {
    let PlannedHome { home, steps } = planned;
    let mut message = Message::new();
    message.push("begin");
    message.lock_timeout(options.lock_timeout);
    match mode {
        Mode::Commit => {
            // The wave's end waits for the disk, once for all of its homes.
            message.push("set local synchronous_commit = off");
            message.claim(&home.schema, steps);
        }
        Mode::RollBack { platform, is_new } => {
            if *is_new {
                message.push(PREPARE);
            }
            if !home.is_platform() {
                message.steps(PLATFORM, platform);
            }
        }
    }
    message.steps(&home.schema, steps);
    if home.is_platform() {
        message.push(own_role::SHARE_PLATFORM);
    }
    if let (true, Some(tenant)) = (home.own_role, home.tenant()) {
        message.push(&own_role::take_over(tenant, &home.schema));
    }
    message.push(if mode.commits() { "commit" } else { "rollback" });
    message.send(conn).await
}

/// What is to be done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// It would fail again.
    None,
    /// Somebody was in the way: try later.
    Later,
    /// The connection is lost, and whether the commit was done unknown: look, later, on another one.
    Reconnect,
    /// Somebody else did the steps meanwhile: look at once.
    Look,
}

pub(super) fn remedy(error: &sqlx::Error) -> Remedy {
    let sqlx::Error::Database(database) = error else { return Remedy::Reconnect };
    let table = database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::table);
    match database.code().as_deref() {
        // Lock not available; serialization failure; deadlock.
        Some("55P03" | "40001" | "40P01") => Remedy::Later,
        Some("23505") if table == Some("migration_ledger") => Remedy::Look,
        // The server goes down, comes up, or has no room.
        Some("57P01" | "57P02" | "57P03" | "53300") => Remedy::Reconnect,
        _ => Remedy::None,
    }
}

/// On one line, with the code by which the manual knows it.
pub(super) fn reason(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(database) => {
            format!("{} ({})", database.message(), database.code().unwrap_or_default())
        }
        error => error.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
