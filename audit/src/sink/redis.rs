//! Events in a Redis stream.

use std::{fmt, sync::Mutex, time::Duration};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};

use super::{Message, SendError, Sink};

/// Appends events to a Redis stream: fields `id`, `tenant`, `action` and `event`, which is the JSON.
///
/// A batch is one transaction of the Redis. How well it keeps what it has taken is its own affair (`appendfsync always`
/// for as well as this database).
///
/// ```no_run
/// use formwork_audit::sink::RedisSink;
///
/// let sink = RedisSink::new("redis://localhost:6379/0", "audit")?.by_tenant().at_most(1_000_000);
/// # let _ = sink;
/// # Ok::<(), formwork_audit::sink::SendError>(())
/// ```
pub struct RedisSink {
    client: Client,
    stream: String,
    by_tenant: bool,
    at_most: Option<u64>,
    timeout: Duration,
    open: Mutex<Option<MultiplexedConnection>>,
}

impl RedisSink {
    /// To the stream of this name. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the address is no Redis URL.
    pub fn new(url: &str, stream: impl Into<String>) -> Result<Self, SendError> {
        let client = Client::open(url).map_err(SendError::unavailable)?;
        let (by_tenant, at_most) = (false, None);
        let timeout = Duration::from_secs(10);
        Ok(Self { client, stream: stream.into(), by_tenant, at_most, timeout, open: Mutex::new(None) })
    }

    /// A stream for each tenant: `<name>:<tenant>`.
    #[must_use]
    pub fn by_tenant(mut self) -> Self {
        self.by_tenant = true;
        self
    }

    /// Keeps about so many events in a stream, and drops older ones, read or not.
    #[must_use]
    pub fn at_most(mut self, events: u64) -> Self {
        self.at_most = Some(events);
        self
    }

    fn pipeline(&self, messages: &[Message]) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for message in messages {
            let command = pipeline.cmd("XADD");
            match self.by_tenant {
                true => command.arg(format!("{}:{}", self.stream, message.tenant())),
                false => command.arg(&self.stream),
            };
            if let Some(most) = self.at_most {
                command.arg("MAXLEN").arg("~").arg(most);
            }
            command.arg("*").arg("id").arg(message.event().to_string());
            command.arg("tenant").arg(message.tenant().to_string());
            command.arg("action").arg(message.action()).arg("event").arg(message.body()).ignore();
        }
        pipeline
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let open = self.open.lock().ok().and_then(|mut open| open.take());
        match open {
            Some(connection) => Ok(connection),
            None => {
                let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
                self.client.get_multiplexed_async_connection_with_config(&config).await
            }
        }
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        let sent = async {
            let mut connection = self.connection().await?;
            self.pipeline(messages).query_async::<()>(&mut connection).await?;
            // One whose answer did not come is not used again.
            if let Ok(mut open) = self.open.lock() {
                *open = Some(connection);
            }
            Ok::<_, RedisError>(())
        };
        match tokio::time::timeout(self.timeout, sent).await {
            Ok(sent) => sent.map_err(SendError::unavailable),
            Err(_) => Err(SendError::unavailable(format!("no answer within {:?}", self.timeout))),
        }
    }
}

impl fmt::Debug for RedisSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client would tell its password.
        f.debug_struct("RedisSink").field("stream", &self.stream).finish_non_exhaustive()
    }
}
