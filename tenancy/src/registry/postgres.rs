//! The questions to the control plane's database, and to the databases that homes are in.
//!
//! Every one names exact keys, so that nobody is told of a tenant that he did not know.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::{FromRow, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::Key;
use crate::{StorageError, Tenant, TenantId, Tenants, databases::MAIN, tenant::TenantEntry};

/// Tenants in one question after changes.
const HELD: usize = 1_000;

/// A key, and the tenant that has it.
struct Found(Key, TenantEntry);

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let key: String = row.try_get("asked_key")?;
        let entry = TenantEntry::from_row(row)?;
        let key = match row.try_get("asked")? {
            "slug" => Key::Slug(key),
            "domain" => Key::Domain(key),
            _ => Key::Id(entry.id),
        };
        Ok(Self(key, entry))
    }
}

/// The tenants that have these keys.
pub(super) async fn by_keys(
    tenants: &Tenants,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Key, TenantEntry>, StorageError> {
    let (mut slugs, mut hosts, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for key in keys {
        match key {
            Key::Slug(slug) => slugs.push(slug.as_str()),
            Key::Domain(host) => hosts.push(host.as_str()),
            Key::Id(id) => ids.push(id.as_uuid()),
        }
    }
    let mut conn = tenants.begin_for_registry(MAIN).await?;
    let found: Vec<Found> = sqlx::query_as("select * from platform.tenants_by_keys($1, $2, $3)")
        .bind(slugs)
        .bind(hosts)
        .bind(ids)
        .fetch_all(&mut conn)
        .await?;
    Ok(found.into_iter().map(|Found(key, entry)| (key, entry)).collect())
}

/// Those of them that the registry says other things of now, or nothing.
pub(super) async fn changed(tenants: &Tenants, held: &[Tenant]) -> Result<HashSet<TenantId>, StorageError> {
    let mut changed = HashSet::new();
    let mut conn = tenants.begin_for_registry(MAIN).await?;
    let mut rest = held;
    loop {
        let (some, others) = rest.split_at(rest.len().min(HELD));
        let ids: Vec<Uuid> = sqlx::query_scalar("select * from platform.tenants_changed($1, $2, $3)")
            .bind(some.iter().map(|tenant| tenant.id().as_uuid()).collect::<Vec<_>>())
            .bind(some.iter().map(Tenant::version).collect::<Vec<_>>())
            .bind(some.iter().map(Tenant::home_stamp).collect::<Vec<_>>())
            .fetch_all(&mut conn)
            .await?;
        changed.extend(ids.into_iter().map(TenantId::from));
        rest = others;
        if rest.is_empty() {
            return Ok(changed);
        }
    }
}

/// The versions of the sets of these tenants' homes, which stand beside the homes.
pub(super) async fn home_versions(
    tenants: &Tenants,
    database: &str,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, BTreeMap<String, i32>>, StorageError> {
    let mut conn = tenants.begin_for_registry(database).await?;
    let rows: Vec<(Uuid, Json<BTreeMap<String, i32>>)> =
        sqlx::query_as("select id, platform.home_versions(id) from unnest($1::uuid[]) t (id)")
            .bind(ids)
            .fetch_all(&mut conn)
            .await?;
    Ok(rows.into_iter().map(|(id, Json(versions))| (id, versions)).collect())
}

/// What the nodes of this control plane know each other by.
#[cfg(feature = "redis")]
pub(super) async fn registry_key(tenants: &Tenants) -> Result<Vec<u8>, StorageError> {
    let mut conn = tenants.begin_for_registry(MAIN).await?;
    Ok(sqlx::query_scalar("select platform.registry_key()").fetch_one(&mut conn).await?)
}
