//! What a request says about its tenant: read from its head alone, asked of nobody.

use http::{HeaderName, header::AUTHORIZATION, request::Parts};
use smallvec::SmallVec;
use uuid::Uuid;

use super::{
    api_key::ApiKeyDigest,
    host::{Host, InvalidHost, ReadHost},
    path::{self, PathSays},
    reserved::{ReservedNames, is_plain_slug},
    rules::{Rules, Step},
    source::{Source, TokenSubject, TokenTenant, TrustedCaller},
};
use crate::{ApiKeyRefusal, ResolveError, TenantId};

/// What one source says, in the request's own words where they are in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Slug(&'a str),
    Domain(&'a str),
    Id(TenantId),
    Subject(Uuid),
    ApiKey(ApiKeyDigest),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    pub(super) source: Source,
    pub(super) word: Word<'a>,
}

/// All that a request says, in the order of the chain; a membership at the end, since what it says depends on the others.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) claims: SmallVec<[Claim<'a>; 4]>,
    /// None when no source needs it.
    pub(super) host: Option<&'a ReadHost<'a>>,
    /// Set when the path named the tenant; begins with a slash.
    pub(super) rest_of_path: Option<&'a str>,
}

impl Said<'_> {
    pub(super) fn has(&self, source: Source) -> bool {
        self.claims.iter().any(|claim| claim.source == source)
    }
}

/// Which names there are at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    pub(super) base_domains: &'a [Host],
    pub(super) reserved: &'a ReservedNames,
}

impl Names<'_> {
    fn is_open(&self, slug: &str) -> bool {
        is_plain_slug(slug) && !self.reserved.contains(slug)
    }
}

/// Reads the host, when a source needs it.
pub(super) fn host<'a>(rules: &Rules, parts: &'a Parts) -> Result<Option<ReadHost<'a>>, ResolveError> {
    let needs_host = rules.has(Source::Subdomain) || rules.has(Source::Domain);
    if needs_host { host_of(rules, parts) } else { Ok(None) }
}

/// Reads every source of the chain.
pub(super) fn read<'a>(
    rules: &'a Rules,
    names: Names<'_>,
    parts: &'a Parts,
    host: Option<&'a ReadHost<'a>>,
) -> Result<Said<'a>, ResolveError> {
    let by_host = match host {
        Some(host) => read_host(rules, names, host)?,
        None => None,
    };
    let mut said = Said { claims: SmallVec::new(), host, rest_of_path: None };
    let mut membership = None;
    for step in rules.chain.iter() {
        let source = step.source();
        let word = match step {
            Step::Subdomain | Step::Domain => match &by_host {
                Some((named_by, word)) if *named_by == source => Some(word.clone()),
                _ => None,
            },
            Step::Token => parts.extensions.get::<TokenTenant>().map(|token| Word::Id(token.0)),
            Step::Membership => {
                membership = parts.extensions.get::<TokenSubject>();
                None
            }
            Step::Path(prefix) => read_path(names, parts.uri.path(), prefix)?.map(|(slug, rest)| {
                said.rest_of_path = Some(rest);
                Word::Slug(slug)
            }),
            Step::Header(name) => read_header(rules, names, parts, name)?,
            Step::ApiKey(name) => read_api_key(parts, name)?.map(Word::ApiKey),
            Step::Static(slug) => Some(Word::Slug(slug)),
        };
        said.claims.extend(word.map(|word| Claim { source, word }));
    }
    let member = |token: &TokenSubject| Claim { source: Source::Membership, word: Word::Subject(token.0) };
    said.claims.extend(membership.map(member));
    check_required(rules, &said)?;
    Ok(said)
}

fn check_required(rules: &Rules, said: &Said<'_>) -> Result<(), ResolveError> {
    let unmet = rules.required.iter().find(|one_of| !one_of.iter().any(|source| said.has(*source)));
    match unmet.and_then(|one_of| one_of.first()) {
        Some(source) => Err(ResolveError::Missing { by: *source }),
        None => Ok(()),
    }
}

fn host_of<'a>(rules: &Rules, parts: &'a Parts) -> Result<Option<ReadHost<'a>>, ResolveError> {
    if rules.forwarded_host {
        if rules.refuse_untrusted && ReadHost::is_forwarded_by_a_stranger(parts) {
            return Err(ResolveError::Untrusted { header: "x-forwarded-host".to_owned() });
        }
        return Ok(ReadHost::forwarded(parts)?);
    }
    Ok(ReadHost::of(parts)?)
}

/// A host that names nobody is unknown, unless all tenants share it.
fn read_host<'a>(
    rules: &Rules,
    names: Names<'_>,
    host: &'a ReadHost<'_>,
) -> Result<Option<(Source, Word<'a>)>, ResolveError> {
    if rules.shared_hosts.iter().any(|shared| host.is(shared)) {
        return Ok(None);
    }
    let named = classify(names, host).filter(|(source, _)| rules.has(*source));
    named.map(Some).ok_or_else(|| ResolveError::UnknownHost { host: host.to_string() })
}

/// One label before a base domain is a slug; what lies below none is somebody's own domain.
fn classify<'a>(names: Names<'_>, host: &'a ReadHost<'_>) -> Option<(Source, Word<'a>)> {
    if !host.is_name() || names.base_domains.iter().any(|base| host.is(base)) {
        return None;
    }
    // With bases below each other, the nearest counts.
    let below = names.base_domains.iter().filter_map(|base| host.below(base)).min_by_key(|slug| slug.len());
    match below {
        Some(slug) => names.is_open(slug).then_some((Source::Subdomain, Word::Slug(slug))),
        None => Some((Source::Domain, Word::Domain(host.as_str()))),
    }
}

fn read_path<'a>(
    names: Names<'_>,
    path: &'a str,
    prefix: &str,
) -> Result<Option<(&'a str, &'a str)>, ResolveError> {
    match path::read(path, prefix) {
        PathSays::Nothing => Ok(None),
        PathSays::Slug { slug, rest } if names.is_open(slug) => Ok(Some((slug, rest))),
        PathSays::Slug { .. } => Err(ResolveError::UnknownName { by: Source::Path }),
        PathSays::Ambiguous => Err(ResolveError::AmbiguousPath),
    }
}

fn read_header<'a>(
    rules: &Rules,
    names: Names<'_>,
    parts: &'a Parts,
    name: &HeaderName,
) -> Result<Option<Word<'a>>, ResolveError> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if parts.extensions.get::<TrustedCaller>().is_none() {
        return match rules.refuse_untrusted {
            true => Err(ResolveError::Untrusted { header: name.to_string() }),
            false => Ok(None),
        };
    }
    let unknown = ResolveError::UnknownName { by: Source::Header };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => match Uuid::try_parse(text) {
            Ok(id) => Ok(Some(Word::Id(id.into()))),
            Err(_) if names.is_open(text) => Ok(Some(Word::Slug(text))),
            Err(_) => Err(unknown),
        },
        _ => Err(unknown),
    }
}

fn read_api_key(parts: &Parts, name: &HeaderName) -> Result<Option<ApiKeyDigest>, ResolveError> {
    let unknown = ResolveError::ApiKey { why: ApiKeyRefusal::Unknown };
    let mut values = parts.headers.get_all(name).iter();
    let (value, another) = (values.next(), values.next());
    let Some(value) = value else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if name != AUTHORIZATION {
        return match (ApiKeyDigest::of(text), another) {
            (Some(digest), None) => Ok(Some(digest)),
            _ => Err(unknown),
        };
    }
    let bearer = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match bearer.map(|(_, token)| token.trim()).filter(|token| token.starts_with("fwk_")) {
        None if another.is_none() => Ok(None),
        Some(token) if another.is_none() => ApiKeyDigest::of(token).map(Some).ok_or(unknown),
        _ => Err(unknown),
    }
}

impl From<InvalidHost> for ResolveError {
    fn from(why: InvalidHost) -> Self {
        Self::BadHost(why)
    }
}
