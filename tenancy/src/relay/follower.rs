//! One consumer of one stream: takes what is new, and notes how far it has come.
//!
//! INVARIANT: what is noted was handled, and was read on the connection's own history, so that a restored database
//! that has the note has everything that the note counts as read.

use std::{marker::PhantomData, time::Duration};

use sqlx::{Connection, FromRow, PgConnection, postgres::PgRow};

use super::{Relay, Wake};
use crate::{
    CursorError, InvalidPosition, Page, Position, SnapshotCursor, StorageError, StreamTable, stream::History,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Follows a stream for one consumer, made by [`Relay::follow`].
///
/// Every committed row comes at least once: again after a crash, a lost connection or a restored database, when it
/// had been taken and not confirmed. Of several followers with one name, in whatever process, one takes rows and the
/// others wait for its end. Every method may be given up at any await.
#[derive(Debug)]
pub struct Follower<R> {
    relay: Relay,
    table: StreamTable,
    consumer: String,
    page: u32,
    begins_now: bool,
    wake: Wake,
    backoff: Duration,
    link: Option<Link>,
    /// The note as it was last read or written here, on whatever connection.
    noted: Option<String>,
    rows: PhantomData<fn() -> R>,
}

/// A connection that holds the consumer's lock.
#[derive(Debug)]
struct Link {
    conn: PgConnection,
    cursor: SnapshotCursor,
    /// The note, as it stands in the database.
    noted: String,
}

/// Rows to be handled.
#[derive(Debug, Clone)]
pub struct Batch<R> {
    page: Page<R>,
}

impl<R> Batch<R> {
    /// The rows; there is at least one.
    pub fn rows(&self) -> &[R] {
        self.page.rows()
    }

    /// The rows, given away.
    pub fn into_rows(self) -> Vec<R> {
        self.page.into_rows()
    }

    /// Behind the last of them.
    pub fn position(&self) -> &Position {
        self.page.position()
    }
}

/// A consumer cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The stream cannot be read from where the consumer stands: see [`Relay::restart`].
    #[error(transparent)]
    Cursor(CursorError),
    /// Another follower of the same name went on meanwhile, or the database was failed over: what was not confirmed
    /// comes again, to whoever follows.
    #[error("consumer `{consumer}` has been moved by another follower: its unconfirmed rows come again")]
    Overtaken {
        /// The consumer's name.
        consumer: String,
    },
    /// What is kept as the consumer's position is none.
    #[error("the kept position of consumer `{consumer}` cannot be read")]
    Position {
        /// The consumer's name.
        consumer: String,
        /// What is wrong with it.
        source: InvalidPosition,
    },
    /// The database failed, and not by being out of reach.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for FollowError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl From<CursorError> for FollowError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Storage(error) => Self::Storage(error),
            error => Self::Cursor(error),
        }
    }
}

impl FollowError {
    /// Out of reach, or a primary that has become a standby: the address may lead elsewhere in a moment.
    fn passes(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_unavailable(),
            Self::Cursor(error) => matches!(error, CursorError::Standby),
            _ => false,
        }
    }
}

impl<R> Follower<R>
where
    R: for<'r> FromRow<'r, PgRow>,
{
    pub(super) fn new(relay: Relay, table: StreamTable, consumer: String) -> Self {
        let wake = relay.wake();
        Self {
            relay,
            table,
            consumer,
            page: 500,
            begins_now: false,
            wake,
            backoff: FIRST_PAUSE,
            link: None,
            noted: None,
            rows: PhantomData,
        }
    }

    /// Takes at most so many rows at once; 500 by default.
    #[must_use]
    pub fn page(mut self, rows: u32) -> Self {
        self.page = rows.max(1);
        self
    }

    /// A consumer that is not known yet begins with what commits from its first look on, not with what is kept.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.begins_now = true;
        self
    }

    /// The next rows. Waits until there are some, until this follower's turn has come, and, with growing pauses of at
    /// most ten seconds, until the database can be reached.
    ///
    /// Rows that were taken and not confirmed are not given out again while the connection lives.
    ///
    /// # Errors
    ///
    /// [`FollowError`].
    pub async fn next(&mut self) -> Result<Batch<R>, FollowError> {
        loop {
            match self.try_next().await {
                Ok(Some(batch)) => return Ok(batch),
                Ok(None) => self.wake.wait(Duration::MAX).await,
                Err(error) => self.pause_or(error).await?,
            }
        }
    }

    /// The next rows, if there are some now and it is this follower's turn: one look, without waiting.
    ///
    /// # Errors
    ///
    /// [`FollowError`], also when the database cannot be reached.
    pub async fn try_next(&mut self) -> Result<Option<Batch<R>>, FollowError> {
        self.wake.ready().await?;
        // Taken out: given up in the middle, the connection is closed and the rows come again.
        let Some(mut link) = self.take_link().await? else { return Ok(None) };
        let page = link.cursor.page(&mut link.conn, self.page).await?;
        self.link = Some(link);
        self.backoff = FIRST_PAUSE;
        Ok(Some(Batch { page }).filter(|batch| !batch.rows().is_empty()))
    }

    /// Notes that this batch, and whatever was taken before it, has been handled. Waits as [`next`](Self::next) does
    /// while the database cannot be reached.
    ///
    /// # Errors
    ///
    /// [`FollowError::Overtaken`] when the rows will come again.
    pub async fn confirm(&mut self, batch: &Batch<R>) -> Result<(), FollowError> {
        loop {
            match self.note(batch.position()).await {
                Ok(()) => return Ok(()),
                Err(error) => self.pause_or(error).await?,
            }
        }
    }

    async fn note(&mut self, position: &Position) -> Result<(), FollowError> {
        let (is_lost, known) = (self.link.is_none(), self.noted.clone());
        let Some(mut link) = self.take_link().await? else { return Err(self.overtaken()) };
        let text = position.to_string();
        // Noted already, when the answer was lost.
        if link.noted != text {
            if known.as_ref() != Some(&link.noted) {
                self.link = Some(link);
                return Err(self.overtaken());
            }
            let timeline = position.history().map_or(0, |history| history.timeline);
            let noted = sqlx::query(
                "update platform.stream_positions set position = $3, updated_at = now()
                  where consumer = $1 and stream = $2 and position = $4
                    and substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) = $5",
            )
            .bind(&self.consumer)
            .bind(self.table.name())
            .bind(&text)
            .bind(&link.noted)
            .bind(format!("{timeline:08X}"))
            .execute(&mut link.conn)
            .await?;
            if noted.rows_affected() == 0 {
                return Err(self.overtaken());
            }
            if is_lost {
                link.cursor = SnapshotCursor::new(self.table, position.clone());
            }
            link.noted = text;
            self.noted = Some(link.noted.clone());
        }
        self.link = Some(link);
        self.backoff = FIRST_PAUSE;
        Ok(())
    }

    fn overtaken(&self) -> FollowError {
        FollowError::Overtaken { consumer: self.consumer.clone() }
    }

    async fn pause_or(&mut self, error: FollowError) -> Result<(), FollowError> {
        if !error.passes() {
            return Err(error);
        }
        tracing::warn!(consumer = self.consumer, stream = self.table.name(), %error, "waiting for the database");
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The connection, made when there is none; none while another follower of this name has its turn.
    async fn take_link(&mut self) -> Result<Option<Link>, FollowError> {
        if let Some(link) = self.link.take() {
            return Ok(Some(link));
        }
        let mut conn = PgConnection::connect_with(self.relay.options()).await?;
        let (standby, mine): (bool, bool) =
            sqlx::query_as("select pg_is_in_recovery(), pg_try_advisory_lock(hashtextextended($1, 0))")
                .bind(format!("formwork follow {} {}", self.table.name(), self.consumer))
                .fetch_one(&mut conn)
                .await?;
        if standby {
            return Err(FollowError::Cursor(CursorError::Standby));
        }
        if !mine {
            // The server lets go of what it holds whether or not this is heard.
            let _ = conn.close().await;
            return Ok(None);
        }
        let (noted, now) = match self.noted(&mut conn).await? {
            Some(noted) => noted,
            None => self.register(&mut conn).await?,
        };
        let position: Position = noted
            .parse()
            .map_err(|source| FollowError::Position { consumer: self.consumer.clone(), source })?;
        let cursor = SnapshotCursor::new(self.table, position.kept_beside_the_rows(now));
        self.noted = Some(noted.clone());
        Ok(Some(Link { conn, cursor, noted }))
    }

    /// The note, and the history that it was read on.
    async fn noted(&self, conn: &mut PgConnection) -> Result<Option<(String, History)>, FollowError> {
        let found: Option<(String, i64, i64, String)> = sqlx::query_as(
            "select p.position, c.system_identifier, d.oid::int8,
                    substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
               from platform.stream_positions p, pg_control_system() c, pg_database d
              where p.consumer = $1 and p.stream = $2 and d.datname = current_database()",
        )
        .bind(&self.consumer)
        .bind(self.table.name())
        .fetch_optional(conn)
        .await?;
        let Some((noted, system, database, timeline)) = found else { return Ok(None) };
        let timeline =
            u32::from_str_radix(&timeline, 16).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Some((noted, History { system, database, timeline })))
    }

    /// Notes where a new consumer begins, before it takes anything.
    async fn register(&self, conn: &mut PgConnection) -> Result<(String, History), FollowError> {
        let mut cursor = SnapshotCursor::new(self.table, Position::beginning());
        if self.begins_now {
            cursor.skip_to_now(&mut *conn).await?;
        }
        sqlx::query(
            "insert into platform.stream_positions (consumer, stream, position) values ($1, $2, $3)
             on conflict do nothing",
        )
        .bind(&self.consumer)
        .bind(self.table.name())
        .bind(cursor.position().to_string())
        .execute(&mut *conn)
        .await?;
        self.noted(conn).await?.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }
}
