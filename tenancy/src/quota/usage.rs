//! How a tenant stands, its exceptions, and tidying up.

use super::{QuotaError, Quotas, take::unsigned};
use crate::{StorageError, TenantTx};

/// How much of a resource the tenant has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    limit: Option<u64>,
    used: u64,
    reserved: u64,
    period: String,
}

impl Usage {
    /// The limit in force; none is without limit.
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Units that are used.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Units that are set aside, without what has expired.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// The running period, as `2026-11`; empty when the count never begins anew.
    pub fn period(&self) -> &str {
        &self.period
    }
}

impl Quotas {
    /// How the tenant stands in the running period. It locks nothing, and does in a transaction that may not write.
    ///
    /// # Errors
    ///
    /// When the resource has no quota, or the database fails.
    pub async fn usage(&self, tx: &mut TenantTx, resource: &str) -> Result<Usage, QuotaError> {
        let terms = self.terms(tx.tenant(), resource)?;
        let zone = tx.tenant().time_zone().to_owned();
        let (period, limit, used, reserved): (String, Option<i64>, i64, i64) = sqlx::query_as(
            "select p.period, quota_limit($1, $2), coalesce(u.used, 0),
                    coalesce(u.reserved, 0) - (
                      select coalesce(sum(r.units), 0)::bigint from quota_reservations r
                       where r.resource = $1 and r.period = p.period and r.expires_at <= clock_timestamp())
               from (select quota_period($3, $4) as period) p
               left join quota_usage u on u.resource = $1 and u.period = p.period",
        )
        .bind(resource)
        .bind(terms.units)
        .bind(terms.kind)
        .bind(zone)
        .fetch_one(&mut **tx)
        .await?;
        Ok(Usage { limit: limit.map(unsigned), used: unsigned(used), reserved: unsigned(reserved), period })
    }

    /// Gives the tenant a limit of its own instead of its plan's; none is without limit. Who may do so is for the
    /// service to ask. A limit below what is used refuses what comes next, and takes nothing away.
    ///
    /// # Errors
    ///
    /// When the resource has no quota, or the database fails.
    pub async fn set_limit(
        &self,
        tx: &mut TenantTx,
        resource: &str,
        limit: Option<u64>,
    ) -> Result<(), QuotaError> {
        self.terms(tx.tenant(), resource)?;
        let units = limit.map(|units| i64::try_from(units).unwrap_or(i64::MAX));
        sqlx::query(
            "insert into quota_limits (resource, units) values ($1, $2)
             on conflict (tenant_id, resource) do update set units = excluded.units",
        )
        .bind(resource)
        .bind(units)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }

    /// Puts the tenant back on its plan's limit.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn clear_limit(&self, tx: &mut TenantTx, resource: &str) -> Result<(), StorageError> {
        let delete = sqlx::query("delete from quota_limits where resource = $1");
        delete.bind(resource).execute(&mut **tx).await?;
        Ok(())
    }

    /// Removes what has expired; answers how many reservations. Nothing hangs on it but their place on the disk.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn purge(&self, tx: &mut TenantTx) -> Result<u64, StorageError> {
        let count: i64 = sqlx::query_scalar("select quota_purge()").fetch_one(&mut **tx).await?;
        Ok(unsigned(count))
    }
}
