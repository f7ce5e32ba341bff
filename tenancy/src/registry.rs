//! What is known of the tenants, asked of Postgres and kept for one second.
//!
//! A status is at most one second old while the database answers. Concurrent misses of one key ask
//! once. What does not exist is not remembered.

use std::{collections::BTreeMap, time::Duration};

use moka::future::Cache;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{StorageError, Tenant, TenantId, Tenants, TxOptions, databases::MAIN};

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

/// The registry's entry, with what the home is beyond its schema.
macro_rules! ask {
    ($function:literal) => {
        concat!(
            "select t.*, h.own_role, h.home_versions from platform.",
            $function,
            "($1) t cross join lateral platform.tenant_home(t.id) h"
        )
    };
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
                    sqlx::query_as(ask!("tenant_by_slug")).bind(slug).fetch_optional(&mut conn).await?
                }
                Key::Domain(host) => {
                    sqlx::query_as(ask!("tenant_by_domain")).bind(host).fetch_optional(&mut conn).await?
                }
                Key::Id(id) => {
                    sqlx::query_as(ask!("tenant_by_id"))
                        .bind::<Uuid>(id.as_uuid())
                        .fetch_optional(&mut conn)
                        .await?
                }
            };
            Ok::<_, StorageError>(found)
        };
        let found = found.await.map_err(Miss::Failed)?.ok_or(Miss::Unknown)?;
        if found.database_name() == MAIN || self.supported().is_empty() {
            return Ok(found.judged_by(self.supported()));
        }
        // The ledger stands beside the home. Out of reach, it is refused where a transaction is begun.
        match self.home_versions(&found).await {
            Ok(versions) => Ok(found.with_home_versions(versions).judged_by(self.supported())),
            Err(error) if error.is_unavailable() || error.unknown_database().is_some() => Ok(found),
            Err(error) => Err(Miss::Failed(error)),
        }
    }

    async fn home_versions(&self, tenant: &Tenant) -> Result<BTreeMap<String, i32>, StorageError> {
        let mut conn = self.begin_outside_in(tenant.database_name()).await?;
        let Json(versions) = sqlx::query_scalar("select platform.home_versions($1)")
            .bind(tenant.id().as_uuid())
            .fetch_one(&mut conn)
            .await?;
        Ok(versions)
    }
}
