//! A tier of the registry that nodes share: what one has read, another need not ask Postgres for, for a second.
//!
//! The server is trusted with being there and with its clock, and with nothing else. INVARIANT: an entry is believed
//! when a node of this control plane has written it, for this key, in this form, and less than a second ago.

use std::{fmt, sync::Arc, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use redis::{RedisError, Value};
use sha2::Sha256;
use tokio::sync::OnceCell;

use super::{FRESHNESS, Key, nanos, postgres};
use crate::{
    Tenants,
    limits::RedisAddressError,
    redis_server::{RedisServer, Words},
    tenant::{TenantEntry, is_identifier},
};

/// Form of the entries. Raise it whenever [`TenantEntry`] changes: programs of both forms then keep apart.
const FORMAT: u8 = 1;
/// Bytes of an entry.
const LONGEST: isize = 16 * 1024;
const CODE: usize = 32;
const TIME: usize = 8;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct RedisTier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    server: Arc<RedisServer>,
    signing: OnceCell<Signing>,
}

/// How the nodes of one control plane know each other's entries.
struct Signing {
    code: Hmac<Sha256>,
    /// Of the names of keys: other control planes' and other forms' are other names.
    prefix: String,
}

/// What the server knew.
pub(super) struct Read {
    /// With when it was so, in nanoseconds of the registry's clock.
    pub(super) found: Vec<(Key, TenantEntry, u64)>,
    pub(super) unbelieved: usize,
    /// The server's time, in microseconds.
    pub(super) time: u64,
}

/// Why an entry is passed over.
enum Not {
    /// It says so of another moment.
    Current,
    Believed,
}

impl RedisTier {
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        retry_every: Duration,
    ) -> Result<Self, RedisAddressError> {
        let words = Words {
            lost: "the Redis of the registry does not answer: Postgres is asked instead",
            back: "the Redis of the registry answers",
        };
        let server = Arc::new(RedisServer::new(url, timeout, retry_every, words)?);
        Ok(Self(Arc::new(Inner { server, signing: OnceCell::new() })))
    }

    /// Connects, as far as it can.
    pub(super) async fn begin(&self, tenants: &Tenants) {
        self.signing(tenants).await;
        self.0.server.begin().await;
    }

    pub(super) fn is_down(&self) -> bool {
        self.0.server.is_down()
    }

    /// What other nodes have read of these. None: nothing can be had from the server.
    pub(super) async fn read(&self, tenants: &Tenants, keys: Vec<Key>) -> Option<Read> {
        let signing = self.signing(tenants).await?;
        let mut question = redis::pipe();
        for key in &keys {
            question.getrange(signing.name(key), 0, LONGEST);
        }
        question.cmd("TIME").ignore_errors();
        let sent_at = tenants.registry().now();
        let answer: Vec<Result<Value, RedisError>> =
            self.0.server.ask(async |mut server| question.query_async(&mut server).await).await?;
        let mut answer = answer.into_iter();
        let values: Vec<_> = answer.by_ref().take(keys.len()).collect();
        let (seconds, micros): (u64, u64) = redis::from_redis_value(answer.next()?.ok()?).ok()?;
        let time = seconds.checked_mul(1_000_000)?.checked_add(micros)?;
        let mut read = Read { found: Vec::new(), unbelieved: 0, time };
        for (key, value) in keys.into_iter().zip(values) {
            // A value of another kind is nobody's entry.
            let bytes: Vec<u8> = match value.map(redis::from_redis_value) {
                Ok(Ok(bytes)) => bytes,
                _ => vec![0],
            };
            if bytes.is_empty() {
                continue;
            }
            match signing.open(&key, &bytes, time) {
                Ok((entry, age)) => {
                    let at = sent_at.saturating_sub(nanos(age)).max(1);
                    if !tenants.registry().is_before_a_change(at) {
                        read.found.push((key, entry, at));
                    }
                }
                Err(Not::Current) => {}
                Err(Not::Believed) => read.unbelieved += 1,
            }
        }
        Some(read)
    }

    /// Tells the others of what was asked of Postgres after `time`.
    pub(super) async fn write(&self, time: u64, entries: Vec<(Key, TenantEntry)>) {
        let Some(signing) = self.0.signing.get().filter(|_| !entries.is_empty()) else { return };
        let mut command = redis::pipe();
        for (key, entry) in &entries {
            let Some(value) = signing.close(key, entry, time) else { continue };
            command
                .cmd("SET")
                .arg(signing.name(key))
                .arg(value)
                .arg("PX")
                .arg(FRESHNESS.as_millis() as u64)
                .ignore();
        }
        command.ignore_errors();
        let _: Option<()> =
            self.0.server.ask(async |mut server| command.query_async(&mut server).await).await;
    }

    /// Tells the others that something has changed, and nothing of what.
    pub(super) async fn announce(&self, tenants: &Tenants) {
        let Some(signing) = self.signing(tenants).await else { return };
        let mut command = redis::cmd("PUBLISH");
        command.arg(signing.channel()).arg("");
        let _: Option<i64> =
            self.0.server.ask(async |mut server| command.query_async(&mut server).await).await;
    }

    /// Hears of changes until the connection ends.
    pub(super) async fn hear(&self, heard: impl Fn()) -> Result<(), RedisError> {
        match self.0.signing.get() {
            Some(signing) => self.0.server.hear(&signing.channel(), heard).await,
            None => Ok(()),
        }
    }

    async fn signing(&self, tenants: &Tenants) -> Option<&Signing> {
        let known = self.0.signing.get_or_try_init(async || {
            let key = postgres::registry_key(tenants).await.map_err(|error| {
                tracing::debug!(%error, "the registry's key cannot be read yet: its Redis is not used");
            })?;
            Signing::new(&key).ok_or(())
        });
        known.await.ok()
    }
}

impl Signing {
    fn new(key: &[u8]) -> Option<Self> {
        let code = Hmac::<Sha256>::new_from_slice(key).ok()?;
        let place = code.clone().chain_update(b"place").finalize().into_bytes();
        let place: String = place.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { code, prefix: format!("formwork:registry:{FORMAT}:{place}") })
    }

    fn name(&self, key: &Key) -> String {
        match key {
            Key::Slug(slug) => format!("{}:slug:{slug}", self.prefix),
            Key::Domain(host) => format!("{}:domain:{host}", self.prefix),
            Key::Id(id) => format!("{}:id:{id}", self.prefix),
        }
    }

    fn channel(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    fn coded(&self, key: &Key, time_and_text: &[u8]) -> Hmac<Sha256> {
        // A name has no zero byte in it, so where it ends is clear.
        self.code.clone().chain_update(self.name(key)).chain_update([0]).chain_update(time_and_text)
    }

    fn close(&self, key: &Key, entry: &TenantEntry, time: u64) -> Option<Vec<u8>> {
        let mut signed = time.to_le_bytes().to_vec();
        serde_json::to_writer(&mut signed, entry).ok()?;
        let mut value = self.coded(key, &signed).finalize().into_bytes().to_vec();
        value.append(&mut signed);
        (value.len() <= LONGEST as usize).then_some(value)
    }

    /// The entry, and how old it is.
    fn open(&self, key: &Key, value: &[u8], time: u64) -> Result<(TenantEntry, Duration), Not> {
        let (code, signed) = value.split_at_checked(CODE).ok_or(Not::Believed)?;
        self.coded(key, signed).verify_slice(code).map_err(|_| Not::Believed)?;
        let (then, text) = signed.split_at_checked(TIME).ok_or(Not::Believed)?;
        let then = u64::from_le_bytes(then.try_into().map_err(|_| Not::Believed)?);
        // One of the future was written before the clock was set back.
        let age = time.checked_sub(then).map(Duration::from_micros).ok_or(Not::Current)?;
        if age >= FRESHNESS {
            return Err(Not::Current);
        }
        let entry: TenantEntry = serde_json::from_slice(text).map_err(|_| Not::Believed)?;
        let fits = match key {
            Key::Slug(slug) => *slug == entry.slug,
            Key::Id(id) => *id == entry.id,
            Key::Domain(_) => true,
        };
        if fits && is_identifier(&entry.schema_name) { Ok((entry, age)) } else { Err(Not::Believed) }
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
