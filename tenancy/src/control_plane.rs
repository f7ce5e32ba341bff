//! Whatever needs the owner's login: migrations, provisioning and moves.
//!
//! The owner is held by forced row security as anybody else, and its migrations run with
//! `row_security = off`, which turns a statement that would silently touch no rows into an error
//! (PostgreSQL manual, "row_security").

mod administrator;
mod api_key;
mod domain;
mod provision;
mod prune;
mod regions;

use std::{str::FromStr, sync::Arc, time::Duration};

use formwork_migrations::Set;
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

pub use administrator::NewAdministratorGrant;
pub use api_key::{ApiKey, NewApiKey};
pub use domain::{DomainClaim, DomainError};
pub use provision::NewTenant;
pub(crate) use provision::beside_migrations;
pub(crate) use prune::read_by_all;
pub use prune::{Prune, PruneError, Pruned};

use crate::{
    ConnectError, Host, Isolation, ReservedNames, StorageError, TenantId, UnknownDatabase,
    databases::{MAIN, is_database_name},
    fleet::{Fleet, FleetOptions},
    tenant::is_slug,
};

/// Home of every tenant in `shared` isolation.
pub(crate) const SHARED: &str = "shared";

/// The owner's side of the databases. Used by a command line or a worker, never by a server.
///
/// ```no_run
/// # async fn example(eu: sqlx::postgres::PgConnectOptions) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::{ControlPlane, HomePlace, NewTenant};
///
/// let control = ControlPlane::connect("postgres://formwork_owner@localhost/app", &[formwork_migrations::TENANCY])
///     .await?
///     .with_database("eu", eu)
///     .await?;
/// control.migrate().await?;
/// control.provision(&NewTenant::placed("acme", "Acme Construction", HomePlace::database("eu"))).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ControlPlane {
    pub(crate) pool: sqlx::PgPool,
    pub(crate) main: Arc<str>,
    others: Vec<OwnedDatabase>,
    pub(crate) sets: Vec<Set>,
    base_domains: Vec<Host>,
    reserved_names: ReservedNames,
}

/// A database beside the main one.
#[derive(Debug, Clone)]
struct OwnedDatabase {
    name: Arc<str>,
    region: Option<String>,
    pool: sqlx::PgPool,
}

/// The region of the main database, unless it is named.
pub(crate) const LOCAL_REGION: &str = "local";

/// A tenant or a user could not be made, or a migration could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A slug that cannot stand in a host name.
    #[error("`{slug}` is no slug: use 1 to 63 lower-case letters, digits and inner hyphens{}", hidden(slug))]
    InvalidSlug {
        /// As given.
        slug: String,
    },
    /// A slug that is the platform's own, or would be taken for it.
    #[error("`{slug}` reads as `{name}`, which is reserved: choose another name")]
    Reserved {
        /// As given.
        slug: String,
        /// The reserved name.
        name: String,
    },
    /// An API key that says too little.
    #[error("the API key cannot be made: {why}")]
    InvalidApiKey {
        /// What is missing.
        why: &'static str,
    },
    /// The slug or address is taken.
    #[error("`{name}` is taken: choose another name")]
    Taken {
        /// As given.
        name: String,
    },
    /// Isolation `database` without the database.
    #[error("isolation `{isolation}` needs a database: name it with `NewTenant::placed`")]
    Unsupported {
        /// As given.
        isolation: Isolation,
    },
    /// Leave for an administrator that says too little.
    #[error("the administrator's grant cannot be given: {why}")]
    InvalidGrant {
        /// What is missing.
        why: &'static str,
    },
    /// A role of its own that cannot be made for a tenant.
    #[error("no role of its own can be made for the tenant: {why}")]
    OwnRole {
        /// What is in the way, and what to do.
        why: &'static str,
    },
    /// A database that this control plane was not told of.
    #[error(transparent)]
    UnknownDatabase(#[from] UnknownDatabase),
    /// The tenant's data may not lie in that region.
    #[error("data of `{tenant}` may lie in {} only, not in region `{region}`: choose another database", allowed.join(", "))]
    Residency {
        /// The tenant's slug.
        tenant: String,
        /// The region of the database.
        region: String,
        /// Where they may lie.
        allowed: Vec<String>,
    },
    /// A region that the registry does not know, or that cannot be one.
    #[error(
        "there is no region `{region}`: enter it first (`put_region`), in lower-case letters, digits and `-`"
    )]
    UnknownRegion {
        /// As given.
        region: String,
    },
    /// No place that a request could be sent to.
    #[error("`{url}` is no public address of a region: use one like `https://eu.example.com`")]
    InvalidPlace {
        /// As given.
        url: String,
    },
    /// The registry and this program do not agree on a database's region.
    #[error(
        "database `{name}` is in region `{registered}` by the registry and in `{given}` by this program: correct either"
    )]
    RegionConflict {
        /// The database.
        name: String,
        /// By the registry.
        registered: String,
        /// By [`ControlPlane::region`].
        given: String,
    },
    /// No tenant has this identity.
    #[error("there is no tenant {tenant}")]
    UnknownTenant {
        /// As given.
        tenant: TenantId,
    },
    /// Something failed in another database than the main one.
    #[error("database `{name}`: {source}")]
    Database {
        /// Its name.
        name: String,
        /// What failed.
        source: Box<ControlError>,
    },
    /// A role of the database is missing.
    #[error("role `{role}` does not exist: create it with `create role {role} login`")]
    MissingRole {
        /// Its name.
        role: String,
    },
    /// A migration that was applied reads differently now.
    #[error(
        "migration `{name}` of `{home}` was changed after it was applied: restore its text and add a new one"
    )]
    Changed {
        /// Set and name of the migration.
        name: String,
        /// Where it was applied.
        home: String,
    },
    /// A migration failed; it left nothing.
    #[error("migration `{name}` failed in `{home}`")]
    Migration {
        /// Set and name of the migration.
        name: String,
        /// Where it was run.
        home: String,
        /// What the database said.
        #[source]
        source: StorageError,
    },
    /// A step holds a statement that no step may hold; nothing was run.
    #[error("migration `{name}` cannot be run, line {line}: `{statement}`: {why}")]
    Refused {
        /// Set and name of the migration.
        name: String,
        /// Counted from 1, in the step's text.
        line: usize,
        /// Its first words.
        statement: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// Another run is at work on this database.
    #[error("another migration is at work on this database: wait for its end")]
    Busy,
    /// The tenant has an import that is not done with.
    #[error("the tenant has an import that is not done with: import it again, or abort the import")]
    Importing,
    /// A canary that has no home of its own.
    #[error("tenant `{tenant}` has no schema of its own, so it cannot be the canary")]
    NoHome {
        /// Its slug, as given.
        tenant: String,
    },
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Some that have the letters of a slug show, or read, as something else.
fn hidden(slug: &str) -> &'static str {
    if is_slug(slug) { ", none in third and fourth place, and no UUID" } else { "" }
}

impl From<sqlx::Error> for ControlError {
    fn from(source: sqlx::Error) -> Self {
        let source = StorageError::from(source);
        if source.is_while_imported() { Self::Importing } else { Self::Storage(source) }
    }
}

impl ControlError {
    pub(crate) fn in_database(self, name: &str) -> Self {
        match (name, self) {
            (MAIN, error) | (_, error @ Self::Database { .. }) => error,
            (name, error) => Self::Database { name: name.to_owned(), source: Box::new(error) },
        }
    }
}

/// A person's identity, and whether it was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct EnsuredUser {
    /// The identity.
    pub id: Uuid,
    /// Was it made just now?
    pub is_new: bool,
}

impl ControlPlane {
    /// Connects as the owner, by URL. `sets` in the order of their dependencies.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect(url: &str, sets: &[Set]) -> Result<Self, ConnectError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| ConnectError::Address { reason: error.to_string() })?;
        Self::connect_with(options, sets).await
    }

    /// Connects as the owner, by options.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn connect_with(options: PgConnectOptions, sets: &[Set]) -> Result<Self, ConnectError> {
        let pool = owners_pool(options).await?;
        Ok(Self {
            pool,
            main: MAIN.into(),
            others: Vec::new(),
            sets: sets.to_vec(),
            base_domains: Vec::new(),
            reserved_names: ReservedNames::default(),
        })
    }

    /// A domain below which tenants answer by their slugs, as given to
    /// [`TenantsBuilder::base_domain`](crate::TenantsBuilder::base_domain): nobody can claim it, or what is below it.
    ///
    /// # Errors
    ///
    /// When it is no name.
    pub fn base_domain(mut self, domain: &str) -> Result<Self, ConnectError> {
        match domain.trim_matches('.').parse::<Host>() {
            Ok(host) if host.is_name() => self.base_domains.push(host),
            _ => return Err(ConnectError::BaseDomain { domain: domain.to_owned() }),
        }
        Ok(self)
    }

    /// Names that no tenant is given. Without this call [the default list](ReservedNames::default).
    #[must_use]
    pub fn reserved_names(mut self, names: ReservedNames) -> Self {
        self.reserved_names = names;
        self
    }

    /// Connects to another database in which tenants have their homes, as its owner. The registry keeps the name; the
    /// service must know it by the same one. Its region is its name, unless [`region`](Self::region) says otherwise.
    ///
    /// # Errors
    ///
    /// [`ConnectError`].
    pub async fn with_database(
        mut self,
        name: &str,
        options: PgConnectOptions,
    ) -> Result<Self, ConnectError> {
        if !is_database_name(name) || self.pool_of(name).is_ok() {
            return Err(ConnectError::Name { name: name.to_owned() });
        }
        let connected = owners_pool(options)
            .await
            .map_err(|source| ConnectError::Database { name: name.to_owned(), source: Box::new(source) });
        self.others.push(OwnedDatabase { name: name.into(), region: None, pool: connected? });
        Ok(self)
    }

    /// Says which region a database other than `main` is in, where the registry does not
    /// ([`place_database`](Self::place_database)); `main` is in the region `local` then.
    ///
    /// # Errors
    ///
    /// When there is no such database.
    pub fn region(mut self, name: &str, region: &str) -> Result<Self, UnknownDatabase> {
        let Some(database) = self.others.iter_mut().find(|other| &*other.name == name) else {
            return Err(UnknownDatabase::new(name));
        };
        database.region = Some(region.to_owned());
        Ok(self)
    }

    /// All databases by name, the main one first.
    pub(crate) fn databases(&self) -> impl Iterator<Item = (&Arc<str>, &sqlx::PgPool)> {
        let others = self.others.iter().map(|other| (&other.name, &other.pool));
        std::iter::once((&self.main, &self.pool)).chain(others)
    }

    pub(crate) fn pool_of(&self, name: &str) -> Result<&sqlx::PgPool, UnknownDatabase> {
        let found = self.databases().find(|(known, _)| &***known == name);
        found.map(|(_, pool)| pool).ok_or_else(|| UnknownDatabase::new(name))
    }

    /// What this program says of a database's region: what it was told, and what holds otherwise.
    fn said_region(&self, name: &str) -> (Option<&str>, &str) {
        match self.others.iter().find(|other| &*other.name == name) {
            Some(other) => (other.region.as_deref(), &other.name),
            None => (None, LOCAL_REGION),
        }
    }

    /// Brings every database and every home up to date; answers how many steps were run. See [`Fleet::run`] for how,
    /// and for what can be chosen; this stops at the first home that fails.
    ///
    /// # Errors
    ///
    /// [`ControlError`] names the step and the home.
    pub async fn migrate(&self) -> Result<usize, ControlError> {
        let options = FleetOptions::new().stop_after(1);
        Ok(self.fleet().run(&options, |_| ()).await?.into_result()?.steps())
    }

    /// All homes, as migrations see them: plans, runs, drift.
    pub fn fleet(&self) -> Fleet {
        Fleet::new(self.databases(), &self.sets)
    }

    /// Makes a person's identity, global to the platform; or answers the one that has the address already, which
    /// keeps its name and its password.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn ensure_user(
        &self,
        email: &str,
        display_name: &str,
        password_hash: Option<&str>,
    ) -> Result<EnsuredUser, StorageError> {
        Ok(sqlx::query_as(
            "with made as (
               insert into platform.users (id, email, display_name, password_hash)
               values ($1, lower($2), $3, $4) on conflict (email) do nothing returning id)
             select id, true as is_new from made
             union all select id, false from platform.users where email = lower($2) limit 1",
        )
        .bind(Uuid::now_v7())
        .bind(email)
        .bind(display_name)
        .bind(password_hash)
        .fetch_one(&self.pool)
        .await?)
    }

    /// Enters the person into the index of the tenant's members, by which a login finds them.
    ///
    /// # Errors
    ///
    /// When the tenant or the user does not exist, or the database fails.
    pub async fn index_membership(&self, tenant: TenantId, user: Uuid) -> Result<(), StorageError> {
        sqlx::query(
            "insert into platform.memberships (tenant_id, user_id) values ($1, $2) on conflict do nothing",
        )
        .bind(tenant.as_uuid())
        .bind(user)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Closes its connections.
    pub async fn close(&self) {
        for (_, pool) in self.databases() {
            pool.close().await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
async fn owners_pool(options: PgConnectOptions) -> Result<sqlx::PgPool, ConnectError> {
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options.application_name("formwork-control"));
    drop(pool.acquire().await?);
    Ok(pool)
}

/// The service's logins, to whom the steps grant rights.
pub(crate) async fn ensure_roles(conn: &mut PgConnection) -> Result<(), ControlError> {
    let missing: Option<String> = sqlx::query_scalar(
        "select role from unnest(array['formwork_app', 'formwork_relay']) role where to_regrole(role) is null limit 1",
    )
    .fetch_optional(conn)
    .await?;
    match missing {
        None => Ok(()),
        Some(role) => Err(ControlError::MissingRole { role }),
    }
}
