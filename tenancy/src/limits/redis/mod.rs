//! Limits that all nodes count together, in a Redis.
//!
//! One script a call, by the server's own clock. While the server is out of reach a node counts its share by itself,
//! and somebody looks after the server in the background: no call waits for that.

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{ErrorKind, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};

use super::{Call, MemoryLimiter, Verdict};
use crate::redis_server::{RedisAddressError, RedisServer, Words};

const SCRIPT: &str = include_str!("script.lua");

/// Counts in a Redis (5 or newer; a cluster's node too), for all that count there. Cheap to clone.
///
/// **Keys.** All keys of a call begin with `{<tenant>}`, or `{<address>}` for [a call without one](Call::from_ip), and
/// so lie in one slot of a cluster. They go when their limit is full again.
///
/// **A Redis that does not answer** is never an outage, and never without limits: the first call that it fails, and
/// those already on their way, wait for the time-out at the most; from then on every node counts by itself in memory,
/// its share of each limit (the limit divided by [`nodes`](RedisLimiterBuilder::nodes)), and tries the server again
/// in the background, once a second. When it answers, the nodes count together again. Each change of place begins with
/// full limits, so around one a client can have up to a burst more.
///
/// ```no_run
/// # async fn example(call: formwork_tenancy::limits::Call<'_>) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::limits::RedisLimiter;
///
/// let limiter = RedisLimiter::builder("redis://cache.internal/").nodes(3).connect().await?;
/// let allowed = limiter.check(&call).await.into_result()?;
/// # let _ = allowed;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct RedisLimiter(Arc<Inner>);

struct Inner {
    server: Arc<RedisServer>,
    script: Script,
    local: MemoryLimiter,
    nodes: u32,
    prefix: String,
}

/// How a [`RedisLimiter`] is made.
pub struct RedisLimiterBuilder {
    url: String,
    local: MemoryLimiter,
    nodes: u32,
    timeout: Duration,
    retry_every: Duration,
    prefix: String,
}

impl RedisLimiter {
    /// Starts from: one node, 100 ms to answer, a look at a dead server once a second, keys that say `limits`.
    pub fn builder(url: impl Into<String>) -> RedisLimiterBuilder {
        RedisLimiterBuilder {
            url: url.into(),
            local: MemoryLimiter::new(),
            nodes: 1,
            timeout: Duration::from_millis(100),
            retry_every: Duration::from_secs(1),
            prefix: "limits".to_owned(),
        }
    }

    /// May the call go on? If so, it has taken its units of every limit.
    ///
    /// Dropped before it has answered, it may have taken them or not.
    pub async fn check(&self, call: &Call<'_>) -> Verdict {
        if call.items().is_empty() {
            return Verdict::of(call, &[]);
        }
        let this = &self.0;
        if let Some(verdict) = this.server.ask(async |connection| this.ask(connection, call).await).await {
            return verdict;
        }
        let share = call.with_limits(|limit| limit.share(this.nodes, call.units()));
        this.local.check(&share)
    }

    /// Does this node count by itself, because the Redis does not answer? For a gauge, or a health page.
    pub fn is_degraded(&self) -> bool {
        self.0.server.is_down()
    }
}

impl Inner {
    async fn ask(
        &self,
        mut connection: MultiplexedConnection,
        call: &Call<'_>,
    ) -> Result<Verdict, RedisError> {
        // As the server counts.
        let call = &call.with_limits(super::Limit::in_micros);
        let by_hash = self.command("EVALSHA", self.script.get_hash(), call);
        let owed = match by_hash.query_async(&mut connection).await {
            // The server has been started anew, or its scripts were flushed.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", SCRIPT, call).query_async(&mut connection).await
            }
            answer => answer,
        };
        let owed: Vec<u64> = owed?;
        let nanos: Vec<u64> = owed.iter().map(|micros| micros.saturating_mul(1_000)).collect();
        if nanos.len() != call.items().len() {
            return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "not one answer a limit")));
        }
        Ok(Verdict::of(call, &nanos))
    }

    fn command(&self, name: &str, script: &str, call: &Call<'_>) -> ::redis::Cmd {
        let mut command = ::redis::cmd(name);
        command.arg(script).arg(call.items().len());
        for item in call.items() {
            command.arg(call.key_text(&self.prefix, item));
        }
        command.arg(call.units());
        for item in call.items() {
            command.arg(item.limit.interval() / 1_000).arg(item.limit.most_at_once());
        }
        command
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimiter")
            .field("server", &self.server)
            .field("nodes", &self.nodes)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisLimiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLimiterBuilder").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

impl RedisLimiterBuilder {
    /// Nodes that count together, of which each takes its share while the server is out of reach.
    #[must_use]
    pub fn nodes(mut self, count: u32) -> Self {
        self.nodes = count.max(1);
        self
    }

    /// How long a call waits for the server before it is counted here.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How often a server that does not answer is looked after.
    #[must_use]
    pub fn retry_every(mut self, time: Duration) -> Self {
        self.retry_every = time;
        self
    }

    /// A word in every key, for services that share a server and must not count together.
    #[must_use]
    pub fn prefix(mut self, word: impl Into<String>) -> Self {
        self.prefix = word.into();
        self
    }

    /// What counts while the server is out of reach.
    #[must_use]
    pub fn local(mut self, limiter: MemoryLimiter) -> Self {
        self.local = limiter;
        self
    }

    /// Connects. A server that is not there is no error: it is looked after as one that died later.
    ///
    /// # Errors
    ///
    /// When the address cannot be read.
    pub async fn connect(self) -> Result<RedisLimiter, RedisAddressError> {
        let words = Words {
            lost: "the Redis of the rate limits does not answer: each node counts its share",
            back: "the Redis of the rate limits answers: all nodes count together",
        };
        let server = Arc::new(RedisServer::new(&self.url, self.timeout, self.retry_every, words)?);
        server.begin().await;
        Ok(RedisLimiter(Arc::new(Inner {
            server,
            script: Script::new(SCRIPT),
            local: self.local,
            nodes: self.nodes,
            prefix: self.prefix,
        })))
    }
}
