//! What is migrated as one.

use std::{fmt, sync::Arc};

use formwork_migrations::{Migration, Set};
use sha2::{Digest, Sha256};

use crate::{TenantId, control_plane::SHARED};

pub(super) const PLATFORM: &str = "platform";

/// The platform, the shared home, or one tenant's own schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub(crate) schema: String,
    pub(crate) tenant: Option<(TenantId, String)>,
    pub(super) own_role: bool,
}

impl Home {
    /// The schema that holds it.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Whose it is; nobody's for the platform and the shared home.
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant.as_ref().map(|(id, _)| *id)
    }

    /// The tenant's slug.
    pub fn slug(&self) -> Option<&str> {
        self.tenant.as_ref().map(|(_, slug)| slug.as_str())
    }

    pub(super) fn is_platform(&self) -> bool {
        self.schema == PLATFORM
    }

    pub(super) fn is_shared(&self) -> bool {
        self.schema == SHARED
    }
}

impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slug() {
            Some(slug) => write!(f, "tenant `{slug}` ({})", self.schema),
            None => write!(f, "`{}`", self.schema),
        }
    }
}

/// One migration of one set.
#[derive(Debug)]
pub(crate) struct Step {
    pub(super) set: &'static str,
    pub(super) version: i32,
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
    pub(super) checksum: Vec<u8>,
    pub(crate) of_platform: bool,
}

impl Step {
    fn new(set: &Set, migration: &Migration, of_platform: bool) -> Arc<Self> {
        Arc::new(Self {
            set: set.name,
            version: migration.version,
            name: migration.name,
            sql: migration.sql,
            checksum: Sha256::digest(migration.sql.as_bytes()).to_vec(),
            of_platform,
        })
    }

    pub(crate) fn label(&self) -> String {
        format!("{}/{:04}_{}", self.set, self.version, self.name)
    }
}

/// Every step of a list of sets: the platform's first, then a home's, each in the order of the sets.
pub(crate) fn steps_of(sets: &[Set]) -> Vec<Arc<Step>> {
    let platform = sets.iter().flat_map(|set| set.platform.iter().map(|one| Step::new(set, one, true)));
    let home = sets.iter().flat_map(|set| set.home.iter().map(|one| Step::new(set, one, false)));
    platform.chain(home).collect()
}
