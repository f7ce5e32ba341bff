//! Domains of tenants' own: claimed, proven by a record in DNS, removed.
//!
//! INVARIANT: a request is never taken to a tenant by a domain whose owner has not shown that this tenant may have it.
//! Any number of tenants may claim a domain; the claim that is proven first has it until it is removed, whoever proves
//! another one later.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::ControlPlane;
use crate::{Actor, Host, InvalidHost, StorageError, TenantId};

/// The label under which the proof stands.
const LABEL: &str = "_formwork-challenge";
const VALUE: &str = "formwork-domain-verification=";
/// What DNS leaves for a domain below which [`LABEL`] stands.
const LONGEST: usize = 253 - LABEL.len() - 1;

/// A tenant's claim to a domain, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct DomainClaim {
    host: String,
    challenge: Uuid,
    claimed_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
}

impl DomainClaim {
    /// The domain, in A-labels and lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Name of the TXT record that proves it.
    pub fn record_name(&self) -> String {
        format!("{LABEL}.{}", self.host)
    }

    /// Value of that record: a secret of nobody's, but of this tenant's claim alone.
    pub fn record_value(&self) -> String {
        format!("{VALUE}{}", self.challenge.simple())
    }

    /// When it was claimed.
    pub fn claimed_at(&self) -> DateTime<Utc> {
        self.claimed_at
    }

    /// Since when requests come to the tenant by it.
    pub fn verified_at(&self) -> Option<DateTime<Utc>> {
        self.verified_at
    }
}

/// A domain could not be claimed or proven.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DomainError {
    /// The text is no host.
    #[error("`{given}` is no domain")]
    Invalid {
        /// As given.
        given: String,
        /// What is wrong with it.
        source: InvalidHost,
    },
    /// A host that no tenant can have as its own.
    #[error("`{host}` cannot be a tenant's own: {why}")]
    Refused {
        /// The host, in normal form.
        host: String,
        /// Why not.
        why: &'static str,
    },
    /// The tenant has not claimed it.
    #[error("the tenant has not claimed `{host}`: add it first")]
    NotClaimed {
        /// The host, in normal form.
        host: String,
    },
    /// The record is not among what was found.
    #[error("`{host}` is not proven: DNS must have a TXT record `{name}` with the value `{value}`")]
    NotProven {
        /// The host, in normal form.
        host: String,
        /// Where the record should be.
        name: String,
        /// What it should say.
        value: String,
    },
    /// Another tenant has proven it and has it still.
    #[error("`{host}` is another tenant's: it has to be removed there first")]
    Taken {
        /// The host, in normal form.
        host: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for DomainError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

impl ControlPlane {
    /// Claims a domain for a tenant, and answers what proves it; claimed again, the proof stays the same. Letters beyond
    /// ASCII become A-labels. Until it is proven nothing comes by it.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     control: formwork_tenancy::ControlPlane, acme: formwork_tenancy::TenantId, found: Vec<String>,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// # use formwork_tenancy::Actor;
    /// let claim = control.add_domain(acme, "build.acme.example").await?;
    /// println!("TXT {} {}", claim.record_name(), claim.record_value());
    /// // Later, with the TXT records that DNS has under that name:
    /// control.verify_domain(acme, "build.acme.example", &found, &Actor::system("domains")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`DomainError::Invalid`]; [`DomainError::Refused`] for addresses, names without a dot, and the platform's own
    /// domains; [`DomainError::Storage`] when the tenant does not exist.
    pub async fn add_domain(&self, tenant: TenantId, domain: &str) -> Result<DomainClaim, DomainError> {
        let host = self.open_to_tenants(domain)?;
        sqlx::query(
            "insert into platform.tenant_domains (tenant_id, host) values ($1, $2) on conflict do nothing",
        )
        .bind(tenant.as_uuid())
        .bind(host.as_str())
        .execute(&self.pool)
        .await?;
        self.claim_of(tenant, &host).await
    }

    /// Takes the domain into service for the tenant that has claimed it, when its record is among `found`: the values of
    /// all TXT records that DNS has under [`DomainClaim::record_name`], each with its strings joined. Asking DNS is the
    /// application's, who knows which resolver it trusts.
    ///
    /// # Errors
    ///
    /// [`DomainError::NotClaimed`], [`DomainError::NotProven`], [`DomainError::Taken`].
    pub async fn verify_domain(
        &self,
        tenant: TenantId,
        domain: &str,
        found: &[impl AsRef<str>],
        verified_by: &Actor,
    ) -> Result<DomainClaim, DomainError> {
        let host = self.open_to_tenants(domain)?;
        let claim = self.claim_of(tenant, &host).await?;
        if !found.iter().any(|value| value.as_ref().trim() == claim.record_value()) {
            let (name, value) = (claim.record_name(), claim.record_value());
            return Err(DomainError::NotProven { host: claim.host, name, value });
        }
        // With the challenge, or a claim that was removed and made again meanwhile would be proven by the old record.
        let proven = sqlx::query(
            "with proven as (
               update platform.tenant_domains set verified_at = clock_timestamp()
                where tenant_id = $1 and host = $2 and challenge = $3 and verified_at is null returning *),
             noticed as (
               update platform.tenants t set version = version + 1 from proven where t.id = proven.tenant_id)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'domain.verified', tenant_id, jsonb_build_object('host', host, 'by', $4::text) from proven",
        )
        .bind(tenant.as_uuid())
        .bind(host.as_str())
        .bind(claim.challenge)
        .bind(verified_by.to_string())
        .execute(&self.pool)
        .await;
        match proven.map_err(StorageError::from) {
            Err(error) if error.is_conflict() => Err(DomainError::Taken { host: claim.host }),
            Err(error) => Err(error.into()),
            Ok(_) => self.claim_of(tenant, &host).await,
        }
    }

    /// Removes the tenant's claim, proven or not. Answers whether there was one. Requests stop coming by it within a
    /// second.
    ///
    /// # Errors
    ///
    /// [`DomainError::Invalid`], or the database failed.
    pub async fn remove_domain(
        &self,
        tenant: TenantId,
        domain: &str,
        removed_by: &Actor,
    ) -> Result<bool, DomainError> {
        let host = parsed(domain)?;
        let done = sqlx::query(
            "with removed as (
               delete from platform.tenant_domains where tenant_id = $1 and host = $2 returning *),
             noticed as (
               update platform.tenants t set version = version + 1 from removed where t.id = removed.tenant_id)
             insert into platform.security_events (kind, tenant_id, detail)
             select 'domain.removed', tenant_id,
                    jsonb_build_object('host', host, 'was_verified', verified_at is not null, 'by', $3::text)
               from removed",
        )
        .bind(tenant.as_uuid())
        .bind(host.as_str())
        .bind(removed_by.to_string())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All claims of a tenant, by name.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn domains(&self, tenant: TenantId) -> Result<Vec<DomainClaim>, StorageError> {
        Ok(sqlx::query_as(
            "select host, challenge, claimed_at, verified_at from platform.tenant_domains
              where tenant_id = $1 order by host",
        )
        .bind(tenant.as_uuid())
        .fetch_all(&self.pool)
        .await?)
    }

    async fn claim_of(&self, tenant: TenantId, host: &Host) -> Result<DomainClaim, DomainError> {
        let claim: Option<DomainClaim> = sqlx::query_as(
            "select host, challenge, claimed_at, verified_at from platform.tenant_domains
              where tenant_id = $1 and host = $2",
        )
        .bind(tenant.as_uuid())
        .bind(host.as_str())
        .fetch_optional(&self.pool)
        .await?;
        claim.ok_or_else(|| DomainError::NotClaimed { host: host.to_string() })
    }

    /// A domain that a tenant can have: below another name, and not the platform's.
    fn open_to_tenants(&self, domain: &str) -> Result<Host, DomainError> {
        let host = parsed(domain)?;
        let ours = |base: &Host| &host == base || host.below(base).is_some();
        let why = if !host.is_name() {
            Some("it is an address")
        } else if !host.as_str().contains('.') {
            Some("it has no dot, so it is nobody's alone")
        } else if host.as_str().len() > LONGEST {
            Some("it is too long for the record that proves it")
        } else if self.base_domains.iter().any(ours) {
            Some("it is the platform's own domain or below it: tenants answer there by their slugs")
        } else {
            None
        };
        match why {
            Some(why) => Err(DomainError::Refused { host: host.to_string(), why }),
            None => Ok(host),
        }
    }
}

/// A domain as somebody has typed it: unlike in a `Host` header, a port is no part of it.
fn parsed(given: &str) -> Result<Host, DomainError> {
    let invalid = |source| DomainError::Invalid { given: given.chars().take(100).collect(), source };
    if given.contains(':') && !given.starts_with('[') {
        return Err(invalid(InvalidHost::new("write it without a port or a scheme")));
    }
    given.parse().map_err(invalid)
}
