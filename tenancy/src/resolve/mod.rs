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
use crate::{ResolveError, Status, Tenant, TenantId, Tenants, registry::KeyRef};

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
        let host = claim::host(rules, parts)?;
        let said = claim::read(rules, names, parts, host.as_ref())?;
        let mut found = Found::default();
        for claim in &said.claims {
            if !self.hear_from_memory(&mut found, &said, claim)? {
                // In a box, so that what memory answers does not carry the room that a question needs.
                Box::pin(self.hear(&mut found, &said, claim)).await?;
            }
        }
        let tenant = found.tenant.ok_or(ResolveError::Unnamed)?;
        serve(&tenant)?;
        if !self.is_in_this_region(&tenant)
            && let Some(wrong) = Box::pin(self.wrong_region(&tenant)).await
        {
            return Err(ResolveError::WrongRegion(wrong));
        }
        let rest_of_path = said.rest_of_path.map(Into::into);
        Ok(Resolution { tenant, named_by: found.named_by, api_key: found.api_key, rest_of_path })
    }

    /// Takes one claim to what has been found before, when what is remembered is enough for that. False: [`hear`]
    /// must ask.
    ///
    /// [`hear`]: Self::hear
    fn hear_from_memory(
        &self,
        found: &mut Found,
        said: &Said<'_>,
        claim: &Claim<'_>,
    ) -> Result<bool, ResolveError> {
        let source = claim.source;
        let key = match claim.word {
            Word::Slug(slug) => KeyRef::Slug(slug),
            Word::Domain(host) => KeyRef::Domain(host),
            // An identity needs no look-up when somebody has named the tenant already.
            Word::Id(id) if found.tenant.is_some() => return found.agree_on(said, source, id).map(|()| true),
            Word::Id(id) => KeyRef::Id(id),
            Word::Subject(_) | Word::ApiKey(_) => return Ok(false),
        };
        match self.remembered(key) {
            Some(Some(tenant)) => found.agree(said, source, tenant).map(|()| true),
            Some(None) => Err(unknown(said, source)),
            None => Ok(false),
        }
    }

    /// Takes one claim to what has been found before, with which it must agree.
    async fn hear(&self, found: &mut Found, said: &Said<'_>, claim: &Claim<'_>) -> Result<(), ResolveError> {
        let source = claim.source;
        match &claim.word {
            Word::Slug(slug) => self.hear_key(found, said, source, KeyRef::Slug(slug)).await,
            Word::Domain(host) => self.hear_key(found, said, source, KeyRef::Domain(host)).await,
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

    async fn hear_key(
        &self,
        found: &mut Found,
        said: &Said<'_>,
        source: Source,
        key: KeyRef<'_>,
    ) -> Result<(), ResolveError> {
        let tenant = self.find_ref(key).await?.ok_or_else(|| unknown(said, source))?;
        found.agree(said, source, tenant)
    }

    /// An identity needs no look-up when somebody has named the tenant already.
    async fn hear_id(
        &self,
        found: &mut Found,
        said: &Said<'_>,
        source: Source,
        id: TenantId,
    ) -> Result<(), ResolveError> {
        match &found.tenant {
            Some(_) => found.agree_on(said, source, id),
            None => self.hear_key(found, said, source, KeyRef::Id(id)).await,
        }
    }

    async fn hear_subject(
        &self,
        found: &mut Found,
        said: &Said<'_>,
        subject: Uuid,
    ) -> Result<(), ResolveError> {
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
    fn agree(&mut self, said: &Said<'_>, source: Source, tenant: Tenant) -> Result<(), ResolveError> {
        let id = tenant.id();
        self.tenant.get_or_insert(tenant);
        self.agree_on(said, source, id)
    }

    fn agree_on(&mut self, said: &Said<'_>, source: Source, claimed: TenantId) -> Result<(), ResolveError> {
        if let (Some(tenant), Some(named_by)) = (&self.tenant, self.named_by.first())
            && tenant.id() != claimed
        {
            return Err(ResolveError::Mismatch {
                host: said.host.map(ToString::to_string),
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
fn unknown(said: &Said<'_>, source: Source) -> ResolveError {
    match (source, said.host) {
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
