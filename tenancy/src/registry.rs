//! What is known of the tenants, asked of Postgres and kept for one second.
//!
//! A status is at most one second old while the database answers. Concurrent misses of one key ask
//! once. What does not exist is not remembered.

use std::time::Duration;

use moka::future::Cache;
use uuid::Uuid;

use crate::{StorageError, Tenant, TenantId, Tenants, TxOptions};

/// How old an answer may be.
pub(crate) const FRESHNESS: Duration = Duration::from_secs(1);
const CAPACITY: u64 = 10_000;

/// An exact key by which one tenant is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Slug(String),
    Domain(String),
    Id(TenantId),
}

#[derive(Debug, Clone)]
pub(crate) struct Registry {
    cache: Cache<Key, Tenant>,
}

/// Why a lookup gave nothing.
enum Miss {
    Unknown,
    Failed(StorageError),
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { cache: Cache::builder().max_capacity(CAPACITY).time_to_live(FRESHNESS).build() }
    }
}

impl Tenants {
    /// The tenant with this identity, whatever its status.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn by_id(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        self.find(Key::Id(id)).await
    }

    /// The tenant with this slug, whatever its status.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn by_slug(&self, slug: &str) -> Result<Option<Tenant>, StorageError> {
        self.find(Key::Slug(slug.to_ascii_lowercase())).await
    }

    /// The tenant's entry as it is now, whatever is remembered.
    pub(crate) async fn by_id_now(&self, id: TenantId) -> Result<Option<Tenant>, StorageError> {
        self.registry().cache.invalidate(&Key::Id(id)).await;
        self.find(Key::Id(id)).await
    }

    pub(crate) async fn find(&self, key: Key) -> Result<Option<Tenant>, StorageError> {
        let asked = self.registry().cache.try_get_with_by_ref(&key, self.ask(&key)).await;
        match asked {
            Ok(tenant) => Ok(Some(tenant)),
            Err(miss) => match &*miss {
                Miss::Unknown => Ok(None),
                Miss::Failed(error) => Err(error.clone()),
            },
        }
    }

    async fn ask(&self, key: &Key) -> Result<Tenant, Miss> {
        let found = async {
            let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
            let found: Option<Tenant> = match key {
                Key::Slug(slug) => {
                    sqlx::query_as("select * from platform.tenant_by_slug($1)")
                        .bind(slug)
                        .fetch_optional(&mut conn)
                        .await?
                }
                Key::Domain(host) => {
                    sqlx::query_as("select * from platform.tenant_by_domain($1)")
                        .bind(host)
                        .fetch_optional(&mut conn)
                        .await?
                }
                Key::Id(id) => {
                    sqlx::query_as("select * from platform.tenant_by_id($1)")
                        .bind::<Uuid>(id.as_uuid())
                        .fetch_optional(&mut conn)
                        .await?
                }
            };
            Ok::<_, StorageError>(found)
        };
        found.await.map_err(Miss::Failed)?.ok_or(Miss::Unknown)
    }
}
