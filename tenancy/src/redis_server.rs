//! A Redis that may go away: one connection, a time-out, and a breaker.
//!
//! INVARIANT: no caller waits for a server that has just failed another one. Somebody looks after it in the background.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, RedisError,
    aio::{ConnectionLike, MultiplexedConnection},
};

use crate::breaker::Breaker;

/// The address is no Redis URL.
#[derive(Debug, thiserror::Error)]
#[error("the address is no Redis URL, as `redis://host:6379/0` or `redis+unix:///path`")]
pub struct RedisAddressError {
    source: Box<dyn std::error::Error + Send + Sync>,
}

pub(crate) struct RedisServer {
    client: Client,
    config: AsyncConnectionConfig,
    /// INVARIANT: there while the breaker is closed, but for the moment between the two.
    connection: Mutex<Option<MultiplexedConnection>>,
    breaker: Breaker,
    timeout: Duration,
    words: Words,
}

/// What is logged when the server goes and comes.
#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) lost: &'static str,
    pub(crate) back: &'static str,
}

impl RedisServer {
    /// Not connected yet.
    pub(crate) fn new(
        url: &str,
        timeout: Duration,
        retry_every: Duration,
        words: Words,
    ) -> Result<Self, RedisAddressError> {
        let client = Client::open(url).map_err(|error| RedisAddressError { source: error.into() })?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout.saturating_mul(3)))
            .set_response_timeout(None);
        let breaker = Breaker::new(retry_every);
        breaker.open();
        Ok(Self { client, config, connection: Mutex::new(None), breaker, timeout, words })
    }

    /// Connects, the first time. A server that is not there is looked after as one that went later.
    pub(crate) async fn begin(self: &Arc<Self>) {
        Arc::clone(self).look().await;
        if self.is_down() {
            tracing::warn!("{}", self.words.lost);
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.breaker.is_open()
    }

    /// What the server answers in time; none when it does not, or is known not to.
    pub(crate) async fn ask<T>(
        self: &Arc<Self>,
        question: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Option<T> {
        if self.breaker.is_due() {
            drop(tokio::spawn(Arc::clone(self).look()));
        }
        if self.breaker.is_open() {
            return None;
        }
        let connection = self.slot().clone()?;
        match tokio::time::timeout(self.timeout, question(connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => self.give_up(&error),
            Err(_) => self.give_up(&format_args!("no answer within {:?}", self.timeout)),
        }
        None
    }

    /// Hears what is published on a channel, until the connection ends. `heard` is called once at the beginning too,
    /// for what was said before.
    pub(crate) async fn hear(&self, channel: &str, heard: impl Fn()) -> Result<(), RedisError> {
        use futures::StreamExt;
        let mut hearing = self.client.get_async_pubsub().await?;
        hearing.subscribe(channel).await?;
        heard();
        let mut messages = hearing.into_on_message();
        while messages.next().await.is_some() {
            heard();
        }
        Ok(())
    }

    fn slot(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self, why: &dyn fmt::Display) {
        if self.breaker.open() {
            *self.slot() = None;
            tracing::warn!(error = %why, "{}", self.words.lost);
        }
    }

    /// Is the server there again?
    async fn look(self: Arc<Self>) {
        match tokio::time::timeout(self.timeout.saturating_mul(3), self.connect()).await {
            Ok(Ok(connection)) => {
                *self.slot() = Some(connection);
                self.breaker.close();
                tracing::info!("{}", self.words.back);
            }
            Ok(Err(error)) => tracing::debug!(%error, "the Redis does not answer yet"),
            Err(_) => tracing::debug!("the Redis does not answer yet"),
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = self.config.clone();
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // Alive, and not loading its data.
        connection.req_packed_command(&redis::cmd("PING")).await?;
        Ok(connection)
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client would tell its password.
        f.debug_struct("RedisServer")
            .field("breaker", &self.breaker)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
