//! What a tenant is found by.

use std::hash::{Hash, Hasher};

use crate::TenantId;

/// An exact key by which one tenant is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Slug(String),
    Domain(String),
    Id(TenantId),
}

/// The same, borrowed, to look for without an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum KeyRef<'a> {
    Slug(&'a str),
    Domain(&'a str),
    Id(TenantId),
}

impl Key {
    pub(crate) fn as_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Slug(slug) => KeyRef::Slug(slug),
            Self::Domain(host) => KeyRef::Domain(host),
            Self::Id(id) => KeyRef::Id(*id),
        }
    }
}

impl KeyRef<'_> {
    pub(crate) fn to_owned(self) -> Key {
        match self {
            Self::Slug(slug) => Key::Slug(slug.to_owned()),
            Self::Domain(host) => Key::Domain(host.to_owned()),
            Self::Id(id) => Key::Id(id),
        }
    }
}

/// INVARIANT: as the borrowed one's, or nothing would be found by that.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl moka::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}
