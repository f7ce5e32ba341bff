//! What a job or an event carries, so that whoever does it does it as the same actor for the same tenant.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Actor, CommitToken, Session, Status, StorageError, TenantId, Tenants};

/// A session's context, written down.
///
/// It grants nothing by itself: whoever can write one can act as anybody in it, so it belongs where only the service
/// writes, such as a job's row in the tenant's own home or a signed message.
///
/// ```
/// use formwork_tenancy::Envelope;
///
/// let text = r#"{"v":1,"tenant":"0198a0b2-0000-7000-8000-000000000001",
///                "actor":{"type":"system","id":"import"},"request_id":"r-7"}"#;
/// let envelope: Envelope = serde_json::from_str(text)?;
/// assert_eq!(envelope.actor().to_string(), "system:import");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    v: Version,
    tenant: TenantId,
    actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<CommitToken>,
}

/// The one form there is: another is refused and not misread.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Version;

impl TryFrom<u8> for Version {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number == 1 {
            Ok(Self)
        } else {
            Err(format!("an envelope of version {number}: this reads version 1"))
        }
    }
}

impl From<Version> for u8 {
    fn from(_: Version) -> Self {
        1
    }
}

/// No session can be made of an envelope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Its tenant is gone.
    #[error("tenant {tenant} of the envelope does not exist: drop the job")]
    Unknown {
        /// As it was written.
        tenant: TenantId,
    },
    /// Its tenant is not served now.
    #[error("tenant {tenant} of the envelope is {status}: try again when it is active, or drop the job")]
    NotActive {
        /// As it was written.
        tenant: TenantId,
        /// Where it stands.
        status: Status,
    },
    /// The registry could not be asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Session {
    /// This session's context for a job that comes after it. With the commit's token the job sees what was
    /// written before it.
    pub fn envelope(&self, token: Option<&CommitToken>) -> Envelope {
        Envelope {
            v: Version,
            tenant: self.tenant_id(),
            actor: self.actor().clone(),
            request_id: self.correlation().map(str::to_owned),
            ip: self.client_ip(),
            user_agent: self.client_agent().map(str::to_owned),
            token: token.cloned(),
        }
    }
}

impl Envelope {
    /// Whose work it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The state that the work must see at least.
    pub fn token(&self) -> Option<&CommitToken> {
        self.token.as_ref().filter(|token| token.tenant() == self.tenant)
    }
}

impl Tenants {
    /// The session of which the envelope was made, with the tenant as it is now: it may have moved.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the tenant is not served any more.
    pub async fn session_of(&self, envelope: &Envelope) -> Result<Session, EnvelopeError> {
        let id = envelope.tenant;
        let tenant = self.by_id(id).await?.ok_or(EnvelopeError::Unknown { tenant: id })?;
        if tenant.status() != Status::Active {
            return Err(EnvelopeError::NotActive { tenant: id, status: tenant.status() });
        }
        let mut session = Session::new(&tenant, envelope.actor.clone());
        if let Some(id) = &envelope.request_id {
            session = session.request_id(id);
        }
        if let Some(ip) = envelope.ip {
            session = session.ip(ip);
        }
        if let Some(agent) = &envelope.user_agent {
            session = session.user_agent(agent);
        }
        if let Some(token) = envelope.token() {
            session = session.at_least(token);
        }
        Ok(session)
    }
}
