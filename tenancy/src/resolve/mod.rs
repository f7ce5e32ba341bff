//! Which tenant a request is for.
//!
//! A [`Resolver`] is an ordered chain of sources. Each reads the request's head; all that name a tenant must name the
//! same one, and the [`Resolution`] says which did. INVARIANT: nothing that a client sent is believed because it was
//! sent. A host and a path are public; a token was verified by whoever put its claims into the request's extensions; a
//! header counts from trusted callers alone; an API key is compared with what is kept of it.
//!
//! [`Tenants::resolve`] is the plain way: host and token.

mod answer;
mod api_key;
mod claim;
mod host;
#[cfg(feature = "tower")]
mod layer;
mod lookup;
mod path;
mod request_host;
mod reserved;
mod resolution;
mod rules;
mod source;

use std::sync::Arc;

use http::request::Parts;
use smallvec::SmallVec;
use uuid::Uuid;

pub use answer::ApiKeyRefusal;
pub(crate) use api_key::ApiKeyDigest;
pub use api_key::ApiKeySecret;
pub use host::{Host, InvalidHost};
#[cfg(feature = "tower")]
pub use layer::{ResolveLayer, ResolveService};
pub(crate) use lookup::Lookups;
pub use reserved::ReservedNames;
pub(crate) use reserved::is_plain_slug;
pub use resolution::Resolution;
pub use rules::{InvalidResolver, ResolverBuilder};
pub use source::{Source, TokenSubject, TokenTenant, TrustedCaller, TrustedProxy};

use self::{
    claim::{Claim, Names, Said, Word},
    lookup::{Key, Memberships},
    rules::{HOST_AND_TOKEN, Rules},
};
use crate::{ResolveError, Status, Tenant, TenantId, Tenants, registry};

/// Finds the tenant of a request, by rules of the application's own. Cheap to clone.
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, parts: http::request::Parts)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::{Resolver, Source};
/// use http::HeaderName;
///
/// let resolver = Resolver::builder(&tenants)
///     .host()
///     .token()
///     .membership()
///     .api_key(HeaderName::from_static("x-api-key"))
///     .shared_host("api.example.com")
///     .require([Source::Token, Source::ApiKey])
///     .build()?;
/// let resolution = resolver.resolve(&parts).await?;
/// println!("{} by {:?}", resolution.tenant().slug(), resolution.named_by());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Resolver {
    tenants: Tenants,
    rules: Arc<Rules>,
}

impl Resolver {
    /// Starts with no source and no rule.
    pub fn builder(tenants: &Tenants) -> ResolverBuilder {
        ResolverBuilder::new(tenants.clone())
    }

    fn new(tenants: Tenants, rules: Rules) -> Self {
        Self { tenants, rules: Arc::new(rules) }
    }

    /// The tenant of a request, and who named it.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] names what was missing, unknown, in disagreement or out of service;
    /// [`ResolveError::status`] is its HTTP status.
    pub async fn resolve(&self, parts: &Parts) -> Result<Resolution, ResolveError> {
        self.tenants.resolve_by(&self.rules, parts).await
    }
}

impl Tenants {
    /// The tenant of a request, from its host and its token, which must agree. For other sources, and to know which
    /// answered, build a [`Resolver`].
    ///
    /// # Errors
    ///
    /// [`ResolveError`] names what was missing, unknown, in disagreement or out of service.
    pub async fn resolve(&self, parts: &Parts) -> Result<Tenant, ResolveError> {
        Ok(self.resolve_by(&HOST_AND_TOKEN, parts).await?.tenant)
    }

    async fn resolve_by(&self, rules: &Rules, parts: &Parts) -> Result<Resolution, ResolveError> {
        let names = Names { base_domains: self.base_domains(), reserved: self.reserved_names() };
        let said = claim::read(rules, names, parts)?;
        let mut found = Found::default();
        // What a membership says depends on the others.
        let (members, others): (SmallVec<[&Claim; 4]>, SmallVec<[&Claim; 4]>) =
            said.claims.iter().partition(|claim| matches!(claim.word, Word::Subject(_)));
        for claim in others.into_iter().chain(members) {
            self.hear(&mut found, &said, claim).await?;
        }
        let tenant = found.tenant.ok_or(ResolveError::Unnamed)?;
        serve(&tenant)?;
        let tenant = self.in_this_region(tenant).await?;
        Ok(Resolution {
            tenant,
            named_by: found.named_by,
            api_key: found.api_key,
            rest_of_path: said.rest_of_path.map(String::into_boxed_str),
        })
    }

    /// Takes one claim to what has been found before, with which it must agree.
    async fn hear(&self, found: &mut Found, said: &Said, claim: &Claim) -> Result<(), ResolveError> {
        let source = claim.source;
        match &claim.word {
            Word::Slug(slug) => {
                let key = registry::Key::Slug(slug.clone());
                let tenant = self.find(key).await?.ok_or_else(|| unknown(said, source))?;
                found.agree(said, source, tenant)
            }
            Word::Domain(host) => {
                let key = registry::Key::Domain(host.as_str().to_owned());
                let tenant = self.find(key).await?.ok_or_else(|| unknown(said, source))?;
                found.agree(said, source, tenant)
            }
            Word::Id(id) => self.hear_id(found, said, source, *id).await,
            Word::ApiKey(digest) => match self.api_key(digest).await? {
                Key::Good { id, tenant } => {
                    found.api_key = Some(id);
                    self.hear_id(found, said, source, tenant).await
                }
                Key::Bad(why) => Err(ResolveError::ApiKey { why }),
            },
            Word::Subject(subject) => self.hear_subject(found, said, *subject).await,
        }
    }

    /// An identity needs no look-up when somebody has named the tenant already.
    async fn hear_id(
        &self,
        found: &mut Found,
        said: &Said,
        source: Source,
        id: TenantId,
    ) -> Result<(), ResolveError> {
        match &found.tenant {
            Some(_) => found.agree_on(said, source, id),
            None => {
                let tenant = self.by_id(id).await?.ok_or_else(|| unknown(said, source))?;
                found.agree(said, source, tenant)
            }
        }
    }

    async fn hear_subject(&self, found: &mut Found, said: &Said, subject: Uuid) -> Result<(), ResolveError> {
        if let Some(tenant) = &found.tenant {
            return match self.is_member(tenant.id(), subject).await? {
                true => found.agree_on(said, Source::Membership, tenant.id()),
                false => Err(ResolveError::NotAMember),
            };
        }
        match self.memberships_of(subject).await? {
            Memberships::One(id) => self.hear_id(found, said, Source::Membership, id).await,
            Memberships::Several => Err(ResolveError::SeveralMemberships),
            Memberships::None => Err(ResolveError::NotAMember),
        }
    }
}

/// What the claims that were heard have come to.
#[derive(Debug, Default)]
struct Found {
    tenant: Option<Tenant>,
    named_by: SmallVec<[Source; 4]>,
    api_key: Option<Uuid>,
}

impl Found {
    fn agree(&mut self, said: &Said, source: Source, tenant: Tenant) -> Result<(), ResolveError> {
        let id = tenant.id();
        self.tenant.get_or_insert(tenant);
        self.agree_on(said, source, id)
    }

    fn agree_on(&mut self, said: &Said, source: Source, claimed: TenantId) -> Result<(), ResolveError> {
        if let (Some(tenant), Some(named_by)) = (&self.tenant, self.named_by.first())
            && tenant.id() != claimed
        {
            return Err(ResolveError::Mismatch {
                host: said.host.as_ref().map(Host::to_string),
                named: tenant.id(),
                named_by: *named_by,
                claimed,
                claimed_by: source,
            });
        }
        self.named_by.push(source);
        Ok(())
    }
}

/// Nobody has the name. Of a credential's tenant that is not there, nothing else is told.
fn unknown(said: &Said, source: Source) -> ResolveError {
    match (source, &said.host) {
        (Source::Subdomain | Source::Domain, Some(host)) => {
            ResolveError::UnknownHost { host: host.to_string() }
        }
        (source, _) if source.is_credential() => ResolveError::UnknownTenant,
        (source, _) => ResolveError::UnknownName { by: source },
    }
}

/// Is it in service, here?
fn serve(tenant: &Tenant) -> Result<(), ResolveError> {
    match (tenant.status(), tenant.unsupported()) {
        (Status::Active, None) => Ok(()),
        (Status::Active, Some(unsupported)) => Err(ResolveError::Unsupported(unsupported.clone())),
        (status, _) => Err(ResolveError::NotActive { status }),
    }
}
