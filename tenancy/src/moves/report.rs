//! What a move tells.

use std::{fmt, time::Duration};

use super::MoveStep;

/// Something that a move has come to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum MoveEvent<'a> {
    /// A step is done; the next begins.
    Reached {
        /// The step.
        step: MoveStep,
    },
    /// A table has been copied.
    Copied {
        /// Its name.
        table: &'a str,
        /// Rows of the tenant.
        rows: u64,
        /// Tables so far.
        done: usize,
        /// Tables in all.
        total: usize,
    },
    /// A table was found to be the same on both sides.
    Verified {
        /// Its name.
        table: &'a str,
        /// Rows of the tenant.
        rows: i64,
        /// Tables so far.
        done: usize,
        /// Tables in all.
        total: usize,
    },
}

/// A table that was moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MovedTable {
    pub(super) table: String,
    pub(super) rows: i64,
    pub(super) checksum: String,
}

impl MovedTable {
    /// Its name, quoted as SQL needs it.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Rows of the tenant.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Sum over the rows of the first 64 bits of SHA-256 of their text; the same in both homes.
    pub fn checksum(&self) -> &str {
        &self.checksum
    }
}

/// What a move did.
#[derive(Debug, Clone)]
pub struct MoveReport {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) tables: Vec<MovedTable>,
    pub(super) frozen: Duration,
}

impl MoveReport {
    /// The old home, as `database/schema`.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// The new home, as `database/schema`.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// The tables, in the order in which they were copied.
    pub fn tables(&self) -> &[MovedTable] {
        &self.tables
    }

    /// Rows in all.
    pub fn rows(&self) -> i64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// How long nothing could be written, by the database's clock.
    pub fn frozen(&self) -> Duration {
        self.frozen
    }
}

impl fmt::Display for MoveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, tables, frozen) = (self.rows(), self.tables.len(), self.frozen.as_millis());
        write!(
            f,
            "moved from {} to {}: {rows} rows of {tables} tables, not written for {frozen} ms",
            self.from, self.to
        )
    }
}
