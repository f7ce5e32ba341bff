//! API keys and memberships, asked of Postgres and kept for one second.
//!
//! A flood of keys that do not exist must not fill the memory, nor take the connections from everybody else: answers
//! are kept in bounded caches, unknown ones too; what is asked at a time is bounded, and so is what waits. A key that
//! was good a while ago has a way of its own, which no stranger stands in.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::api_key::ApiKeyDigest;
use crate::{ApiKeyRefusal, StorageError, TenantId, Tenants, TxOptions};

/// How old an answer may be.
const FRESHNESS: Duration = Duration::from_secs(1);
const CAPACITY: u64 = 10_000;
/// For how long a key that was good is remembered to have been, since it was used last.
const GOOD: Duration = Duration::from_secs(600);
/// Questions at a time, each of which takes a connection.
const AT_A_TIME: usize = 2;
/// Questions that wait for their turn.
const WAITING: usize = 64;

/// Whether a key is good, and what it says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Good { id: Uuid, tenant: TenantId },
    Bad(ApiKeyRefusal),
}

/// Of how many tenants a subject is a member.
#[derive(Debug, Clone, Copy)]
pub(super) enum Memberships {
    None,
    One(TenantId),
    Several,
}

/// What is remembered. Cheap to clone; the clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Lookups {
    keys: Cache<ApiKeyDigest, Key>,
    good: Cache<ApiKeyDigest, ()>,
    memberships: Cache<Uuid, Memberships>,
    members: Cache<(TenantId, Uuid), bool>,
    ways: Arc<[Way; 2]>,
}

#[derive(Debug)]
struct Way {
    waiting: Semaphore,
    asking: Semaphore,
}

impl Way {
    fn new() -> Self {
        Self { waiting: Semaphore::new(WAITING + AT_A_TIME), asking: Semaphore::new(AT_A_TIME) }
    }

    /// A turn to ask. With too many waiting, it is as if no connection could be had.
    async fn turn(&self) -> Result<[SemaphorePermit<'_>; 2], StorageError> {
        let busy = |_| StorageError::from(sqlx::Error::PoolTimedOut);
        let place = self.waiting.try_acquire().map_err(busy)?;
        let turn = self.asking.acquire().await.map_err(|_| StorageError::from(sqlx::Error::PoolClosed))?;
        Ok([place, turn])
    }
}

impl Lookups {
    pub(crate) fn new() -> Self {
        Self {
            keys: cache(),
            good: Cache::builder().max_capacity(CAPACITY).time_to_idle(GOOD).build(),
            memberships: cache(),
            members: cache(),
            ways: Arc::new([Way::new(), Way::new()]),
        }
    }

    fn way(&self, known: bool) -> &Way {
        let [strangers, known_ones] = &*self.ways;
        if known { known_ones } else { strangers }
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(CAPACITY).time_to_live(FRESHNESS).build()
}

impl Tenants {
    pub(super) async fn api_key(&self, digest: &ApiKeyDigest) -> Result<Key, StorageError> {
        let lookups = self.lookups();
        if let Some(known) = lookups.keys.get(digest).await {
            return Ok(known);
        }
        let known = lookups.good.get(digest).await.is_some();
        let asked = lookups.keys.try_get_with_by_ref(digest, async {
            let _turn = lookups.way(known).turn().await?;
            self.ask_api_key(digest).await
        });
        let answer = asked.await.map_err(|error: Arc<StorageError>| (*error).clone())?;
        match answer {
            Key::Good { .. } => lookups.good.insert(digest.clone(), ()).await,
            Key::Bad(_) => lookups.good.invalidate(digest).await,
        }
        Ok(answer)
    }

    async fn ask_api_key(&self, digest: &ApiKeyDigest) -> Result<Key, StorageError> {
        let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
        let found: Option<(Uuid, Uuid, String)> =
            sqlx::query_as("select id, tenant_id, state from platform.api_key($1, $2)")
                .bind(digest.prefix())
                .bind(digest.hash())
                .fetch_optional(&mut conn)
                .await?;
        conn.rollback().await?;
        Ok(match found {
            Some((id, tenant, state)) if state == "active" => Key::Good { id, tenant: tenant.into() },
            Some((.., state)) if state == "expired" => Key::Bad(ApiKeyRefusal::Expired),
            Some(_) => Key::Bad(ApiKeyRefusal::Revoked),
            None => Key::Bad(ApiKeyRefusal::Unknown),
        })
    }

    pub(super) async fn memberships_of(&self, subject: Uuid) -> Result<Memberships, StorageError> {
        let lookups = self.lookups();
        let asked = lookups.memberships.try_get_with_by_ref(&subject, async {
            let _turn = lookups.way(true).turn().await?;
            let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
            let found: Option<(Option<Uuid>, bool)> =
                sqlx::query_as("select tenant_id, is_sole from platform.sole_membership($1)")
                    .bind(subject)
                    .fetch_optional(&mut conn)
                    .await?;
            conn.rollback().await?;
            Ok::<_, StorageError>(match found {
                Some((Some(tenant), true)) => Memberships::One(tenant.into()),
                Some(_) => Memberships::Several,
                None => Memberships::None,
            })
        });
        asked.await.map_err(|error| (*error).clone())
    }

    pub(super) async fn is_member(&self, tenant: TenantId, subject: Uuid) -> Result<bool, StorageError> {
        let (lookups, pair) = (self.lookups(), (tenant, subject));
        let asked = lookups.members.try_get_with_by_ref(&pair, async {
            let _turn = lookups.way(true).turn().await?;
            let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
            let is_member: bool = sqlx::query_scalar("select platform.is_member($1, $2)")
                .bind(tenant.as_uuid())
                .bind(subject)
                .fetch_one(&mut conn)
                .await?;
            conn.rollback().await?;
            Ok::<_, StorageError>(is_member)
        });
        asked.await.map_err(|error| (*error).clone())
    }
}
