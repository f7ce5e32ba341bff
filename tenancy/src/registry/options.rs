//! How the registry remembers, and by whom it is told of changes.

use std::sync::Arc;
#[cfg(feature = "redis")]
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

#[cfg(feature = "redis")]
use super::redis::RedisTier;
#[cfg(feature = "redis")]
use crate::limits::RedisAddressError;
use crate::limits::{Clock, Monotonic};

/// How the registry of a [`Tenants`](crate::Tenants) remembers, and by whom it is told of changes. By default: 20,000
/// keys, no Redis, and nobody; what is in use is looked after two and a half times a second.
///
/// ```no_run
/// # async fn example(direct: sqlx::postgres::PgConnectOptions) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::{RegistryOptions, Tenants};
///
/// let tenants = Tenants::builder()
///     .registry(RegistryOptions::new().listen(direct))
///     .connect("postgres://formwork_app@pooler/app")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct RegistryOptions {
    pub(super) capacity: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) listen: Option<PgConnectOptions>,
    #[cfg(feature = "redis")]
    pub(super) redis: Option<RedisTier>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RegistryOptions {
    /// The default.
    pub fn new() -> Self {
        Self {
            capacity: 20_000,
            clock: Arc::new(Monotonic::new()),
            listen: None,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// Keys of tenants that are remembered: a tenant in use has one or two.
    #[must_use]
    pub fn capacity(mut self, keys: u64) -> Self {
        self.capacity = keys.max(1);
        self
    }

    /// Listens to the control plane's database, which says when something has changed. A connection of its own, to
    /// the server itself: behind a pooler in transaction mode nothing is heard.
    #[must_use]
    pub fn listen(mut self, direct: PgConnectOptions) -> Self {
        self.listen = Some(direct);
        self
    }

    /// Shares what was read with the other nodes, for a second, and tells them of changes. Entries carry a code that
    /// only nodes of the same control plane can make.
    ///
    /// A Redis that does not answer is no error and costs 50 ms once; it is looked after once a second.
    ///
    /// # Errors
    ///
    /// When the address cannot be read.
    #[cfg(feature = "redis")]
    pub fn redis(self, url: &str) -> Result<Self, RedisAddressError> {
        self.redis_within(url, Duration::from_millis(50), Duration::from_secs(1))
    }

    /// The same with other times: how long to wait for an answer, and how often to look after a server that gives none.
    ///
    /// # Errors
    ///
    /// When the address cannot be read.
    #[cfg(feature = "redis")]
    pub fn redis_within(
        mut self,
        url: &str,
        timeout: Duration,
        retry_every: Duration,
    ) -> Result<Self, RedisAddressError> {
        self.redis = Some(RedisTier::new(url, timeout, retry_every)?);
        Ok(self)
    }

    /// Another clock than the machine's: what is remembered ages by it.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}
