//! What is migrated as one.

use std::{fmt, sync::Arc};

use formwork_migrations::{Migration, Set};
use sha2::{Digest, Sha256};

use crate::{TenantId, control_plane::SHARED, databases::MAIN};

pub(super) const PLATFORM: &str = "platform";
/// Where the ledger enters what every database has.
const DATABASE: &str = "database";

/// The platform, the shared home, or one tenant's own schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    pub(crate) database: Arc<str>,
    pub(crate) schema: String,
    pub(crate) tenant: Option<(TenantId, String)>,
    pub(super) own_role: bool,
}

impl Home {
    /// The database that holds it, by the name that the control plane knows it by.
    pub fn database(&self) -> &str {
        &self.database
    }

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
        }?;
        match self.database() {
            MAIN => Ok(()),
            other => write!(f, " in database `{other}`"),
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
    pub(crate) scope: Scope,
}

/// How often a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// Once, in the control plane's database.
    Platform,
    /// Once a database.
    Database,
    /// Once a home.
    Home,
}

impl Step {
    fn new(set: &Set, migration: &Migration, scope: Scope) -> Arc<Self> {
        Arc::new(Self {
            set: set.name,
            version: migration.version,
            name: migration.name,
            sql: migration.sql,
            checksum: Sha256::digest(migration.sql.as_bytes()).to_vec(),
            scope,
        })
    }

    /// Under what name the ledger has it, for the home with this schema.
    pub(crate) fn ledger_home<'a>(&self, schema: &'a str) -> &'a str {
        self.kept_as().unwrap_or(schema)
    }

    /// Under what name the ledger has it, when that is not the schema's.
    pub(super) fn kept_as(&self) -> Option<&'static str> {
        (self.scope == Scope::Database).then_some(DATABASE)
    }

    pub(crate) fn label(&self) -> String {
        format!("{}/{:04}_{}", self.set, self.version, self.name)
    }
}

/// Every step of a list of sets: the platform's first, then every database's, then a home's, each in the order of the
/// sets.
pub(crate) fn steps_of(sets: &[Set]) -> Vec<Arc<Step>> {
    let platform =
        sets.iter().flat_map(|set| set.platform.iter().map(|one| Step::new(set, one, Scope::Platform)));
    let database =
        sets.iter().flat_map(|set| set.database.iter().map(|one| Step::new(set, one, Scope::Database)));
    let home = sets.iter().flat_map(|set| set.home.iter().map(|one| Step::new(set, one, Scope::Home)));
    platform.chain(database).chain(home).collect()
}
