//! Is a server that is said to be a replica one, and of this database?
//!
//! A standby has its primary's system identifier and its databases' object numbers, and the server tells both to every
//! login (PostgreSQL manual, "Control Data Functions"). A copy that went its own way has both too; it is no standby any
//! more, and what follows it is on another timeline.

use sqlx::{Row, postgres::PgRow};

use super::ReplicaFault;

/// One database of one cluster, on one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    system: String,
    database: String,
    timeline: String,
}

/// Three columns, to be asked of either.
pub(super) const IDENTITY: &str = "(select system_identifier::text from pg_catalog.pg_control_system()), \
    (select oid::text from pg_catalog.pg_database where datname = pg_catalog.current_database()), \
    (select timeline_id::text from pg_catalog.pg_control_checkpoint())";

impl Identity {
    /// From three columns that begin at `first`.
    pub(super) fn read(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        Ok(Self {
            system: row.try_get(first)?,
            database: row.try_get(first + 1)?,
            timeline: row.try_get(first + 2)?,
        })
    }

    /// The timeline of a standby changes with its primary's, so it is compared when both have just been read.
    pub(super) fn is_same_database(&self, other: &Self) -> bool {
        (&self.system, &self.database) == (&other.system, &other.database)
    }

    /// Compares a replica's with its primary's.
    pub(super) fn check(&self, primary: &Self) -> Result<(), ReplicaFault> {
        if !self.is_same_database(primary) {
            return Err(ReplicaFault::OtherDatabase);
        }
        if self.timeline != primary.timeline {
            return Err(ReplicaFault::OtherHistory {
                here: self.timeline.clone(),
                primary: primary.timeline.clone(),
            });
        }
        Ok(())
    }
}
