//! The cursor: two snapshots, and the rows between them, page by page.
//!
//! INVARIANT: the position that a page leaves says of every row whether it has been read. A page whose answer is
//! lost, or that is cancelled, leaves the position as it was.

use sqlx::{AssertSqlSafe, Executor, FromRow, Postgres, Row, postgres::PgRow};

use super::{History, Position, StreamTable};
use crate::{Snapshot, StorageError};

/// Reads a stream from a position on, in pages.
///
/// All rows of a transaction come together, in the order of their ids. Of two transactions, the one that committed
/// before the other began comes first; those that overlapped may come in either order.
///
/// It reads over any executor: a relay's connection sees the rows of all tenants, a
/// [`TenantTx`](crate::TenantTx) those of its own.
///
/// ```no_run
/// # async fn example(mut tx: formwork_tenancy::TenantTx, kept: String) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::{PublishedEvent, SnapshotCursor, StreamTable};
///
/// let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, kept.parse()?);
/// loop {
///     let page = cursor.page::<PublishedEvent, _>(&mut *tx, 500).await?;
///     for event in page.rows() {
///         println!("{} {}", event.tenant(), event.kind());
///     }
///     println!("keep {}", page.position());
///     if page.is_caught_up() {
///         break;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct SnapshotCursor {
    table: StreamTable,
    position: Position,
    query: String,
}

/// Rows that are new, and the position behind them.
#[derive(Debug, Clone)]
pub struct Page<R> {
    rows: Vec<R>,
    position: Position,
    is_caught_up: bool,
}

/// A stream could not be followed from where the follower stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// A standby's snapshot leaves out the transactions that are running: their rows would be missed for ever.
    #[error(
        "this is a standby, whose snapshots leave out running transactions: follow streams on the primary"
    )]
    Standby,
    /// The position is of another history than the database is: restored, promoted, or not this database at all.
    #[error("the database is not the one of the position, {why}: begin again from the beginning")]
    Restored {
        /// How it was noticed.
        why: &'static str,
    },
    /// Rows behind the position were removed before they were read.
    #[error("rows of `{stream}` were pruned before they were read: begin again from the beginning")]
    Pruned {
        /// The stream's name.
        stream: &'static str,
    },
    /// More has come since the last look than can be held at once.
    #[error("more than {most} rows since the last look: begin again from now")]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for CursorError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl<R> Page<R> {
    /// The rows.
    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    /// The rows, given away.
    pub fn into_rows(self) -> Vec<R> {
        self.rows
    }

    /// Behind the last of them: where whoever has handled them goes on.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Is this the end of a stretch: has everything been read that was committed when its first page was? Between two
    /// ends stand all changes of one row that overlapping transactions have made, in whatever order.
    pub fn ends_stretch(&self) -> bool {
        self.position.until().is_none()
    }

    /// Has everything been read that was committed when this page was read? Not so at the end of a stretch that took
    /// several pages: meanwhile more may have come.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }
}

impl SnapshotCursor {
    /// Goes on at `position`.
    pub fn new(table: StreamTable, position: Position) -> Self {
        Self { table, position, query: table.page_query() }
    }

    /// Where the next page begins.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Reads at most `limit` rows (at least one) in one statement, and moves on behind them.
    ///
    /// # Errors
    ///
    /// [`CursorError`]; the cursor stays where it was.
    pub async fn page<'c, R, E>(&mut self, executor: E, limit: u32) -> Result<Page<R>, CursorError>
    where
        R: for<'r> FromRow<'r, PgRow>,
        E: Executor<'c, Database = Postgres>,
    {
        let limit = limit.max(1) as usize;
        let rows = self.ask(executor, limit).await?;
        let (head, mut rows) = Head::apart(rows)?;
        let now = self.checked(&head)?;
        let until = self.position.until().unwrap_or(&now).clone();
        let is_whole = rows.len() <= limit;
        let is_caught_up = is_whole && self.position.until().is_none();
        rows.truncate(limit);
        let position = match rows.last().filter(|_| !is_whole) {
            None => Position::new(head.history, until),
            Some(row) => {
                let seen = self.position.seen().clone();
                Position::inside(head.history, seen, until, xid(row)?, row.try_get("stream_key")?)
            }
        };
        let rows = rows.iter().map(R::from_row).collect::<Result<_, _>>()?;
        self.position = position.clone();
        Ok(Page { rows, position, is_caught_up })
    }

    /// Moves on behind all that is committed now, without reading it.
    ///
    /// # Errors
    ///
    /// As [`page`](Self::page).
    pub async fn skip_to_now<'c, E>(&mut self, executor: E) -> Result<&Position, CursorError>
    where
        E: Executor<'c, Database = Postgres>,
    {
        let (head, _) = Head::apart(self.ask(executor, 0).await?)?;
        let now = self.checked(&head)?;
        self.position = Position::new(head.history, now);
        Ok(&self.position)
    }

    /// One row more than `limit`, to know whether there are more; none for zero.
    async fn ask<'c, E>(&self, executor: E, limit: usize) -> Result<Vec<PgRow>, sqlx::Error>
    where
        E: Executor<'c, Database = Postgres>,
    {
        let (seen, until) = (self.position.seen(), self.position.until());
        let (after_xid, after_key) = self.position.after(&self.table);
        let (later_xid, later_key) = self.position.after_later(&self.table);
        let running: Vec<String> =
            seen.running().iter().filter(|&&xid| xid >= after_xid).map(u64::to_string).collect();
        let rows = match limit {
            0 => 0,
            limit => i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1),
        };
        sqlx::query(AssertSqlSafe(self.query.clone()))
            .bind(running)
            .bind(after_xid.to_string())
            .bind(after_key.to_owned())
            .bind(later_xid.to_string())
            .bind(later_key.to_owned())
            .bind(until.map(|until| until.as_str().to_owned()))
            .bind(until.map_or(u64::MAX, Snapshot::xmax).to_string())
            .bind(rows)
            .bind(self.table.name())
            .fetch_all(executor)
            .await
    }

    /// Is what the database says now a continuation of where the cursor stands?
    fn checked(&self, head: &Head) -> Result<Snapshot, CursorError> {
        let restored = |why| Err(CursorError::Restored { why });
        match self.position.history() {
            Some(known) if known.system != head.history.system => {
                return restored("which is of another cluster");
            }
            Some(known) if known.database != head.history.database => {
                return restored("which is of another database");
            }
            Some(known) if known.timeline != head.history.timeline => {
                return restored("which was restored or failed over since");
            }
            _ => {}
        }
        let read_up_to = self.position.until().unwrap_or(self.position.seen());
        if !head.snapshot.includes(read_up_to) {
            return restored("which is of an earlier state");
        }
        match (head.floor, self.position.oldest_unread()) {
            (Some(floor), Some(unread)) if unread < floor => {
                Err(CursorError::Pruned { stream: self.table.name() })
            }
            _ => Ok(head.snapshot.clone()),
        }
    }
}

/// The state of the database when a page was read.
struct Head {
    snapshot: Snapshot,
    history: History,
    /// Rows of transactions below it may have been pruned.
    floor: Option<u64>,
}

impl Head {
    /// Takes it out of a page's answer.
    fn apart(mut rows: Vec<PgRow>) -> Result<(Self, Vec<PgRow>), CursorError> {
        let mut at = None;
        for (index, row) in rows.iter().enumerate() {
            if row.try_get::<Option<&str>, _>("stream_xid")?.is_none() {
                at = Some(index);
                break;
            }
        }
        let row = rows.remove(at.ok_or(sqlx::Error::RowNotFound)?);
        Ok((Self::read(&row)?, rows))
    }

    fn read(row: &PgRow) -> Result<Self, CursorError> {
        if row.try_get("standby")? {
            return Err(CursorError::Standby);
        }
        let own = number(row, "own_xid")?;
        let snapshot = Snapshot::corrected(row.try_get("snapshot")?, own).map_err(unreadable)?;
        let timeline = u32::from_str_radix(row.try_get("timeline")?, 16).map_err(unreadable)?;
        let history =
            History { system: row.try_get("system")?, database: row.try_get("database")?, timeline };
        Ok(Self { snapshot, history, floor: number(row, "floor")? })
    }
}

fn xid(row: &PgRow) -> Result<u64, sqlx::Error> {
    number(row, "stream_xid")?.ok_or(sqlx::Error::RowNotFound)
}

fn number(row: &PgRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    row.try_get::<Option<&str>, _>(column)?.map(str::parse).transpose().map_err(unreadable)
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
