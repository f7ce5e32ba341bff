//! A platform administrator's session: one tenant's, by leave of a grant, for as long as it is in force.
//!
//! No policy knows of administrators. Before each of their transactions the grant is asked for, by the database's
//! clock and in a transaction of its own, which leaves a line in the platform's security events whatever becomes of
//! the work. What they do inside is the tenant's to read in its own audit trail, with the reason.

use std::fmt;

use serde_json::json;
use uuid::Uuid;

use crate::{Actor, Refusal, Session, StorageError, TenantId, Tenants, TxOptions};

/// By what leave a session acts: the grant, and why it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    grant: Uuid,
    reason: String,
}

impl Authority {
    /// The grant.
    pub fn grant(&self) -> Uuid {
        self.grant
    }

    /// Why it was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// As it stands in the tenant's audit trail.
impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "administrator grant {}: {}", self.grant, self.reason)
    }
}

/// Why an administrator may not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdministratorRefusal {
    /// There is no such grant of this administrator for this tenant.
    #[error("there is no such grant of this administrator for this tenant")]
    Unknown,
    /// Its time is over.
    #[error("the administrator's grant has expired: ask for a new one")]
    Expired,
    /// It was taken back.
    #[error("the administrator's grant was revoked")]
    Revoked,
}

impl Tenants {
    /// The session in which `administrator` works for the tenant of `grant`. Each transaction of it is begun only
    /// while the grant is in force, and costs one more.
    ///
    /// ```no_run
    /// # async fn example(tenants: formwork_tenancy::Tenants, grant: uuid::Uuid, me: uuid::Uuid)
    /// # -> Result<(), formwork_tenancy::StorageError> {
    /// let session = tenants.administrator_session(grant, me).await?.request_id("r-1");
    /// let tx = tenants.begin_read(&session).await?;
    /// # drop(tx);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StorageError::refusal`] tells a grant that is not in force; otherwise the database failed.
    pub async fn administrator_session(
        &self,
        grant: Uuid,
        administrator: Uuid,
    ) -> Result<Session, StorageError> {
        let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
        let found: Option<(Uuid, String)> =
            sqlx::query_as("select * from platform.administrator_grant($1, $2)")
                .bind(grant)
                .bind(administrator)
                .fetch_optional(&mut conn)
                .await?;
        conn.rollback().await?;
        let unknown = || StorageError::from(Refusal::Administrator(AdministratorRefusal::Unknown));
        let (tenant, reason) = found.ok_or_else(unknown)?;
        let tenant = self.by_id(TenantId::from(tenant)).await?.ok_or_else(unknown)?;
        let actor = Actor::Administrator { user: administrator, grant };
        let session = Session::new(&tenant, actor).with_authority(Authority { grant, reason });
        self.admit(&session).await?;
        Ok(session)
    }

    /// Whether a transaction may be begun for this session, as far as administrators are concerned.
    pub(crate) async fn admit(&self, session: &Session) -> Result<(), StorageError> {
        let Actor::Administrator { user, grant } = *session.actor() else { return Ok(()) };
        let refuse = |why| Err(StorageError::from(Refusal::Administrator(why)));
        if session.authority().is_none_or(|authority| authority.grant != grant) {
            return refuse(AdministratorRefusal::Unknown);
        }
        let detail = json!({
            "request_id": session.correlation(),
            "ip": session.client_ip().map(|ip| ip.to_string()),
        });
        let mut conn = self.begin_outside(TxOptions::new()).await?;
        let answer: String = sqlx::query_scalar("select platform.use_administrator_grant($1, $2, $3, $4)")
            .bind(grant)
            .bind(user)
            .bind(session.tenant_id().as_uuid())
            .bind(detail)
            .fetch_one(&mut conn)
            .await?;
        // Without its line in the security events nothing is begun.
        let stored = conn.commit("select 1".to_owned()).await;
        if let Some(error) = stored.error {
            return Err(error.into());
        }
        match answer.as_str() {
            "active" => Ok(()),
            "expired" => refuse(AdministratorRefusal::Expired),
            "revoked" => refuse(AdministratorRefusal::Revoked),
            _ => refuse(AdministratorRefusal::Unknown),
        }
    }
}
