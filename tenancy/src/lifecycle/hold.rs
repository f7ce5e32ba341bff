//! Legal holds: a tenant that is held by anybody is not deleted, whoever wants it.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{Lifecycle, LifecycleError, LifecycleRefusal, Order};
use crate::{TenantId, moves::hands::Hand};

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LegalHold {
    id: Uuid,
    holder: String,
    reason: String,
    placed_by: String,
    since: DateTime<Utc>,
}

impl LegalHold {
    /// By which it is released.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// For whom: a court, a department.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Who placed it, as `kind:id`.
    pub fn placed_by(&self) -> &str {
        &self.placed_by
    }

    /// Since when.
    pub fn since(&self) -> DateTime<Utc> {
        self.since
    }
}

const STANDING: &str = "select id, holder, reason, placed_by, since from platform.legal_holds
                         where tenant_id = $1 and released_at is null order by since, id";

pub(super) async fn standing(main: &mut Hand, tenant: TenantId) -> Result<Vec<LegalHold>, sqlx::Error> {
    sqlx::query_as(STANDING).bind(tenant.as_uuid()).fetch_all(&mut main.conn).await
}

impl Lifecycle {
    /// Keeps the tenant from being deleted, in whatever status it is, until this hold and every other is released. One
    /// that is being deleted stays where it is, and can be brought back.
    ///
    /// # Errors
    ///
    /// Refused without a reason or a holder, for an unknown tenant, and when its removal has begun
    /// ([`LifecycleRefusal::TooLate`]).
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn hold(
        &self,
        tenant: TenantId,
        holder: &str,
        order: &Order,
    ) -> Result<LegalHold, LifecycleError> {
        if order.reason().is_empty() || holder.trim().is_empty() {
            return Err(LifecycleRefusal::NoReason.into());
        }
        // Whoever is about to remove the tenant locks its row too. The next statement sees what was decided meanwhile.
        let mut tx = self.control.pool.begin().await?;
        let status: Option<String> =
            sqlx::query_scalar("select status from platform.tenants where id = $1 for update")
                .bind(tenant.as_uuid())
                .fetch_optional(&mut *tx)
                .await?;
        status.ok_or(LifecycleRefusal::UnknownTenant { tenant })?;
        let placed: Option<LegalHold> = sqlx::query_as(
            "with placed as (
               insert into platform.legal_holds (id, tenant_id, holder, reason, placed_by)
               select $1, id, $3, $4, $5 from platform.tenants
                where id = $2 and status <> 'deleted' and not exists (
                  select from platform.tenant_transitions where tenant_id = $2
                     and step in ('doomed', 'shredded', 'frozen', 'emptied', 'cleared'))
               returning *),
                  told as (
               insert into platform.security_events (kind, tenant_id, detail)
               select 'tenant.held', tenant_id, to_jsonb(placed) - 'tenant_id' from placed)
             select id, holder, reason, placed_by, since from placed",
        )
        .bind(Uuid::now_v7())
        .bind(tenant.as_uuid())
        .bind(holder.trim())
        .bind(order.reason())
        .bind(order.actor())
        .fetch_optional(&mut *tx)
        .await?;
        let placed = placed.ok_or(LifecycleRefusal::TooLate)?;
        tx.commit().await?;
        Ok(placed)
    }

    /// Lets go of one hold. The others stand.
    ///
    /// # Errors
    ///
    /// Refused without a reason, and when there is no such hold.
    pub async fn release(&self, hold: Uuid, order: &Order) -> Result<(), LifecycleError> {
        if order.reason().is_empty() {
            return Err(LifecycleRefusal::NoReason.into());
        }
        let done = sqlx::query(
            "with released as (
               update platform.legal_holds
                  set released_at = clock_timestamp(), released_by = $2, release_reason = $3
                where id = $1 and released_at is null returning *)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'tenant.released', tenant_id, to_jsonb(released) - 'tenant_id' from released",
        )
        .bind(hold)
        .bind(order.actor())
        .bind(order.reason())
        .execute(&self.control.pool)
        .await?;
        match done.rows_affected() {
            0 => Err(LifecycleRefusal::UnknownHold.into()),
            _ => Ok(()),
        }
    }

    /// The holds that stand, the oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn holds(&self, tenant: TenantId) -> Result<Vec<LegalHold>, LifecycleError> {
        Ok(sqlx::query_as(STANDING).bind(tenant.as_uuid()).fetch_all(&self.control.pool).await?)
    }
}
