//! Whatever needs the owner's login: migrations and provisioning.
//!
//! The owner is held by forced row security as anybody else, and its migrations run with
//! `row_security = off`, which turns a statement that would silently touch no rows into an error
//! (PostgreSQL manual, "row_security").

use std::{str::FromStr, time::Duration};

use formwork_migrations::{Migration, Set};
use sha2::{Digest, Sha256};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use crate::{ConnectError, Isolation, StorageError, TenantId, tenant::is_slug};

/// Home of every tenant in `shared` isolation.
pub(crate) const SHARED: &str = "shared";
const PLATFORM: &str = "platform";

/// The owner's side of one database. Used by a command line or a worker, never by a server.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    pool: sqlx::PgPool,
    sets: Vec<Set>,
}

/// A tenant to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    slug: String,
    name: String,
    isolation: Isolation,
    currency: String,
}

impl NewTenant {
    /// Named `slug` in addresses, `name` for people.
    pub fn new(slug: impl Into<String>, name: impl Into<String>, isolation: Isolation) -> Self {
        Self { slug: slug.into(), name: name.into(), isolation, currency: "KWD".to_owned() }
    }

    /// ISO 4217 code used where none is given.
    #[must_use]
    pub fn currency(mut self, code: impl Into<String>) -> Self {
        self.currency = code.into();
        self
    }
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
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<sqlx::Error> for ControlError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
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

    /// Brings the platform and every home up to date; answers how many steps were run.
    ///
    /// A step and its line in the ledger are one transaction, so that it can be stopped and run again.
    ///
    /// # Errors
    ///
    /// [`ControlError`] names the step and the home.
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn migrate(&self) -> Result<usize, ControlError> {
        let mut conn = self.pool.acquire().await?;
        for role in ["formwork_app", "formwork_relay"] {
            let known: bool = sqlx::query_scalar("select to_regrole($1) is not null")
                .bind(role)
                .fetch_one(&mut *conn)
                .await?;
            if !known {
                return Err(ControlError::MissingRole { role: role.to_owned() });
            }
        }
        prepare(&mut conn).await?;
        let mut steps = 0;
        for set in &self.sets {
            steps += run(&mut conn, PLATFORM, set, set.platform).await?;
        }
        let own: Vec<String> = sqlx::query_scalar(
            "select schema_name from platform.tenants where isolation = 'schema' and status <> 'deleted' order by 1",
        )
        .fetch_all(&mut *conn)
        .await?;
        for home in std::iter::once(SHARED).chain(own.iter().map(String::as_str)) {
            for set in &self.sets {
                steps += run(&mut conn, home, set, set.home).await?;
            }
        }
        Ok(steps)
    }

    /// Makes a tenant with its home, in one transaction.
    ///
    /// # Errors
    ///
    /// [`ControlError::Taken`] when the slug is in use; nothing is left behind by a failure.
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub async fn provision(&self, tenant: &NewTenant) -> Result<TenantId, ControlError> {
        if !is_slug(&tenant.slug) {
            return Err(ControlError::InvalidSlug { slug: tenant.slug.clone() });
        }
        let id = TenantId::generate();
        let schema = match tenant.isolation {
            Isolation::Shared => SHARED.to_owned(),
            Isolation::Schema => format!("t_{}", id.as_uuid().simple()),
            isolation @ Isolation::Database => return Err(ControlError::Unsupported { isolation }),
        };
        let mut conn = self.pool.acquire().await?;
        let mut tx = conn.begin().await?;
        let inserted = sqlx::query(
            "insert into platform.tenants (id, slug, name, status, isolation, schema_name, default_currency)
             values ($1, $2, $3, 'active', $4, $5, $6) on conflict (slug) do nothing",
        )
        .bind(id.as_uuid())
        .bind(&tenant.slug)
        .bind(&tenant.name)
        .bind(tenant.isolation.as_str())
        .bind(&schema)
        .bind(&tenant.currency)
        .execute(&mut *tx)
        .await?;
        if inserted.rows_affected() == 0 {
            return Err(ControlError::Taken { name: tenant.slug.clone() });
        }
        if tenant.isolation == Isolation::Schema {
            create_home(&mut tx, &schema).await?;
            for set in &self.sets {
                for migration in set.home {
                    apply(&mut tx, &schema, set, migration).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Makes a person's identity, global to the platform; answers the one that has the address already.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn ensure_user(
        &self,
        email: &str,
        display_name: &str,
        password_hash: Option<&str>,
    ) -> Result<Uuid, StorageError> {
        Ok(sqlx::query_scalar(
            "with made as (
               insert into platform.users (id, email, display_name, password_hash)
               values ($1, lower($2), $3, $4) on conflict (email) do nothing returning id)
             select id from made union all select id from platform.users where email = lower($2) limit 1",
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

/// The schema `platform`, its ledger, and the shared home.
#[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
async fn prepare(conn: &mut PgConnection) -> Result<(), ControlError> {
    let mut tx = conn.begin().await?;
    // Two migrations at once: the second waits here and then finds nothing left to do.
    sqlx::query("select pg_advisory_xact_lock(hashtext('formwork.migrate'))").execute(&mut *tx).await?;
    sqlx::raw_sql(
        "create schema if not exists platform;
         create table if not exists platform.migration_ledger (
           home text not null, set_name text not null, version integer not null, name text not null,
           checksum bytea not null, applied_at timestamptz not null default now(),
           primary key (home, set_name, version))",
    )
    .execute(&mut *tx)
    .await?;
    create_home(&mut tx, SHARED).await?;
    tx.commit().await?;
    Ok(())
}

async fn create_home(conn: &mut PgConnection, schema: &str) -> Result<(), ControlError> {
    let text =
        format!("create schema if not exists {schema}; grant usage on schema {schema} to formwork_app");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
async fn run(
    conn: &mut PgConnection,
    home: &str,
    set: &Set,
    migrations: &[Migration],
) -> Result<usize, ControlError> {
    let mut steps = 0;
    for migration in migrations {
        let mut tx = conn.begin().await?;
        sqlx::query("select pg_advisory_xact_lock(hashtext('formwork.migrate'))").execute(&mut *tx).await?;
        if !is_applied(&mut tx, home, set, migration).await? {
            apply(&mut tx, home, set, migration).await?;
            steps += 1;
        }
        tx.commit().await?;
    }
    Ok(steps)
}

async fn is_applied(
    conn: &mut PgConnection,
    home: &str,
    set: &Set,
    migration: &Migration,
) -> Result<bool, ControlError> {
    let checksum: Option<Vec<u8>> = sqlx::query_scalar(
        "select checksum from platform.migration_ledger where home = $1 and set_name = $2 and version = $3",
    )
    .bind(home)
    .bind(set.name)
    .bind(migration.version)
    .fetch_optional(conn)
    .await?;
    match checksum {
        None => Ok(false),
        Some(applied) if applied == checksum_of(migration) => Ok(true),
        Some(_) => Err(ControlError::Changed { name: label(set, migration), home: home.to_owned() }),
    }
}

async fn apply(
    conn: &mut PgConnection,
    home: &str,
    set: &Set,
    migration: &Migration,
) -> Result<(), ControlError> {
    let failed = |source: sqlx::Error| ControlError::Migration {
        name: label(set, migration),
        home: home.to_owned(),
        source: source.into(),
    };
    let settings = format!(
        "set local search_path = {home}, pg_temp; set local row_security = off; set local lock_timeout = '10s'"
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *conn).await.map_err(failed)?;
    sqlx::raw_sql(migration.sql).execute(&mut *conn).await.map_err(failed)?;
    sqlx::query(
        "insert into platform.migration_ledger (home, set_name, version, name, checksum) values ($1, $2, $3, $4, $5)",
    )
    .bind(home)
    .bind(set.name)
    .bind(migration.version)
    .bind(migration.name)
    .bind(checksum_of(migration))
    .execute(conn)
    .await
    .map_err(failed)?;
    Ok(())
}

fn label(set: &Set, migration: &Migration) -> String {
    format!("{}/{:04}_{}", set.name, migration.version, migration.name)
}

fn checksum_of(migration: &Migration) -> Vec<u8> {
    Sha256::digest(migration.sql.as_bytes()).to_vec()
}
