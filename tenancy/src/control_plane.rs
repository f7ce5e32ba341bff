//! Whatever needs the owner's login: migrations and provisioning.
//!
//! The owner is held by forced row security as anybody else, and its migrations run with
//! `row_security = off`, which turns a statement that would silently touch no rows into an error
//! (PostgreSQL manual, "row_security").

mod administrator;
mod provision;
mod prune;

use std::{str::FromStr, time::Duration};

use formwork_migrations::Set;
use sqlx::{
    PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

pub use administrator::NewAdministratorGrant;
pub use provision::NewTenant;
pub use prune::{Prune, PruneError, Pruned};

use crate::{
    ConnectError, Isolation, StorageError, TenantId,
    fleet::{Fleet, FleetOptions},
};

/// Home of every tenant in `shared` isolation.
pub(crate) const SHARED: &str = "shared";

/// The owner's side of one database. Used by a command line or a worker, never by a server.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    pub(crate) pool: sqlx::PgPool,
    sets: Vec<Set>,
}

/// A tenant or a user could not be made, or a migration could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A slug that cannot stand in a host name.
    #[error("`{slug}` is no slug: use 1 to 63 lower-case letters, digits and inner hyphens")]
    InvalidSlug {
        /// As given.
        slug: String,
    },
    /// The slug or address is taken.
    #[error("`{name}` is taken: choose another name")]
    Taken {
        /// As given.
        name: String,
    },
    /// An isolation that this version cannot provision.
    #[error("isolation `{isolation}` cannot be provisioned yet: use shared or schema")]
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

impl From<sqlx::Error> for ControlError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
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
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn connect_with(options: PgConnectOptions, sets: &[Set]) -> Result<Self, ConnectError> {
        let options = options.application_name("formwork-control");
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options);
        drop(pool.acquire().await?);
        Ok(Self { pool, sets: sets.to_vec() })
    }

    /// Brings the platform and every home up to date; answers how many steps were run. See [`Fleet::run`] for how,
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
        Fleet::new(self.pool.clone(), &self.sets)
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
        self.pool.close().await;
    }
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
