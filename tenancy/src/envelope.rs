//! What a job or an event carries, so that whoever does it does it as the same actor for the same tenant.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Actor, AdministratorRefusal, CommitToken, Refusal, Session, Status, StorageError, TenantId, Tenants,
};

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
    impersonator: Option<Impersonator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<CommitToken>,
}

/// Who acts as the actor, and by what leave: looked up again before anything is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Impersonator {
    administrator: Uuid,
    grant: Uuid,
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
    /// The leave of the administrator who acts in it is not in force any more.
    #[error("the administrator of the envelope may not act: {0}: drop the job")]
    Administrator(AdministratorRefusal),
    /// The registry could not be asked.
    #[error(transparent)]
    Storage(StorageError),
}

impl From<StorageError> for EnvelopeError {
    fn from(error: StorageError) -> Self {
        match error.refusal() {
            Some(Refusal::Administrator(why)) => Self::Administrator(*why),
            _ => Self::Storage(error),
        }
    }
}

impl Session {
    /// This session's context for a job that comes after it. With the commit's token the job sees what was
    /// written before it.
    pub fn envelope(&self, token: Option<&CommitToken>) -> Envelope {
        Envelope {
            v: Version,
            tenant: self.tenant_id(),
            actor: self.actor().clone(),
            impersonator: self
                .authority()
                .filter(|leave| leave.impersonates().is_some())
                .map(|leave| Impersonator { administrator: leave.administrator(), grant: leave.grant() }),
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

    /// Grant and administrator, when one acts.
    fn leave(&self) -> Option<(Uuid, Uuid)> {
        match (&self.actor, self.impersonator) {
            (_, Some(Impersonator { administrator, grant })) => Some((grant, administrator)),
            (Actor::Administrator { user, grant }, None) => Some((*grant, *user)),
            _ => None,
        }
    }

    /// The state that the work must see at least.
    pub fn token(&self) -> Option<&CommitToken> {
        self.token.as_ref().filter(|token| token.tenant() == self.tenant)
    }
}

impl Tenants {
    /// The session of which the envelope was made, with the tenant as it is now: it may have moved. An administrator's
    /// grant is looked up again, and what is done leaves its line in the tenant's trail again.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] when the tenant is not served any more, or the administrator's grant is not in force.
    pub async fn session_of(&self, envelope: &Envelope) -> Result<Session, EnvelopeError> {
        let id = envelope.tenant;
        let tenant = self.by_id(id).await?.ok_or(EnvelopeError::Unknown { tenant: id })?;
        if tenant.status() != Status::Active {
            return Err(EnvelopeError::NotActive { tenant: id, status: tenant.status() });
        }
        let mut session = match envelope.leave() {
            Some((grant, administrator)) => self.administrator_session(grant, administrator).await?,
            None => Session::new(&tenant, envelope.actor.clone()),
        };
        if session.tenant_id() != id || *session.actor() != envelope.actor {
            return Err(EnvelopeError::Administrator(AdministratorRefusal::Unknown));
        }
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
