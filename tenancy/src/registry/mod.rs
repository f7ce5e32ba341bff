//! What is known of the tenants: in memory, then in a Redis where there is one, then in Postgres.
//!
//! INVARIANT: whatever is answered as current was so at most a second ago. While nothing answers, what was known is
//! passed on for half a minute, and no transaction that writes is begun on it (`docs/registry.md`).

mod asking;
mod hearing;
mod key;
mod memory;
mod metrics;
mod options;
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod renewal;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::AbortHandle;

pub(crate) use self::key::{Key, KeyRef};
use self::{asking::Asking, memory::Memory, metrics::Counters, renewal::Schedule};
pub use self::{metrics::RegistryMetrics, options::RegistryOptions};
use crate::{Refusal, StorageError, Tenant, TenantId, Tenants, TxOptions, breaker::Breaker, limits::Clock};

/// How old an answer may be.
const FRESHNESS: Duration = Duration::from_secs(1);
/// How old one may be for a read, while the registry does not answer.
const STALE: Duration = Duration::from_secs(30);
/// How often a database that does not answer is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    memory: Memory,
    asking: Asking,
    schedule: Schedule,
    /// Open while the control plane's database does not answer.
    database: Outage,
    /// The same of the others, by name.
    homes: BTreeMap<String, Outage>,
    #[cfg(feature = "redis")]
    redis: Option<self::redis::RedisTier>,
    listen: Option<sqlx::postgres::PgConnectOptions>,
    counters: Counters,
    /// Whoever hears of changes ends with the registry.
    hearing: Mutex<Vec<AbortHandle>>,
}

/// A breaker, and what it was opened by.
#[derive(Debug)]
struct Outage {
    breaker: Breaker,
    error: Mutex<Option<StorageError>>,
    /// Whether somebody looks after it: one at a time, or the looks would take each other's connections.
    look: Arc<AtomicBool>,
}

/// A look after a database, which ends when it is dropped.
struct Look(Arc<AtomicBool>);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Registry {
    pub(crate) fn new<'a>(options: RegistryOptions, homes: impl IntoIterator<Item = &'a str>) -> Self {
        Self(Arc::new(Inner {
            memory: Memory::new(Arc::clone(&options.clock), options.capacity),
            clock: options.clock,
            asking: Asking::default(),
            schedule: Schedule::default(),
            database: Outage::new(),
            homes: homes.into_iter().map(|name| (name.to_owned(), Outage::new())).collect(),
            #[cfg(feature = "redis")]
            redis: options.redis,
            listen: options.listen,
            counters: Counters::default(),
            hearing: Mutex::default(),
        }))
    }

    /// Nothing is heard any more.
    pub(crate) fn close(&self) {
        let mut hearing = self.0.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        hearing.drain(..).for_each(|task| task.abort());
    }

    /// What somebody else was answered by the control plane's database.
    pub(crate) fn heard(&self, answer: &Result<(), StorageError>) {
        self.0.database.note(answer);
    }

    /// Nanoseconds of the registry's clock.
    fn now(&self) -> u64 {
        nanos(self.0.clock.now())
    }

    fn is_fresh(&self, tenant: &Tenant, now: u64) -> bool {
        tenant.age(&self.0.clock, now).is_some_and(|age| age < FRESHNESS)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let hearing = self.hearing.get_mut().unwrap_or_else(PoisonError::into_inner);
        hearing.drain(..).for_each(|task| task.abort());
    }
}

impl Outage {
    fn new() -> Self {
        Self { breaker: Breaker::new(LOOK_EVERY), error: Mutex::default(), look: Arc::default() }
    }

    /// Is it this caller who looks after it?
    fn begins_look(&self) -> Option<Look> {
        let begins = self.breaker.is_due() && !self.look.swap(true, Ordering::AcqRel);
        begins.then(|| Look(Arc::clone(&self.look)))
    }

    /// Notes an answer: only one that says that nobody answers opens it.
    fn note<T>(&self, answer: &Result<T, StorageError>) {
        match answer {
            // Who asks too much at once has not asked the database.
            Err(error) if error.busy().is_some() => {}
            Err(error) if error.is_unavailable() => {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                self.breaker.open();
            }
            _ if self.breaker.is_open() => self.breaker.close(),
            _ => {}
        }
    }

    /// What it is open for.
    fn error(&self) -> Option<StorageError> {
        let error = || self.error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.breaker.is_open().then(error).flatten()
    }
}

impl Tenants {
    /// The tenant with this identity, whatever its status.
    ///
    /// While the registry cannot be asked, it is the tenant as it was up to 30 seconds ago; a transaction that writes
    /// is not begun on that.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn by_id(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        self.find_ref(KeyRef::Id(id)).await
    }

    /// The tenant with this slug, whatever its status. As [`by_id`](Self::by_id).
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn by_slug(&self, slug: &str) -> Result<Option<Tenant>, StorageError> {
        match slug.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.find_ref(KeyRef::Slug(&slug.to_ascii_lowercase())).await,
            false => self.find_ref(KeyRef::Slug(slug)).await,
        }
    }

    /// What the registry has answered, and from where, since this handle was connected.
    pub fn registry_metrics(&self) -> RegistryMetrics {
        RegistryMetrics::of(self.registry())
    }

    /// Tells the nodes that share a Redis that a tenant's entry was changed in the control plane, so that they look
    /// now and not within half a second. Does nothing without one: Postgres tells those who listen by itself.
    pub async fn announce_change(&self) {
        self.registry().is_suspect();
        #[cfg(feature = "redis")]
        if let Some(redis) = &self.registry().0.redis {
            redis.announce(self).await;
        }
    }

    /// The tenant's entry as it is now, whatever is remembered.
    pub(crate) async fn by_id_now(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        self.ask(Key::Id(id), true).await
    }

    /// Without an allocation, when it is remembered.
    pub(crate) async fn find_ref(&self, key: KeyRef<'_>) -> Result<Option<Tenant>, StorageError> {
        match self.remembered(key) {
            Some(known) => Ok(known),
            None => self.ask_or_remember(key.to_owned()).await,
        }
    }

    /// What is known for sure, if it is; none: it must be asked for.
    pub(crate) fn remembered(&self, key: KeyRef<'_>) -> Option<Option<Tenant>> {
        let registry = &self.registry().0;
        let now = self.registry().now();
        self.renew_when_due(now);
        if let Some(tenant) = registry.memory.current(key, now) {
            Counters::add(&registry.counters.hits);
            return Some(Some(tenant));
        }
        registry.memory.is_unknown(key, now).then(|| {
            Counters::add(&registry.counters.unknown_hits);
            None
        })
    }

    async fn ask_or_remember(&self, key: Key) -> Result<Option<Tenant>, StorageError> {
        match self.ask(key.clone(), false).await {
            Err(error) if error.is_unavailable() => self.stale(key.as_ref()).map(Some).ok_or(error),
            answer => answer,
        }
    }

    /// Not current, but good enough for a read.
    fn stale(&self, key: KeyRef<'_>) -> Option<Tenant> {
        let registry = &self.registry().0;
        let tenant = registry.memory.stale(key, self.registry().now())?;
        Counters::add(&registry.counters.stale);
        Some(tenant)
    }

    /// What the registry says now, when what the session has is older than an answer may be, or could not be judged.
    /// It is asked by identity, so that many sessions of one tenant ask once. While it cannot be asked, a read may go
    /// on for a while.
    pub(crate) async fn newer_entry(
        &self,
        tenant: &Tenant,
        options: &TxOptions,
    ) -> Result<Option<Tenant>, StorageError> {
        let (registry, id) = (self.registry(), tenant.id());
        let now = registry.now();
        self.renew_when_due(now);
        if registry.is_fresh(tenant, now) && tenant.unjudged().is_none() {
            tenant.is_used_at(now);
            return Ok(None);
        }
        let known = match self.remembered(KeyRef::Id(id)) {
            Some(known) => Ok(known),
            None => self.ask(Key::Id(id), false).await,
        };
        let newest = match known {
            Ok(Some(newest)) if newest.unjudged().is_some() || newest.version() < tenant.version() => {
                self.by_id_now(id).await
            }
            known => known,
        };
        match newest {
            Ok(Some(newest)) => match newest.unjudged() {
                None => Ok(Some(newest)),
                Some(error) => Err(error.clone()),
            },
            Ok(None) => Err(Refusal::Gone.into()),
            Err(error) if error.is_unavailable() && options.is_read_only() => {
                if let Some(stale) = self.stale(KeyRef::Id(id)) {
                    return Ok(Some(stale));
                }
                let age = tenant.age(&registry.0.clock, registry.now());
                if age.is_some_and(|age| age < STALE) { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }
}

/// Never 0, which says that something is outdated.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_no_outage_and_says_nothing_of_one() {
        let outage = Outage::new();
        let busy: Result<(), StorageError> = Err(crate::admission::Busy::full(1).into());
        outage.note(&busy);
        assert!(!outage.breaker.is_open());
        outage.note::<()>(&Err(sqlx::Error::PoolTimedOut.into()));
        assert!(outage.breaker.is_open());
        outage.note(&busy);
        assert!(outage.breaker.is_open());
        outage.note(&Ok(()));
        assert!(!outage.breaker.is_open());
    }
}
