//! Names that no tenant may have, because people or programs would take them for the platform's own.
//!
//! Refused where a tenant is made and where a request is resolved, so that a list which grows later closes names that
//! were given away before.

use std::collections::HashSet;

use crate::tenant::is_slug;

/// What hosts, mail, clients and people expect to be the platform's (RFC 2142; WPAD and autodiscovery among them).
const DEFAULT: &[&str] = &[
    "abuse",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "autoconfig",
    "autodiscover",
    "billing",
    "blog",
    "broadcasthost",
    "cdn",
    "console",
    "dashboard",
    "dev",
    "dns",
    "docs",
    "ftp",
    "healthz",
    "help",
    "hostmaster",
    "imap",
    "info",
    "internal",
    "isatap",
    "localdomain",
    "localhost",
    "login",
    "logout",
    "mail",
    "marketing",
    "metrics",
    "mx",
    "news",
    "noc",
    "noreply",
    "ns",
    "ns1",
    "ns2",
    "oauth",
    "official",
    "platform",
    "pop",
    "pop3",
    "postmaster",
    "public",
    "register",
    "root",
    "sales",
    "secure",
    "security",
    "signin",
    "signup",
    "smtp",
    "sso",
    "staging",
    "static",
    "status",
    "support",
    "sysadmin",
    "system",
    "token",
    "usenet",
    "uucp",
    "webmail",
    "webmaster",
    "wpad",
    "ws",
    "www",
];

/// Names that no tenant may have. Give the same to [`TenantsBuilder`](crate::TenantsBuilder::reserved_names) and to
/// [`ControlPlane`](crate::ControlPlane::reserved_names).
///
/// ```
/// use formwork_tenancy::ReservedNames;
///
/// let reserved = ReservedNames::default().and("storefront").without("news");
/// assert!(reserved.contains("www") && reserved.contains("storefront") && !reserved.contains("news"));
/// assert_eq!(reserved.resembled_by("adm1n"), Some("admin"));
/// ```
#[derive(Debug, Clone)]
pub struct ReservedNames(HashSet<String>);

impl Default for ReservedNames {
    /// `www`, `api`, `admin`, and some sixty others.
    fn default() -> Self {
        Self(DEFAULT.iter().map(|name| (*name).to_owned()).collect())
    }
}

impl ReservedNames {
    /// No name at all.
    pub fn none() -> Self {
        Self(HashSet::new())
    }

    /// One more.
    #[must_use]
    pub fn and(mut self, name: impl AsRef<str>) -> Self {
        self.0.insert(name.as_ref().to_ascii_lowercase());
        self
    }

    /// One that tenants may have after all.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(&name.to_ascii_lowercase());
        self
    }

    /// Is this slug one of them?
    pub fn contains(&self, slug: &str) -> bool {
        self.0.contains(slug)
    }

    /// The name that this slug is, or would be taken for: `adm1n`, `supp0rt`, `adrnin`.
    pub fn resembled_by(&self, slug: &str) -> Option<&str> {
        if let Some(same) = self.0.get(slug) {
            return Some(same);
        }
        let folded = fold(slug);
        let mut alike: Vec<_> = self.0.iter().filter(|name| looks_like(&folded, &fold(name))).collect();
        alike.sort();
        alike.first().map(|name| name.as_str())
    }
}

/// Pairs of letters that read as one.
fn fold(name: &str) -> String {
    name.replace("rn", "m").replace("vv", "w")
}

fn looks_like(slug: &str, name: &str) -> bool {
    let alike = |(a, b): (u8, u8)| a == b || matches!((a, b), (b'0', b'o') | (b'1', b'i' | b'l'));
    slug.len() == name.len() && slug.bytes().zip(name.bytes()).all(alike)
}

/// A slug that shows in an address as it is written: nothing that a browser would decode to other letters
/// (RFC 5890, section 2.3.1: hyphens in third and fourth place), nothing that reads as a tenant's identity.
pub(crate) fn is_plain_slug(text: &str) -> bool {
    is_slug(text) && text.get(2..4) != Some("--") && uuid::Uuid::try_parse(text).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_reserved_is_told_and_what_does_not_is_free() {
        let reserved = ReservedNames::default();
        for (slug, name) in
            [("www", "www"), ("vvww", "www"), ("adm1n", "admin"), ("adrnin", "admin"), ("b1ll1ng", "billing")]
        {
            assert_eq!(reserved.resembled_by(slug), Some(name), "{slug}");
        }
        for free in ["acme", "mall", "wwww", "admins", "a", "apl", "corner"] {
            assert_eq!(reserved.resembled_by(free), None, "{free}");
        }
        assert_eq!(ReservedNames::none().resembled_by("www"), None);
    }

    #[test]
    fn a_slug_shows_as_it_is_written() {
        for good in ["acme", "a", "a-b", "a--b", "42", "x-n--a"] {
            assert!(is_plain_slug(good), "{good}");
        }
        let id = uuid::Uuid::from_u128(7).to_string();
        for bad in ["", "xn--80ak6aa92e", "ab--c", "Acme", "a_b", "-a", "a-", "ä", &id, &id.replace('-', "")]
        {
            assert!(!is_plain_slug(bad), "{bad}");
        }
    }
}
