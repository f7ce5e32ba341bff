//! Who acts, for which tenant, in which request.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Authority, CommitToken, Tenant, TenantId, replica::WalPosition};

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "id", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// A person, by the identity that is global to the platform.
    User(Uuid),
    /// A platform administrator, by leave of a grant for one tenant: its session is made by
    /// [`Tenants::administrator_session`](crate::Tenants::administrator_session) and no other is let in.
    Administrator {
        /// The identity, global to the platform.
        user: Uuid,
        /// The grant.
        grant: Uuid,
    },
    /// The service itself: provisioning, a scheduled job.
    System(String),
    /// A program, by the API key that it shows; see [`Resolution::actor`](crate::Resolution::actor).
    ApiKey(Uuid),
}

impl Actor {
    /// The person with this identity.
    pub fn user(id: Uuid) -> Self {
        Self::User(id)
    }

    /// The part of the service with this name.
    pub fn system(name: impl Into<String>) -> Self {
        Self::System(name.into())
    }

    /// Kind of actor, as it is written in the audit trail.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Administrator { .. } => "administrator",
            Self::System(_) => "system",
            Self::ApiKey(_) => "api_key",
        }
    }

    /// Identity inside its kind.
    pub fn id(&self) -> String {
        match self {
            Self::User(id) | Self::Administrator { user: id, .. } | Self::ApiKey(id) => id.to_string(),
            Self::System(name) => name.clone(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// One actor's work for one tenant: what a transaction is begun for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    tenant: Tenant,
    actor: Actor,
    request_id: Option<String>,
    ip: Option<IpAddr>,
    user_agent: Option<String>,
    authority: Option<Authority>,
    token: Option<CommitToken>,
}

impl Session {
    /// `actor` works for `tenant`.
    pub fn new(tenant: &Tenant, actor: Actor) -> Self {
        Self(Arc::new(Inner {
            tenant: tenant.clone(),
            actor,
            request_id: None,
            ip: None,
            user_agent: None,
            authority: None,
            token: None,
        }))
    }

    /// Correlates logs, events and the audit trail.
    #[must_use]
    pub fn request_id(self, id: impl Into<String>) -> Self {
        self.with(|inner| inner.request_id = Some(id.into()))
    }

    /// Address of the client.
    #[must_use]
    pub fn ip(self, ip: IpAddr) -> Self {
        self.with(|inner| inner.ip = Some(ip))
    }

    /// Program of the client, as it names itself.
    #[must_use]
    pub fn user_agent(self, name: impl Into<String>) -> Self {
        self.with(|inner| inner.user_agent = Some(name.into()))
    }

    /// What is read in it sees at least the state that the token was taken of, be it on a replica: what this actor, or
    /// whoever handed on the token, has written before. Of several the latest counts; one of another tenant says
    /// nothing, and is left out.
    ///
    /// ```no_run
    /// # async fn example(tenants: formwork_tenancy::Tenants, session: formwork_tenancy::Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = tenants.begin(&session).await?;
    /// sqlx::query("update projects set name = $1").bind("Harbour bridge").execute(&mut *tx).await?;
    /// let token = tx.commit().await?;
    /// // The client sends the token back with its next request.
    /// let mut tx = tenants.begin_read(&session.at_least(&token)).await?;
    /// println!("served by {:?}", tx.served_by());
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn at_least(self, token: &CommitToken) -> Self {
        let key = |token: &CommitToken| (token.epoch(), WalPosition::of(token));
        let is_later = self.0.token.as_ref().is_none_or(|known| key(known) < key(token));
        if token.tenant() != self.tenant_id() || !is_later {
            return self;
        }
        self.with(|inner| inner.token = Some(token.clone()))
    }

    /// The state that it must see at least, when one was given.
    pub fn token(&self) -> Option<&CommitToken> {
        self.0.token.as_ref()
    }

    pub(crate) fn required(&self) -> Option<(i64, WalPosition)> {
        self.token().map(|token| (token.epoch(), WalPosition::of(token)))
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.0.tenant
    }

    /// The tenant's identity.
    pub fn tenant_id(&self) -> TenantId {
        self.0.tenant.id()
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// What correlates this request, when it was given.
    pub fn correlation(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Address of the client, when it was given.
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.0.ip
    }

    /// Program of the client, when it was given.
    pub fn client_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }

    /// The administrator who acts as this session's user, by leave of a grant; the session's actor is the user.
    pub fn impersonator(&self) -> Option<Uuid> {
        let authority = self.authority().filter(|authority| authority.impersonates().is_some());
        authority.map(Authority::administrator)
    }

    /// By what leave an administrator acts; nobody else has one.
    pub fn authority(&self) -> Option<&Authority> {
        self.0.authority.as_ref()
    }

    pub(crate) fn with_authority(self, authority: Authority) -> Self {
        self.with(|inner| inner.authority = Some(authority))
    }

    /// The same work, with a newer entry of the same tenant.
    pub(crate) fn placed(&self, tenant: Tenant) -> Self {
        self.clone().with(|inner| inner.tenant = tenant)
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}
