//! A follower that keeps no note: it begins with what commits from now on, and says after each look how far it has come.
//!
//! For what a process holds in memory and reads again when it starts. INVARIANT: a look gives a whole stretch, all that
//! was committed between two states, so that of one row's changes none is left for later.

use std::time::Duration;

use sqlx::{Connection as _, FromRow, PgConnection, postgres::PgRow};

use super::{Relay, Wake};
use crate::{CursorError, Position, Snapshot, SnapshotCursor, StreamTable};

/// Rows of one statement.
const PAGE: u32 = 10_000;
/// Rows of a stretch: all of it is held at once.
const MOST: usize = 1_000_000;

/// Follows a stream for this process alone, made by [`Relay::tail`]. Every method may be given up at any await.
#[derive(Debug)]
pub struct Tail {
    relay: Relay,
    table: StreamTable,
    wake: Wake,
    position: Position,
    conn: Option<PgConnection>,
}

/// All that was committed between two states.
#[derive(Debug, Clone)]
pub struct Stretch<R> {
    rows: Vec<R>,
    state: Snapshot,
}

impl<R> Stretch<R> {
    /// The rows: those of one transaction together, in the order of their ids; transactions that overlapped in any
    /// order.
    pub fn rows(&self) -> &[R] {
        &self.rows
    }

    /// The rows, given away.
    pub fn into_rows(self) -> Vec<R> {
        self.rows
    }

    /// All that is visible in it has been read.
    pub fn state(&self) -> &Snapshot {
        &self.state
    }
}

impl Relay {
    /// Follows a stream from now on, for this process alone.
    pub fn tail(&self, table: StreamTable) -> Tail {
        let wake = self.wake();
        Tail { relay: self.clone(), table, wake, position: Position::beginning(), conn: None }
    }
}

impl Tail {
    /// Goes on behind all that is committed now, whatever was not read: at the beginning, and after it could not go on.
    ///
    /// # Errors
    ///
    /// [`CursorError`].
    pub async fn begin(&mut self) -> Result<Snapshot, CursorError> {
        self.wake.ready().await?;
        let mut conn = self.connection().await?;
        let mut cursor = SnapshotCursor::new(self.table, Position::beginning());
        let position = cursor.skip_to_now(&mut conn).await?.clone();
        self.conn = Some(conn);
        self.position = position;
        Ok(self.position.seen().clone())
    }

    /// Which database it reads, of which cluster: `system.oid`, as
    /// `select system_identifier || '.' || (select oid from pg_database where datname = current_database()) from
    /// pg_control_system()` says it. None before [`begin`](Self::begin).
    pub fn origin(&self) -> Option<String> {
        self.position.history().map(|history| format!("{}.{}", history.system, history.database))
    }

    /// All that has been committed since the last look: one look, without waiting. What failed or was given up is read
    /// again by the next one.
    ///
    /// # Errors
    ///
    /// [`CursorError`]. After one that is not [`CursorError::Storage`] it goes on with [`begin`](Self::begin) only.
    pub async fn look<R>(&mut self) -> Result<Stretch<R>, CursorError>
    where
        R: for<'r> FromRow<'r, PgRow>,
    {
        self.wake.ready().await?;
        let mut conn = self.connection().await?;
        let mut cursor = SnapshotCursor::new(self.table, self.position.clone());
        let mut rows = Vec::new();
        loop {
            let page = cursor.page::<R, _>(&mut conn, PAGE).await?;
            let is_end = page.ends_stretch();
            rows.extend(page.into_rows());
            if is_end {
                break;
            }
            if rows.len() > MOST {
                return Err(CursorError::TooMany { most: MOST });
            }
        }
        self.conn = Some(conn);
        self.position = cursor.position().clone();
        Ok(Stretch { rows, state: self.position.seen().clone() })
    }

    /// Waits until there may be more: until a transaction notifies, where the relay listens, and no longer than its
    /// pause or this limit.
    pub async fn wait(&mut self, limit: Duration) {
        self.wake.wait(limit).await;
    }

    /// Taken out: given up in the middle of an answer, it is closed.
    async fn connection(&mut self) -> Result<PgConnection, sqlx::Error> {
        match self.conn.take() {
            Some(conn) => Ok(conn),
            None => PgConnection::connect_with(self.relay.options()).await,
        }
    }
}
