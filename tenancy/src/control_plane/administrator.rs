//! Leave for a platform administrator to work for one tenant, for a reason and for a time.

use std::time::Duration;

use uuid::Uuid;

use super::{ControlError, ControlPlane};
use crate::{Actor, TenantId};

/// Leave to be given. Its time begins when it is written.
#[derive(Debug, Clone)]
pub struct NewAdministratorGrant {
    administrator: Uuid,
    tenant: TenantId,
    reason: String,
    granted_by: String,
    duration: Duration,
    impersonates: Option<Uuid>,
}

impl NewAdministratorGrant {
    /// `administrator` may work for `tenant` for as long as `duration`, because of `reason`; `granted_by` answers
    /// for it.
    pub fn new(
        administrator: Uuid,
        tenant: TenantId,
        reason: impl Into<String>,
        granted_by: &Actor,
        duration: Duration,
    ) -> Self {
        let granted_by = granted_by.to_string();
        Self { administrator, tenant, reason: reason.into(), granted_by, duration, impersonates: None }
    }

    /// Not as an administrator, but as this member of the tenant, and as nobody else.
    #[must_use]
    pub fn impersonating(mut self, member: Uuid) -> Self {
        self.impersonates = Some(member);
        self
    }
}

impl ControlPlane {
    /// Gives leave, and answers its identity, which with the administrator's opens a session:
    /// [`Tenants::administrator_session`](crate::Tenants::administrator_session).
    ///
    /// # Errors
    ///
    /// [`ControlError::InvalidGrant`] without a reason or without time, or to act as somebody who is no member; [`ControlError::Storage`] when tenant or
    /// administrator do not exist, or the database fails.
    pub async fn grant_administrator(&self, grant: &NewAdministratorGrant) -> Result<Uuid, ControlError> {
        if grant.reason.trim().is_empty() {
            return Err(ControlError::InvalidGrant { why: "it needs a reason, which the tenant will read" });
        }
        if grant.duration < Duration::from_millis(1) {
            return Err(ControlError::InvalidGrant { why: "it needs a duration of a millisecond or more" });
        }
        let id = Uuid::now_v7();
        let made = sqlx::query(
            "with made as (
               insert into platform.administrator_grants
                 (id, administrator, tenant_id, reason, granted_by, granted_at, expires_at, impersonates)
               select $1, $2, $3, $4, $5, now_, now_ + make_interval(secs => $6), $7 from clock_timestamp() now_
                where $7 is null or exists (
                  select from platform.memberships m where m.tenant_id = $3 and m.user_id = $7)
               returning *)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'administrator.granted', tenant_id, to_jsonb(made) - 'tenant_id' from made",
        )
        .bind(id)
        .bind(grant.administrator)
        .bind(grant.tenant.as_uuid())
        .bind(grant.reason.trim())
        .bind(&grant.granted_by)
        .bind(grant.duration.as_secs_f64())
        .bind(grant.impersonates)
        .execute(&self.pool)
        .await?;
        if made.rows_affected() == 0 {
            return Err(ControlError::InvalidGrant {
                why: "who is to be impersonated is no member of the tenant",
            });
        }
        Ok(id)
    }

    /// Takes leave back: no transaction is begun by it any more. Answers whether it was still in force.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke_administrator(&self, grant: Uuid, revoked_by: &Actor) -> Result<bool, ControlError> {
        let done = sqlx::query(
            "with taken as (
               update platform.administrator_grants set revoked_at = clock_timestamp()
                where id = $1 and revoked_at is null and expires_at > clock_timestamp() returning *)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'administrator.revoked', tenant_id, jsonb_build_object('grant', id, 'by', $2::text) from taken",
        )
        .bind(grant)
        .bind(revoked_by.to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}
