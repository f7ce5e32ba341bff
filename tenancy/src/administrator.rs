//! A platform administrator's session: one tenant's, by leave of a grant, for as long as it is in force.
//!
//! No policy knows of administrators. Before each of their transactions the grant is asked for, by the database's clock;
//! before the first of a session a line is written into the tenant's own audit trail, which says who came in, as whom and
//! why. Both are committed before anything is handed out, so no rollback takes them back.
//!
//! INVARIANT: without the line nothing is begun. A home without a trail lets no administrator in.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::FromRow;
use uuid::Uuid;

use crate::{
    Actor, CommitError, Refusal, Session, StorageError, TenantId, TenantTx, Tenants, TxOptions,
    conn::TenantConn, databases::MAIN,
};

/// By what leave a session acts: the grant, whose it is, and why it was given.
#[derive(Debug, Clone)]
pub struct Authority {
    grant: Uuid,
    administrator: Uuid,
    impersonates: Option<Uuid>,
    reason: String,
    until: DateTime<Utc>,
    entry: Arc<Entry>,
}

/// The line in the tenant's trail: one a session, whatever is cloned of it.
#[derive(Debug)]
struct Entry {
    id: Uuid,
    written: AtomicBool,
}

impl Authority {
    /// The grant.
    pub fn grant(&self) -> Uuid {
        self.grant
    }

    /// Whose it is.
    pub fn administrator(&self) -> Uuid {
        self.administrator
    }

    /// The member of the tenant as whom the administrator acts, if not as an administrator.
    pub fn impersonates(&self) -> Option<Uuid> {
        self.impersonates
    }

    /// Why it was given.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Until when it is in force, unless it is taken back.
    pub fn until(&self) -> DateTime<Utc> {
        self.until
    }

    fn actor(&self) -> Actor {
        match self.impersonates {
            Some(user) => Actor::User(user),
            None => Actor::Administrator { user: self.administrator, grant: self.grant },
        }
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        (self.grant, self.administrator, self.impersonates, &self.reason, self.until)
            == (other.grant, other.administrator, other.impersonates, &other.reason, other.until)
    }
}

impl Eq for Authority {}

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
    /// As whom they were to act is no active member of the tenant.
    #[error("who is to be impersonated is no active member of the tenant")]
    NoMember,
    /// The tenant's home has nothing that the tenant could read it in.
    #[error(
        "the tenant has no audit trail, so no administrator comes in: migrate its home with the set `audit`"
    )]
    NoTrail,
}

/// A grant, as the platform has it.
#[derive(FromRow)]
struct Grant {
    tenant_id: Uuid,
    reason: String,
    impersonates: Option<Uuid>,
    expires_at: DateTime<Utc>,
}

impl Tenants {
    /// The session in which `administrator` works for the tenant of `grant`: as an administrator, or as the member whom
    /// the grant names ([`Session::impersonator`]). Each transaction of it is begun only while the grant is in force,
    /// and costs one more, the first of them with its line in the tenant's own audit trail.
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
        let found: Option<Grant> = sqlx::query_as("select * from platform.administrator_grant($1, $2)")
            .bind(grant)
            .bind(administrator)
            .fetch_optional(&mut conn)
            .await?;
        conn.rollback().await?;
        let unknown = || StorageError::from(Refusal::Administrator(AdministratorRefusal::Unknown));
        let found = found.ok_or_else(unknown)?;
        let tenant = self.by_id(TenantId::from(found.tenant_id)).await?.ok_or_else(unknown)?;
        let authority = Authority {
            grant,
            administrator,
            impersonates: found.impersonates,
            reason: found.reason,
            until: found.expires_at,
            entry: Arc::new(Entry { id: Uuid::now_v7(), written: AtomicBool::new(false) }),
        };
        let session = Session::new(&tenant, authority.actor()).with_authority(authority);
        if let Some(authority) = session.authority() {
            self.use_grant_outside(&session, authority).await?;
        }
        Ok(session)
    }

    /// Whether a transaction may be begun for this session, as far as administrators are concerned.
    pub(crate) async fn admit(&self, session: &Session) -> Result<(), StorageError> {
        let Some(authority) = session.authority() else {
            return match session.actor() {
                Actor::Administrator { .. } => refuse(AdministratorRefusal::Unknown),
                _ => Ok(()),
            };
        };
        if *session.actor() != authority.actor() {
            return refuse(AdministratorRefusal::Unknown);
        }
        if authority.entry.written.load(Ordering::Acquire) {
            return self.use_grant_outside(session, authority).await;
        }
        if session.tenant().database_name() == MAIN {
            // The use of the grant and the tenant's line in one transaction.
            let mut tx = self.begin_unasked(session).await?;
            let answer = use_grant(&mut tx, session, authority).await?;
            if answer.is_ok() {
                write_line(&mut tx, authority).await?;
            }
            stored(tx).await?;
            answer.or_else(refuse)?;
        } else {
            self.use_grant_outside(session, authority).await?;
            let mut tx = self.begin_unasked(session).await?;
            write_line(&mut tx, authority).await?;
            stored(tx).await?;
        }
        authority.entry.written.store(true, Ordering::Release);
        Ok(())
    }

    async fn use_grant_outside(&self, session: &Session, authority: &Authority) -> Result<(), StorageError> {
        let mut conn = self.begin_outside(TxOptions::new()).await?;
        let answer = use_grant(&mut conn, session, authority).await?;
        // Without its line in the security events nothing is begun.
        let stored = conn.commit("select 1".to_owned()).await;
        match stored.error {
            Some(error) => Err(error.into()),
            None => answer.or_else(refuse),
        }
    }
}

fn refuse<T>(why: AdministratorRefusal) -> Result<T, StorageError> {
    Err(Refusal::Administrator(why).into())
}

async fn use_grant(
    conn: &mut TenantConn,
    session: &Session,
    authority: &Authority,
) -> Result<Result<(), AdministratorRefusal>, StorageError> {
    let detail = json!({
        "request_id": session.correlation(),
        "ip": session.client_ip().map(|ip| ip.to_string()),
    });
    let answer: String = sqlx::query_scalar("select platform.use_administrator_grant($1, $2, $3, $4, $5)")
        .bind(authority.grant)
        .bind(authority.administrator)
        .bind(session.tenant_id().as_uuid())
        .bind(authority.impersonates)
        .bind(detail)
        .fetch_one(conn)
        .await?;
    Ok(match answer.as_str() {
        "active" => Ok(()),
        "expired" => Err(AdministratorRefusal::Expired),
        "revoked" => Err(AdministratorRefusal::Revoked),
        "no-member" => Err(AdministratorRefusal::NoMember),
        _ => Err(AdministratorRefusal::Unknown),
    })
}

/// The line in the tenant's own trail. The function is the home's: a crate above this one brings it.
async fn write_line(tx: &mut TenantTx, authority: &Authority) -> Result<(), StorageError> {
    let session = tx.session().clone();
    let action = match authority.impersonates {
        Some(_) => "administrator.impersonated",
        None => "administrator.entered",
    };
    let written = sqlx::query("select record_platform_line($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(authority.entry.id)
        .bind(action)
        .bind("administrator")
        .bind(authority.administrator.to_string())
        .bind(authority.impersonates.map(|user| user.to_string()))
        .bind(&authority.reason)
        .bind(json!({ "grant": authority.grant, "until": authority.until }))
        .bind(session.correlation())
        .bind(session.client_ip().map(|ip| ip.to_string()))
        .bind(session.client_agent())
        .execute(&mut **tx)
        .await;
    match written {
        Ok(_) => Ok(()),
        // No such function.
        Err(error) if error.as_database_error().and_then(|e| e.code()).as_deref() == Some("42883") => {
            refuse(AdministratorRefusal::NoTrail)
        }
        Err(error) => Err(error.into()),
    }
}

async fn stored(tx: TenantTx) -> Result<(), StorageError> {
    match tx.commit().await {
        Ok(_) | Err(CommitError::WithoutToken(_)) => Ok(()),
        Err(error) => Err(error.storage().clone()),
    }
}
