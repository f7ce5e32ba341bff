//! Names outside of Postgres that cannot be built without a tenant: keys of a cache, paths in an object
//! store, channels.
//!
//! Row security ends where Postgres ends. A cache key without the tenant in it is the commonest leak of all, so
//! these types have no other constructor. Parts are escaped, so that no part can pose as two, as a tenant, or
//! as the folder above.

use std::fmt::{self, Write};

use crate::TenantId;

/// A key in a cache that tenants share: `{01980000-...}:user:anna`.
///
/// The braces make Redis Cluster keep all keys of a tenant in one slot (Redis documentation, "Hash tags").
///
/// ```
/// use formwork_tenancy::{CacheKey, TenantId};
///
/// let (acme, bolt) = (TenantId::generate(), TenantId::generate());
/// assert_ne!(CacheKey::new(acme, ["user", "anna"]), CacheKey::new(bolt, ["user", "anna"]));
/// assert_ne!(CacheKey::new(acme, ["user", "anna"]), CacheKey::new(acme, ["user:anna"]));
/// assert!(CacheKey::new(acme, ["user", "anna"]).as_str().ends_with("}:user:anna"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(String);

/// Where an object of a tenant is in an object store: `tenants/01980000-.../drawings/7.pdf`.
///
/// ```
/// use formwork_tenancy::{ObjectPath, TenantId};
///
/// let acme = TenantId::generate();
/// let path = ObjectPath::new(acme, ["drawings", "7.pdf"]);
/// assert_eq!(path.as_str(), format!("tenants/{acme}/drawings/7.pdf"));
/// assert_eq!(ObjectPath::new(acme, ["..", "a/b"]).as_str(), format!("tenants/{acme}/%2E%2E/a%2Fb"));
/// assert!(path.is_of(acme));
/// assert!(!path.is_of(TenantId::generate()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectPath(String);

/// A channel that one tenant's messages go through: `t.0198....progress`.
///
/// ```
/// use formwork_tenancy::{ChannelName, TenantId};
///
/// let acme = TenantId::generate();
/// assert_eq!(ChannelName::new(acme, "progress").to_string(), format!("t.{}.progress", acme.as_uuid().simple()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChannelName(String);

impl CacheKey {
    /// The tenant's key of these parts.
    pub fn new<P: AsRef<str>>(tenant: TenantId, parts: impl IntoIterator<Item = P>) -> Self {
        Self(joined(format!("{{{tenant}}}"), ':', parts))
    }
}

impl ObjectPath {
    /// The tenant's path of these parts, from the outermost folder to the object's name.
    pub fn new<P: AsRef<str>>(tenant: TenantId, parts: impl IntoIterator<Item = P>) -> Self {
        Self(joined(Self::folder(tenant), '/', parts))
    }

    /// Is a path that came from outside, such as in a signed address, one of this tenant?
    pub fn is_of(&self, tenant: TenantId) -> bool {
        self.0.strip_prefix(&Self::folder(tenant)).is_some_and(|rest| rest.starts_with('/'))
    }

    fn folder(tenant: TenantId) -> String {
        format!("tenants/{tenant}")
    }
}

impl ChannelName {
    /// The tenant's channel of this name.
    pub fn new(tenant: TenantId, name: &str) -> Self {
        Self(joined(format!("t.{}", tenant.as_uuid().simple()), '.', [name]))
    }
}

fn joined<P: AsRef<str>>(mut name: String, between: char, parts: impl IntoIterator<Item = P>) -> String {
    for part in parts {
        name.push(between);
        escape(&mut name, part.as_ref());
    }
    name
}

/// Letters, digits, `-`, `_` and inner dots stay; every other byte becomes `%` and two digits (RFC 3986, 2.1).
fn escape(name: &mut String, part: &str) {
    // A part of dots alone would be a folder's own name or the folder above.
    let dots = part.bytes().all(|byte| byte == b'.');
    if part.is_empty() {
        name.push('%');
    }
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && !dots) {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
}

macro_rules! text {
    ($($type:ty),+) => {$(
        impl $type {
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )+};
}

text!(CacheKey, ObjectPath, ChannelName);

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lists of parts give one name only when they are the same.
    #[test]
    fn parts_cannot_pose_as_others() {
        let tenant = TenantId::generate();
        let lists: [&[&str]; 14] = [
            &[],
            &[""],
            &["", ""],
            &["a"],
            &["a", ""],
            &["a", "b"],
            &["a:b"],
            &["a/b"],
            &["a%3Ab"],
            &["%"],
            &["."],
            &[".."],
            &["a", "..", "b"],
            &["ä"],
        ];
        let names = |form: fn(TenantId, &[&str]) -> String| -> Vec<String> {
            lists.iter().map(|parts| form(tenant, parts)).collect()
        };
        for mut names in [
            names(|tenant, parts| CacheKey::new(tenant, parts).0),
            names(|tenant, parts| ObjectPath::new(tenant, parts).0),
        ] {
            assert!(names.iter().all(|name| !name.contains("..")), "{names:?}");
            names.sort();
            names.dedup();
            assert_eq!(names.len(), lists.len(), "{names:?}");
        }
    }
}
