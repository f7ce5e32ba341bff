//! What may name a tenant, and what the application puts into a request's extensions about it.
//!
//! Extensions cannot come from a client: whoever sets one has verified what it says.

use std::fmt;

use uuid::Uuid;

use crate::TenantId;

/// What named a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `<slug>.<base domain>`.
    Subdomain,
    /// A domain of the tenant's own that was proven.
    Domain,
    /// The claim `org_id` of a verified token ([`TokenTenant`]).
    Token,
    /// Membership of a verified token's subject ([`TokenSubject`]).
    Membership,
    /// `/t/<slug>/..`.
    Path,
    /// A header of a trusted caller ([`TrustedCaller`]).
    Header,
    /// An API key.
    ApiKey,
    /// The one tenant that the deployment is for.
    Static,
}

impl Source {
    /// The host, in either of its ways.
    pub const HOST: [Source; 2] = [Source::Subdomain, Source::Domain];

    /// As it is written in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subdomain => "subdomain",
            Self::Domain => "domain",
            Self::Token => "token",
            Self::Membership => "membership",
            Self::Path => "path",
            Self::Header => "header",
            Self::ApiKey => "api key",
            Self::Static => "static",
        }
    }

    /// Does it say who the caller is? Without it the caller is unauthenticated.
    pub(crate) fn is_credential(self) -> bool {
        matches!(self, Self::Token | Self::Membership | Self::ApiKey)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The tenant that a verified token is for: its `org_id`. Put into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTenant(pub TenantId);

/// The user whom a verified token is of, by the identity that is global to the platform. Put into the request's
/// extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenSubject(pub Uuid);

/// The caller may name any tenant in a header: a service of our own, known by its certificate or by the internal
/// listener that it came through. Put into the request's extensions, never because of what a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedCaller;

/// The request came through a proxy of our own, which overwrites `X-Forwarded-Host`. Put into the request's extensions.
/// It is no [`TrustedCaller`]: everybody's requests come through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedProxy;
