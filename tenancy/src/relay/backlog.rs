//! How much a consumer has still to read, for a monitor.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::Relay;
use crate::{Position, StorageError, StreamTable};

/// Rows that are counted; of more it is known that there are more.
const MOST: i64 = 100_000;

/// What a consumer has not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    rows: u64,
    oldest: Option<Duration>,
}

impl Backlog {
    /// Rows; at most 100,000 are counted.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How long the oldest of them has been waiting, by the database's clock; none when there is none.
    pub fn oldest(&self) -> Option<Duration> {
        self.oldest
    }
}

impl Relay {
    /// What is visible now of a stream and was not confirmed by this consumer; none when nobody has followed by this name.
    /// The table has a column `at`.
    ///
    /// # Errors
    ///
    /// When the database fails, or what is kept as the consumer's position is none.
    pub async fn backlog(&self, table: StreamTable, consumer: &str) -> Result<Option<Backlog>, StorageError> {
        let kept: Option<String> = sqlx::query_scalar(
            "select position from platform.stream_positions where consumer = $1 and stream = $2",
        )
        .bind(consumer)
        .bind(table.name())
        .fetch_optional(self.pool())
        .await?;
        let Some(kept) = kept else { return Ok(None) };
        let position: Position = kept.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let (after_xid, after_key) = position.after(&table);
        let sql = table.backlog_query();
        let (rows, oldest): (i64, Option<f64>) = sqlx::query_as(AssertSqlSafe(sql))
            .bind(position.seen().as_str())
            .bind(position.oldest_unread().unwrap_or(0).to_string())
            .bind(position.until().map(|until| until.as_str().to_owned()))
            .bind(after_xid.to_string())
            .bind(after_key)
            .bind(MOST)
            .fetch_one(self.pool())
            .await?;
        let oldest = oldest.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        Ok(Some(Backlog { rows: u64::try_from(rows).unwrap_or(0), oldest }))
    }
}
