//! Removing from the streams what every consumer has read.
//!
//! The stream's floor is raised in the transaction that removes: a follower that stands below it is told, and never skips
//! rows without knowing.

use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;

use super::ControlPlane;
use crate::{InvalidPosition, Position, StorageError, StreamTable};

/// Tenants whose rows are removed in one transaction.
const TENANTS_AT_ONCE: i32 = 500;

/// What may go from a stream.
///
/// ```
/// use std::time::Duration;
/// use formwork_tenancy::{Prune, StreamTable};
///
/// let day = Duration::from_secs(24 * 60 * 60);
/// // A week for whoever wants to look; nobody holds rows back for longer than a month.
/// let prune = Prune::new(StreamTable::OUTBOX, 7 * day).unread_after(30 * day);
/// # let _ = prune;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Prune {
    table: StreamTable,
    keep: Duration,
    unread_after: Option<Duration>,
}

impl Prune {
    /// Rows older than `keep` that every consumer known to the database has read. A stream without consumers keeps
    /// everything. The table has a column `at`.
    pub fn new(table: StreamTable, keep: Duration) -> Self {
        Self { table, keep, unread_after: None }
    }

    /// Rows older than this as well, read or not: a consumer that comes back later is told that it has lost some.
    #[must_use]
    pub fn unread_after(mut self, age: Duration) -> Self {
        self.unread_after = Some(age);
        self
    }
}

/// What has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    rows: u64,
}

impl Pruned {
    /// Rows removed, of all tenants.
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// A stream could not be pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// How far a consumer has come cannot be read, so nothing was removed.
    #[error("the kept position of consumer `{consumer}` cannot be read")]
    Position {
        /// The consumer's name.
        consumer: String,
        /// What is wrong with it.
        source: InvalidPosition,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for PruneError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl ControlPlane {
    /// Removes old rows from a stream of every database, some hundred tenants in a transaction. May be interrupted and
    /// run again.
    ///
    /// # Errors
    ///
    /// [`PruneError`].
    pub async fn prune_stream(&self, prune: &Prune) -> Result<Pruned, PruneError> {
        let mut rows = 0;
        for (_, pool) in self.databases() {
            rows += prune_in(pool, prune).await?;
        }
        Ok(Pruned { rows })
    }
}

async fn prune_in(pool: &PgPool, prune: &Prune) -> Result<u64, PruneError> {
    let mut rows = 0;
    if let Some(read) = read_by_all(pool, prune.table).await? {
        rows += remove(pool, prune.table, &read.to_string(), prune.keep).await?;
    }
    if let Some(age) = prune.unread_after {
        // Whatever still runs has rows that nobody could have read: they are not lost.
        let ended = "select pg_snapshot_xmin(pg_current_snapshot())::text";
        let below: String = sqlx::query_scalar(ended).fetch_one(pool).await?;
        rows += remove(pool, prune.table, &below, age).await?;
    }
    Ok(rows)
}

/// The transaction below which every consumer has read everything.
pub(crate) async fn read_by_all(pool: &PgPool, table: StreamTable) -> Result<Option<u64>, PruneError> {
    let kept: Vec<(String, String)> =
        sqlx::query_as("select consumer, position from platform.stream_positions where stream = $1")
            .bind(table.name())
            .fetch_all(pool)
            .await?;
    let mut read = None;
    for (consumer, text) in kept {
        let position: Position = text.parse().map_err(|source| PruneError::Position { consumer, source })?;
        // One that is still at the beginning has read nothing.
        let unread = position.oldest_unread().unwrap_or(0);
        read = Some(read.map_or(unread, |read: u64| read.min(unread)));
    }
    Ok(read)
}

async fn remove(pool: &PgPool, table: StreamTable, below: &str, age: Duration) -> Result<u64, PruneError> {
    let (mut rows, mut after) = (0, None::<Uuid>);
    loop {
        let (last, removed): (Option<Uuid>, i64) = sqlx::query_as(
            "select last_tenant, pruned from platform.prune_stream(
                   $1::text::regclass, $1, $2::text::xid8, make_interval(secs => $3), $4, $5)",
        )
        .bind(table.name())
        .bind(below)
        .bind(age.as_secs_f64())
        .bind(after)
        .bind(TENANTS_AT_ONCE)
        .fetch_one(pool)
        .await?;
        rows += u64::try_from(removed).unwrap_or(0);
        match last {
            Some(_) => after = last,
            None => return Ok(rows),
        }
    }
}
