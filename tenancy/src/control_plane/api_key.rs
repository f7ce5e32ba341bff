//! API keys of a tenant: made and shown once, listed without what they are, revoked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::{ControlError, ControlPlane};
use crate::{
    Actor, StorageError, TenantId,
    resolve::{ApiKeyDigest, ApiKeySecret},
};

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    name: String,
    created_by: String,
    lifetime: Option<Duration>,
}

impl NewApiKey {
    /// Named for people, by what it is for; `created_by` answers for it.
    pub fn new(name: impl Into<String>, created_by: &Actor) -> Self {
        Self { name: name.into(), created_by: created_by.to_string(), lifetime: None }
    }

    /// It expires after this time, by the database's clock. Without it, it is good until it is revoked.
    #[must_use]
    pub fn lifetime(mut self, time: Duration) -> Self {
        self.lifetime = Some(time);
        self
    }
}

/// What is known of a key: enough to recognise it, not enough to use it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ApiKey {
    id: Uuid,
    name: String,
    prefix: String,
    last_four: String,
    created_by: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Identity, by which it stands in the audit trail.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What it is for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its text begins and ends: `fwk_0123456789ab_..cdef`.
    pub fn hint(&self) -> String {
        format!("fwk_{}_..{}", self.prefix, self.last_four)
    }

    /// Who answers for it.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// When it was made.
    pub fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Until when it is good, when that was said.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at
    }

    /// When it was taken back.
    pub fn revoked_at(&self) -> Option<DateTime<Utc>> {
        self.revoked_at
    }
}

impl ControlPlane {
    /// Makes a key. Its text is in the answer and nowhere else: who loses it needs another one.
    ///
    /// ```no_run
    /// # async fn example(control: formwork_tenancy::ControlPlane, acme: formwork_tenancy::TenantId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use formwork_tenancy::{Actor, NewApiKey};
    ///
    /// let new = NewApiKey::new("nightly export", &Actor::system("console")).lifetime(Duration::from_secs(86_400));
    /// let (key, secret) = control.create_api_key(acme, &new).await?;
    /// println!("{}: {}, shown once", key.name(), secret.reveal());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ControlError::InvalidApiKey`] without a name or without time; [`ControlError::Storage`] when the tenant does
    /// not exist.
    pub async fn create_api_key(
        &self,
        tenant: TenantId,
        new: &NewApiKey,
    ) -> Result<(ApiKey, ApiKeySecret), ControlError> {
        if new.name.trim().is_empty() {
            return Err(ControlError::InvalidApiKey { why: "it needs a name, by which it is known again" });
        }
        if new.lifetime.is_some_and(|time| time < Duration::from_millis(1)) {
            return Err(ControlError::InvalidApiKey { why: "it needs a lifetime of a millisecond or more" });
        }
        let secret = ApiKeySecret::generate();
        let shapeless = ControlError::InvalidApiKey { why: "its text has not the shape of a key" };
        let digest = ApiKeyDigest::of(secret.reveal()).ok_or(shapeless)?;
        let made: ApiKey = sqlx::query_as(
            "with made as (
               insert into platform.api_keys
                 (id, tenant_id, name, prefix, hash, last_four, created_by, created_at, expires_at)
               select $1, $2, $3, $4, $5, $6, $7, now_, now_ + make_interval(secs => $8) from clock_timestamp() now_
               returning *),
             told as (
               insert into platform.security_events (kind, tenant_id, detail)
               select 'api_key.created', tenant_id,
                      jsonb_build_object('api_key', id, 'name', name, 'expires_at', expires_at, 'by', created_by)
                 from made)
             select * from made",
        )
        .bind(Uuid::now_v7())
        .bind(tenant.as_uuid())
        .bind(new.name.trim())
        .bind(digest.prefix())
        .bind(digest.hash())
        .bind(secret.last_four())
        .bind(&new.created_by)
        .bind(new.lifetime.map(|time| time.as_secs_f64()))
        .fetch_one(&self.pool)
        .await?;
        Ok((made, secret))
    }

    /// Takes a key of this tenant's back: within a second it is refused everywhere. Answers whether it was still to be
    /// taken back.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn revoke_api_key(
        &self,
        tenant: TenantId,
        key: Uuid,
        revoked_by: &Actor,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query(
            "with taken as (
               update platform.api_keys set revoked_at = clock_timestamp()
                where tenant_id = $1 and id = $2 and revoked_at is null returning *)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'api_key.revoked', tenant_id, jsonb_build_object('api_key', id, 'by', $3::text) from taken",
        )
        .bind(tenant.as_uuid())
        .bind(key)
        .bind(revoked_by.to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All keys of a tenant, the oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn api_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, StorageError> {
        Ok(sqlx::query_as(
            "select id, name, prefix, last_four, created_by, created_at, expires_at, revoked_at
               from platform.api_keys where tenant_id = $1 order by created_at, id",
        )
        .bind(tenant.as_uuid())
        .fetch_all(&self.pool)
        .await?)
    }
}
