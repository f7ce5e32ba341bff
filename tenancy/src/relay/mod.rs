//! The relay: the login that follows the streams of all tenants and may do nothing else.
//!
//! It has a policy of its own on the streams, so that nothing needs a role that bypasses row security. Use it in a
//! worker, never in a server that answers requests.

mod backlog;
mod follower;
mod login;
mod tail;
mod wake;

use std::{str::FromStr, time::Duration};

use sqlx::{
    FromRow,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow},
};

pub use backlog::Backlog;
pub use follower::{Batch, FollowError, Follower};
pub use tail::{Stretch, Tail};
pub(crate) use wake::Wake;

use crate::{ConnectError, Position, PublishedEvent, StorageError, StreamTable, stream::CHANNEL};

/// Follows the streams of one database. Cheap to clone.
///
/// ```no_run
/// # async fn deliver(event: &formwork_tenancy::PublishedEvent) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::Relay;
///
/// let relay = Relay::connect("postgres://formwork_relay@localhost/app").await?;
/// let mut webhooks = relay.follow_outbox("webhooks");
/// loop {
///     let batch = webhooks.next().await?; // waits; reconnects by itself
///     for event in batch.rows() {
///         deliver(event).await?; // an event that comes again has the same id
///     }
///     webhooks.confirm(&batch).await?;
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Relay {
    pool: PgPool,
    options: PgConnectOptions,
    pause: Duration,
    listens: bool,
}

/// How a [`Relay`] connects and waits.
#[derive(Debug, Clone)]
pub struct RelayBuilder {
    pause: Duration,
    listens: bool,
}

impl Relay {
    /// Starts from: a look every second, no LISTEN.
    pub fn builder() -> RelayBuilder {
        RelayBuilder { pause: Duration::from_secs(1), listens: false }
    }

    /// Connects by URL, to the database itself: through a pooler in transaction mode two followers could not be kept
    /// apart.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NotARelay`] for a login that may do more than follow, or less.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder().connect(url).await
    }

    /// Follows the outbox as `consumer`, from where the last follower of this name stopped; a new name begins with
    /// what is kept. Nothing is sent before the first look.
    pub fn follow_outbox(&self, consumer: impl Into<String>) -> Follower<PublishedEvent> {
        self.follow(StreamTable::OUTBOX, consumer)
    }

    /// The same for any stream that the relay may read.
    pub fn follow<R>(&self, table: StreamTable, consumer: impl Into<String>) -> Follower<R>
    where
        R: for<'r> FromRow<'r, PgRow>,
    {
        Follower::new(self.clone(), table, consumer.into())
    }

    /// Sends a consumer back to the beginning of what is kept: after [`CursorError`](crate::CursorError) said that it
    /// cannot go on.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn restart(&self, table: StreamTable, consumer: &str) -> Result<(), StorageError> {
        sqlx::query(
            "insert into platform.stream_positions (consumer, stream, position) values ($1, $2, $3)
             on conflict (consumer, stream) do update set position = excluded.position, updated_at = now()",
        )
        .bind(consumer)
        .bind(table.name())
        .bind(Position::beginning().to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a consumer that follows no more: until then nothing that it has not read is pruned.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn forget(&self, table: StreamTable, consumer: &str) -> Result<(), StorageError> {
        sqlx::query("delete from platform.stream_positions where consumer = $1 and stream = $2")
            .bind(consumer)
            .bind(table.name())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Closes its connections; followers have their own.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn wake(&self) -> Wake {
        Wake::new(CHANNEL, self.listens.then(|| self.options.clone()), self.pause)
    }
}

impl RelayBuilder {
    /// How long a follower that has read everything waits before it looks again.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Followers are also woken by transactions that notify
    /// ([`TenantsBuilder::notify_followers`](crate::TenantsBuilder::notify_followers)); each has one more connection
    /// for it.
    #[must_use]
    pub fn listen(mut self) -> Self {
        self.listens = true;
        self
    }

    /// Connects by URL.
    ///
    /// # Errors
    ///
    /// As [`Relay::connect`].
    pub async fn connect(self, url: &str) -> Result<Relay, ConnectError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| ConnectError::Address { reason: error.to_string() })?;
        self.connect_with(options).await
    }

    /// Connects by options.
    ///
    /// # Errors
    ///
    /// As [`Relay::connect`].
    pub async fn connect_with(self, options: PgConnectOptions) -> Result<Relay, ConnectError> {
        let options = options.application_name("formwork-relay");
        let pool = PgPoolOptions::new()
            .min_connections(0)
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(3))
            .connect_lazy_with(options.clone());
        login::refuse_all_but_a_relay(&pool).await?;
        Ok(Relay { pool, options, pause: self.pause, listens: self.listens })
    }
}
