//! Retention of the audit trail: removing what a signed tombstone says may go, a legal hold first.
//!
//! `formwork-tenancy` knows the home's functions by their names alone. INVARIANT: each batch goes while nobody can place a
//! hold on the tenant, and only after it was seen that there is none.

use sqlx::AssertSqlSafe;

use super::{Lifecycle, LifecycleError, LifecycleFault, LifecycleRefusal, Order, hold};
use crate::{
    TenantId,
    control_plane::SHARED,
    databases::MAIN,
    moves::hands::{Hand, Role},
};

impl Lifecycle {
    /// Removes the events that the tombstone with this number covers, in batches; answers how many went. Done again, it
    /// goes on. `formwork-audit`'s `Sealer::bury` signs tombstones.
    ///
    /// # Errors
    ///
    /// Refused for a tenant on legal hold, without a reason, while it has a move, and for a tenant that is not there; the
    /// database's failure when there is no such tombstone.
    pub async fn remove_events(
        &self,
        tenant: TenantId,
        tombstone: u64,
        order: &Order,
    ) -> Result<u64, LifecycleError> {
        if order.reason().is_empty() {
            return Err(LifecycleRefusal::NoReason.into());
        }
        let removed = self.remove_buried(tenant, tombstone, order).await;
        removed.map_err(LifecycleFault::before_anything)
    }

    async fn remove_buried(
        &self,
        tenant: TenantId,
        tombstone: u64,
        order: &Order,
    ) -> Result<u64, LifecycleFault> {
        let mut main = Hand::open(&self.control, Role::Main, MAIN, tenant).await?;
        let place: Option<(String, String)> = sqlx::query_as(
            "select database_name, schema_name from platform.tenants where id = $1 and status <> 'deleted'",
        )
        .bind(tenant.as_uuid())
        .fetch_optional(&mut main.conn)
        .await?;
        let (database, schema) = place.ok_or(LifecycleRefusal::UnknownTenant { tenant })?;
        let mut home = Hand::open(&self.control, Role::Source, &database, tenant).await?;
        let remove = format!("select {schema}.remove_audit_events($1, $2)");
        let mut removed = 0;
        loop {
            // Whoever places a hold takes this row too, and so waits for the end of the batch.
            main.run("begin").await?;
            may_be_removed(&mut main, tenant).await?;
            is_home_live(&mut home, tenant, &schema).await?;
            let gone: i64 = sqlx::query_scalar(AssertSqlSafe(&*remove))
                .bind(tombstone as i64)
                .bind(self.batch as i32)
                .fetch_one(&mut home.conn)
                .await?;
            removed += gone as u64;
            if gone == 0 {
                break;
            }
            main.commit().await?;
        }
        tell(&mut main, tenant, tombstone, removed, order).await?;
        main.commit().await?;
        Ok(removed)
    }

    /// Drops what no tenant has anything in any more: the partitions of months that are over, in every database; answers
    /// how many went.
    ///
    /// # Errors
    ///
    /// When a database fails, or a partition is in use for longer than two seconds.
    pub async fn drop_empty_partitions(&self) -> Result<u64, LifecycleError> {
        let mut dropped = 0;
        for (name, _) in self.control.databases() {
            let pool = self.control.pool_of(name).map_err(LifecycleRefusal::UnknownDatabase)?;
            let there: bool = sqlx::query_scalar("select to_regprocedure($1) is not null")
                .bind(format!("{SHARED}.drop_audit_partitions()"))
                .fetch_one(pool)
                .await?;
            if there {
                let count: i32 =
                    sqlx::query_scalar(AssertSqlSafe(format!("select {SHARED}.drop_audit_partitions()")))
                        .fetch_one(pool)
                        .await?;
                dropped += count as u64;
            }
        }
        Ok(dropped)
    }
}

async fn may_be_removed(main: &mut Hand, tenant: TenantId) -> Result<(), LifecycleFault> {
    sqlx::query("select from platform.tenants where id = $1 for update")
        .bind(tenant.as_uuid())
        .execute(&mut main.conn)
        .await?;
    let holds = hold::standing(main, tenant).await?;
    if holds.is_empty() { Ok(()) } else { Err(LifecycleRefusal::Held { holds }.into()) }
}

/// A home that is copied has to stay as it is.
async fn is_home_live(home: &mut Hand, tenant: TenantId, schema: &str) -> Result<(), LifecycleFault> {
    let live: bool = sqlx::query_scalar(
        "select exists (select from platform.homes where tenant_id = $1 and schema_name = $2 and state = 'live')",
    )
    .bind(tenant.as_uuid())
    .bind(schema)
    .fetch_one(&mut home.conn)
    .await?;
    if live { Ok(()) } else { Err(LifecycleRefusal::Moving.into()) }
}

async fn tell(
    main: &mut Hand,
    tenant: TenantId,
    tombstone: u64,
    removed: u64,
    order: &Order,
) -> Result<(), LifecycleFault> {
    sqlx::query(
        "insert into platform.security_events (kind, tenant_id, detail)
         select 'tenant.events-removed', $1,
                jsonb_build_object('tombstone', $2::bigint, 'events', $3::bigint, 'actor', $4::text, 'reason', $5::text)
          where $3::bigint > 0",
    )
    .bind(tenant.as_uuid())
    .bind(tombstone as i64)
    .bind(removed as i64)
    .bind(order.actor())
    .bind(order.reason())
    .execute(&mut main.conn)
    .await?;
    Ok(())
}
