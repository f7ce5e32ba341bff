//! Which tenant a request is for.
//!
//! Sources that name a tenant must agree. A token is verified by whoever puts [`TokenTenant`] into the
//! request's extensions; here its claim is only compared.

use http::request::Parts;

use crate::{ResolveError, Status, Tenant, TenantId, Tenants, registry::Key, tenant::is_slug};

/// The tenant that a verified token is for: its `org_id`. Put into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTenant(pub TenantId);

/// What a host name says of the tenant.
#[derive(Debug, PartialEq, Eq)]
enum HostName {
    Subdomain(String),
    Custom(String),
}

impl Tenants {
    /// The tenant of a request, from its host and its token, which must agree.
    ///
    /// # Errors
    ///
    /// [`ResolveError`] names what was missing, unknown, in disagreement or out of service.
    pub async fn resolve(&self, parts: &Parts) -> Result<Tenant, ResolveError> {
        let host = host_of(parts);
        let token = parts.extensions.get::<TokenTenant>().copied();
        let by_host = match &host {
            Some(host) => self.by_host(host).await?,
            None => None,
        };
        let tenant = match (by_host, host, token) {
            (None, Some(host), _) => return Err(ResolveError::UnknownHost { host }),
            (Some(named), Some(host), Some(TokenTenant(token))) if named.id() != token => {
                return Err(ResolveError::Mismatch { host, token, named: named.id() });
            }
            (Some(tenant), _, _) => tenant,
            (None, None, Some(TokenTenant(id))) => {
                self.by_id(id).await?.ok_or(ResolveError::UnknownTenant)?
            }
            (None, None, None) => return Err(ResolveError::Unnamed),
        };
        match tenant.status() {
            Status::Active => match tenant.unsupported() {
                None => self.in_this_region(tenant).await,
                Some(unsupported) => Err(ResolveError::Unsupported(unsupported.clone())),
            },
            status => Err(ResolveError::NotActive { status }),
        }
    }

    async fn by_host(&self, host: &str) -> Result<Option<Tenant>, ResolveError> {
        Ok(match classify(host, self.base_domains()) {
            Some(HostName::Subdomain(slug)) => self.find(Key::Slug(slug)).await?,
            Some(HostName::Custom(domain)) => self.find(Key::Domain(domain)).await?,
            None => None,
        })
    }
}

/// The host of a request without its port, in normal form. HTTP/2 gives it in the target.
fn host_of(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(http::header::HOST).and_then(|value| value.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    normal_form(authority.or(header)?)
}

/// Lower case, no port, no trailing dot.
fn normal_form(host: &str) -> Option<String> {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn classify(host: &str, base_domains: &[String]) -> Option<HostName> {
    for base in base_domains {
        if host == base {
            return None;
        }
        if let Some(slug) = host.strip_suffix(base.as_str()).and_then(|rest| rest.strip_suffix('.')) {
            return is_slug(slug).then(|| HostName::Subdomain(slug.to_owned()));
        }
    }
    (host.len() <= 253).then(|| HostName::Custom(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_brought_to_normal_form() {
        for (given, expected) in [
            ("ACME.Example.com:8080", Some("acme.example.com")),
            ("acme.example.com.", Some("acme.example.com")),
            ("[::1]:80", Some("::1")),
            (":80", None),
            ("", None),
        ] {
            assert_eq!(normal_form(given).as_deref(), expected, "{given}");
        }
    }

    #[test]
    fn one_label_before_the_base_domain_is_a_slug() {
        let base = ["example.com".to_owned()];
        let sub = |slug: &str| Some(HostName::Subdomain(slug.to_owned()));
        assert_eq!(classify("acme.example.com", &base), sub("acme"));
        for none in ["example.com", "a.b.example.com", "-x.example.com", ".example.com"] {
            assert_eq!(classify(none, &base), None, "{none}");
        }
        let custom = |host: &str| Some(HostName::Custom(host.to_owned()));
        assert_eq!(classify("notexample.com", &base), custom("notexample.com"));
    }
}
