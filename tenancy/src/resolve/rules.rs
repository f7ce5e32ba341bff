//! Which sources are asked, in which order, and which of them must answer.

use std::borrow::Cow;

use http::HeaderName;

use super::{Resolver, host::Host, source::Source};
use crate::Tenants;

/// One source of a chain, with what it needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Subdomain,
    Domain,
    Token,
    Membership,
    /// INVARIANT: empty, or with a slash at its beginning and none at its end.
    Path(String),
    Header(HeaderName),
    ApiKey(HeaderName),
    Static(String),
}

impl Step {
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Subdomain => Source::Subdomain,
            Self::Domain => Source::Domain,
            Self::Token => Source::Token,
            Self::Membership => Source::Membership,
            Self::Path(_) => Source::Path,
            Self::Header(_) => Source::Header,
            Self::ApiKey(_) => Source::ApiKey,
            Self::Static(_) => Source::Static,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) chain: Cow<'static, [Step]>,
    /// Of each list, one must have named the tenant.
    pub(super) required: Vec<Vec<Source>>,
    pub(super) shared_hosts: Vec<Host>,
    pub(super) forwarded_host: bool,
    pub(super) refuse_untrusted: bool,
}

/// What [`Tenants::resolve`] goes by.
pub(super) static HOST_AND_TOKEN: Rules = Rules {
    chain: Cow::Borrowed(&[Step::Subdomain, Step::Domain, Step::Token]),
    required: Vec::new(),
    shared_hosts: Vec::new(),
    forwarded_host: false,
    refuse_untrusted: false,
};

impl Rules {
    pub(super) fn has(&self, source: Source) -> bool {
        self.chain.iter().any(|step| step.source() == source)
    }
}

/// Builds a [`Resolver`]: sources in the order in which they are called, then the rules.
#[derive(Debug, Clone)]
pub struct ResolverBuilder {
    tenants: Tenants,
    chain: Vec<Step>,
    required: Vec<Vec<Source>>,
    shared_hosts: Vec<String>,
    forwarded_host: bool,
    refuse_untrusted: bool,
}

/// Rules that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidResolver {
    /// Nothing would ever name a tenant.
    #[error("the resolver has no source: add one, such as `host()`")]
    NoSource,
    /// One source, twice.
    #[error("source `{0}` is given twice")]
    Twice(Source),
    /// A source is required that is not in the chain, so that every request would be refused.
    #[error("source `{0}` is required and is not in the chain: add it")]
    NotInChain(Source),
    /// A list of which none could ever be had.
    #[error("a list of required sources is empty")]
    NothingRequired,
    /// The prefix of paths is none.
    #[error("`{0}` is no prefix of a path: write it as `/t`")]
    PathPrefix(String),
    /// A host that is none.
    #[error("`{0}` is no host")]
    SharedHost(String),
}

impl ResolverBuilder {
    pub(super) fn new(tenants: Tenants) -> Self {
        Self {
            tenants,
            chain: Vec::new(),
            required: Vec::new(),
            shared_hosts: Vec::new(),
            forwarded_host: false,
            refuse_untrusted: false,
        }
    }

    /// The host: a subdomain of a base domain, or a domain of the tenant's own.
    #[must_use]
    pub fn host(self) -> Self {
        self.subdomain().domain()
    }

    /// `<slug>.<base domain>` alone. Other hosts are unknown.
    #[must_use]
    pub fn subdomain(self) -> Self {
        self.step(Step::Subdomain)
    }

    /// Domains of the tenants' own alone. Subdomains of a base domain are unknown.
    #[must_use]
    pub fn domain(self) -> Self {
        self.step(Step::Domain)
    }

    /// The `org_id` of a verified token: [`TokenTenant`](crate::TokenTenant) in the extensions.
    #[must_use]
    pub fn token(self) -> Self {
        self.step(Step::Token)
    }

    /// Membership of a verified token's subject: [`TokenSubject`](crate::TokenSubject) in the extensions. Where another
    /// source names the tenant, the subject must be its member; where none does, their one membership names it.
    #[must_use]
    pub fn membership(self) -> Self {
        self.step(Step::Membership)
    }

    /// `<prefix>/<slug>/..`, such as `/t`. The rest of the path is [`Resolution::rest_of_path`](crate::Resolution).
    #[must_use]
    pub fn path(self, prefix: impl Into<String>) -> Self {
        self.step(Step::Path(prefix.into()))
    }

    /// A header with the tenant's slug or identity, of a [`TrustedCaller`](crate::TrustedCaller) alone. Anybody else's
    /// is ignored, or refused by [`refuse_untrusted`](Self::refuse_untrusted).
    #[must_use]
    pub fn header(self, name: HeaderName) -> Self {
        self.step(Step::Header(name))
    }

    /// An API key in this header. In `Authorization` it stands behind `Bearer`, and tokens that are no keys are left
    /// to others.
    #[must_use]
    pub fn api_key(self, header: HeaderName) -> Self {
        self.step(Step::ApiKey(header))
    }

    /// Always this tenant, by its slug: for a deployment of one tenant, and for tests.
    #[must_use]
    pub fn always(self, slug: impl Into<String>) -> Self {
        self.step(Step::Static(slug.into()))
    }

    /// One of these must have named the tenant. Called more than once, each list counts: `.require(Source::HOST)` and
    /// `.require([Source::Token])` want a host *and* a token.
    #[must_use]
    pub fn require(mut self, one_of: impl IntoIterator<Item = Source>) -> Self {
        self.required.push(one_of.into_iter().collect());
        self
    }

    /// A host that all tenants share, such as `api.example.com`: it names none, and others may. Every other host that
    /// names no tenant is unknown, whatever others say.
    #[must_use]
    pub fn shared_host(mut self, host: impl Into<String>) -> Self {
        self.shared_hosts.push(host.into());
        self
    }

    /// From a [`TrustedProxy`](crate::TrustedProxy), `X-Forwarded-Host` counts in the place of `Host`.
    #[must_use]
    pub fn forwarded_host(mut self) -> Self {
        self.forwarded_host = true;
        self
    }

    /// Refuses a header that only a trusted caller or proxy may send, when somebody else does. Without this it is
    /// ignored. It is never obeyed.
    #[must_use]
    pub fn refuse_untrusted(mut self) -> Self {
        self.refuse_untrusted = true;
        self
    }

    /// The resolver.
    ///
    /// # Errors
    ///
    /// [`InvalidResolver`], when the rules cannot be kept.
    pub fn build(self) -> Result<Resolver, InvalidResolver> {
        let mut rules = Rules {
            chain: Cow::Owned(Vec::new()),
            required: self.required,
            shared_hosts: Vec::new(),
            forwarded_host: self.forwarded_host,
            refuse_untrusted: self.refuse_untrusted,
        };
        for step in self.chain {
            if rules.has(step.source()) {
                return Err(InvalidResolver::Twice(step.source()));
            }
            rules.chain.to_mut().push(match step {
                Step::Path(prefix) => Step::Path(prefix_of(prefix)?),
                step => step,
            });
        }
        if rules.chain.is_empty() {
            return Err(InvalidResolver::NoSource);
        }
        for list in &rules.required {
            let first = list.first().ok_or(InvalidResolver::NothingRequired)?;
            if !list.iter().any(|source| rules.has(*source)) {
                return Err(InvalidResolver::NotInChain(*first));
            }
        }
        for text in self.shared_hosts {
            let host = text.parse().map_err(|_| InvalidResolver::SharedHost(text))?;
            rules.shared_hosts.push(host);
        }
        Ok(Resolver::new(self.tenants, rules))
    }

    fn step(mut self, step: Step) -> Self {
        self.chain.push(step);
        self
    }
}

fn prefix_of(given: String) -> Result<String, InvalidResolver> {
    let prefix = given.strip_suffix('/').unwrap_or(&given);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~');
    let begins = prefix.is_empty() || prefix.starts_with('/');
    if begins && prefix.bytes().all(is_plain) && !prefix.contains("//") && !prefix.ends_with('/') {
        Ok(prefix.to_owned())
    } else {
        Err(InvalidResolver::PathPrefix(given))
    }
}
