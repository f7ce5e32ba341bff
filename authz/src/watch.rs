//! Watching: what changes in one tenant's relationships and by which schema they are read, as a stream that can be gone
//! on with.
//!
//! INVARIANT: a checkpoint says of every change whether it has been given out. Whoever keeps it in the transaction of
//! what they do with the changes handles each exactly once; kept afterwards, at least once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use formwork_tenancy::{CursorError, Position, Session, SnapshotCursor, StorageError, Tenants};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::authz::Authz;
use crate::filter::Filter;
use crate::log::{self, Op};
use crate::read;
use crate::relationship::Change;
use crate::schema::SchemaId;

/// Rows of one statement.
const PAGE: u32 = 10_000;
/// Changes that are given out together at most.
const MOST: usize = 1_000_000;
/// Between two looks that find nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// A watch over one tenant's relationships, made by [`Authz::watch`]. Every method may be given up at any await.
#[derive(Debug)]
pub struct Watch {
    tenants: Tenants,
    session: Session,
    filter: Filter,
    position: Option<Position>,
    pause: Duration,
}

/// Changes that were committed between two checkpoints.
#[derive(Debug, Clone)]
pub struct Changes {
    changes: Vec<Watched>,
    schemas: Vec<WatchedSchema>,
    checkpoint: Position,
}

/// One change, and what its request said of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// Unique in the tenant's database; of one relationship ascending.
    pub id: i64,
    /// What changed.
    pub change: Change,
    /// As it was given to [`Write::metadata`](crate::Write::metadata).
    pub metadata: Option<Value>,
    /// When its transaction began.
    pub at: DateTime<Utc>,
}

/// A schema was adopted for the tenant ([`Authz::adopt_schema`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedSchema {
    /// Counted with the changes' own: of those that do not overlap, what has a higher one came later.
    pub id: i64,
    /// Which one.
    pub schema: SchemaId,
    /// When its transaction began.
    pub at: DateTime<Utc>,
}

/// A row of the log.
enum Logged {
    Change(Watched),
    Schema(WatchedSchema),
}

/// A watch cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Changes behind the checkpoint are no longer kept, or the database is another one: read everything again, and
    /// watch from before that.
    #[error(
        "changes since the checkpoint are lost: read all relationships, and watch from a checkpoint taken before"
    )]
    Lost(#[source] CursorError),
    /// More than can be put in order at once has changed since the checkpoint.
    #[error(
        "more than {most} changes since the checkpoint: read all relationships, and watch from a checkpoint taken before"
    )]
    TooMany {
        /// The bound.
        most: usize,
    },
    /// The database failed, or cannot be reached: try again from the same checkpoint.
    #[error("the changes could not be read")]
    Storage(#[from] StorageError),
}

impl From<CursorError> for WatchError {
    fn from(error: CursorError) -> Self {
        match error {
            CursorError::Storage(error) => Self::Storage(error),
            lost => Self::Lost(lost),
        }
    }
}

impl Changes {
    /// The changes, those of one relationship in the order in which they were made; there may be none when the
    /// filter kept them back, or only a schema was adopted.
    pub fn changes(&self) -> &[Watched] {
        &self.changes
    }

    /// The schemas that were adopted meanwhile, whatever the filter.
    pub fn schemas(&self) -> &[WatchedSchema] {
        &self.schemas
    }

    /// Behind them: keep it as text, and give it to [`Watch::from`].
    pub fn checkpoint(&self) -> &Position {
        &self.checkpoint
    }
}

impl Authz {
    /// Watches the relationships of the session's tenant, from now on.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     authz: formwork_authz::Authz,
    /// #     tenants: formwork_tenancy::Tenants,
    /// #     session: formwork_tenancy::Session,
    /// #     kept: Option<String>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = authz.watch(&tenants, &session);
    /// if let Some(kept) = kept {
    ///     watch = watch.from(kept.parse()?);
    /// }
    /// loop {
    ///     let batch = watch.next().await?;
    ///     for watched in batch.changes() {
    ///         println!("{:?}", watched.change);
    ///     }
    ///     println!("keep {}", batch.checkpoint());
    /// }
    /// # }
    /// ```
    pub fn watch(&self, tenants: &Tenants, session: &Session) -> Watch {
        Watch {
            tenants: tenants.clone(),
            session: session.clone(),
            filter: Filter::everything(),
            position: None,
            pause: PAUSE,
        }
    }
}

impl Watch {
    /// Goes on behind a checkpoint.
    #[must_use]
    pub fn from(mut self, checkpoint: Position) -> Self {
        self.position = Some(checkpoint);
        self
    }

    /// Only changes of relationships that the filter lets through.
    #[must_use]
    pub fn only(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// How long it waits after a look that found nothing; a second by default.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The next changes; waits until there are some.
    ///
    /// # Errors
    ///
    /// [`WatchError`]; after [`WatchError::Storage`] it can be called again.
    pub async fn next(&mut self) -> Result<Changes, WatchError> {
        loop {
            let found = self.look().await?;
            if !(found.changes.is_empty() && found.schemas.is_empty()) {
                return Ok(found);
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// All changes since the last look, or since the checkpoint: one look, without waiting. The first one of a watch
    /// without a checkpoint finds none, and says where it begins.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn look(&mut self) -> Result<Changes, WatchError> {
        let mut tx = self.tenants.begin(&self.session).await?;
        let beginning = self.position.clone().unwrap_or_else(Position::beginning);
        let mut cursor = SnapshotCursor::new(log::WATCHED, beginning);
        let mut logged: Vec<Logged> = Vec::new();
        if self.position.is_none() {
            cursor.skip_to_now(&mut *tx).await?;
        } else {
            loop {
                let page = cursor.page::<Logged, _>(&mut *tx, PAGE).await?;
                let is_last = page.ends_stretch();
                logged.extend(page.into_rows());
                if is_last {
                    break;
                }
                if logged.len() > MOST {
                    return Err(WatchError::TooMany { most: MOST });
                }
            }
        }
        tx.rollback().await?;
        let (mut changes, mut schemas) = (Vec::new(), Vec::new());
        for row in logged {
            match row {
                Logged::Change(watched) => changes.push(watched),
                Logged::Schema(schema) => schemas.push(schema),
            }
        }
        // Transactions that overlapped come in any order, and may have changed one relationship one after the other.
        changes.sort_by_key(|watched: &Watched| watched.id);
        schemas.sort_by_key(|schema| schema.id);
        changes.retain(|watched: &Watched| self.filter.lets_through(watched.change.relationship()));
        let checkpoint = cursor.position().clone();
        self.position = Some(checkpoint.clone());
        Ok(Changes { changes, schemas, checkpoint })
    }
}

impl<'r> sqlx::FromRow<'r, PgRow> for Logged {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let (id, at) = (row.try_get("id")?, row.try_get("at")?);
        let op = Op::of(row.try_get("op")?);
        if op == Op::Schema {
            let digest: SchemaId = row
                .try_get::<&str, _>("object_id")?
                .parse()
                .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            return Ok(Self::Schema(WatchedSchema { id, schema: digest, at }));
        }
        let relationship = read::with_context(row, row.try_get("context")?)?;
        let change = match op {
            Op::Touch => Change::Touch(relationship),
            _ => Change::Delete(relationship.without_terms()),
        };
        Ok(Self::Change(Watched { id, change, metadata: row.try_get("metadata")?, at }))
    }
}
