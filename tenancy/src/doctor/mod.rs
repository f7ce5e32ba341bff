//! The doctor: is every wall between the tenants of this database where it should be?
//!
//! What a migration, a grant or a restored backup can break without a word is looked for in the catalogue:
//! [`ControlPlane::doctor`] asks as the owner and reads everything, [`Tenants::doctor_login`] asks as the
//! service and looks at its login alone. Every mistake comes with a stable code, the object, what is wrong, a
//! remedy, and SQL where no decision is left. Run it in CI and before a service starts.
//!
//! ```no_run
//! # async fn example(control: formwork_tenancy::ControlPlane) -> Result<(), Box<dyn std::error::Error>> {
//! use formwork_tenancy::doctor::DoctorConfig;
//!
//! let report = control.doctor(&DoctorConfig::new().global_table("currencies")).await?;
//! println!("{report}");
//! if !report.is_healthy() {
//!     std::process::exit(1);
//! }
//! # Ok(()) }
//! ```
//!
//! It takes some twenty round trips for any number of tables and homes, and locks nothing that others use. It has
//! to write on a primary: how this server prints our policy is tried on a table that is rolled back.
//!
//! # What it cannot see
//!
//! What a definer function does inside, which is why each one must be named; whether a trigger's function still
//! does what it did; roles other than the service's and the relay's; a pooler between the service and the server.

mod check;
mod config;
mod functions;
mod grants;
mod homes;
mod keys;
mod logins;
mod policies;
mod probe;
mod registered;
mod relations;
mod report;
mod server;
mod tables;
mod triggers;

pub use check::{Rule, Severity};
pub use config::DoctorConfig;
pub use report::{Finding, Report};

use check::{Check, Questions};
use probe::Expected;
use registered::Registered;
use sqlx::{Connection, PgConnection};

use crate::{ControlPlane, StorageError, Tenants, databases::MAIN};

const CHECKS: &[Check] = &[
    logins::CHECK,
    grants::CHECK,
    tables::CHECK,
    policies::CHECK,
    keys::CHECK,
    relations::CHECK,
    functions::CHECK,
    triggers::CHECK,
    homes::CHECK,
];

const NOT_MIGRATED: Rule = Rule::error("not-migrated", "run the migrations, then the doctor again");

/// Everything that is looked for.
pub fn rules() -> impl Iterator<Item = Rule> {
    CHECKS
        .iter()
        .flat_map(|check| check.rules)
        .chain(server::RULES)
        .chain([&NOT_MIGRATED, &homes::DATABASE_UNKNOWN])
        .copied()
}

impl ControlPlane {
    /// Looks for everything in [`rules`], in one database after another.
    ///
    /// # Errors
    ///
    /// When a database fails, is a standby, or the login may not create a table in `platform`.
    #[expect(clippy::disallowed_methods, reason = "the owner's connections are tenancy's too")]
    pub async fn doctor(&self, config: &DoctorConfig) -> Result<Report, StorageError> {
        let mut main = self.pool.acquire().await?;
        let mut findings = examine(&mut main, config, &Registry::Here).await?;
        if is_migrated(&mut main, true).await? {
            for (name, pool) in self.databases().filter(|(name, _)| ***name != *MAIN) {
                let registered = Registered::read(&mut main, name).await?;
                let mut conn = pool.acquire().await?;
                let found = examine(&mut conn, config, &Registry::Elsewhere(registered)).await?;
                findings.extend(found.into_iter().map(|finding| finding.in_database(name)));
            }
            let known: Vec<&str> = self.databases().map(|(name, _)| &**name).collect();
            for (slug, database) in registered::elsewhere(&mut main, &known).await? {
                let problem = format!("it lives in database `{database}`, which is not known here");
                findings.push(Finding::new(homes::DATABASE_UNKNOWN, format!("tenant {slug}"), problem, None));
            }
        }
        Ok(Report::new(findings))
    }
}

/// Where the registry is, seen from the database that is looked at.
enum Registry {
    Here,
    Elsewhere(Registered),
}

async fn is_migrated(conn: &mut PgConnection, is_main: bool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select to_regclass('platform.homes') is not null
            and (not $1 or to_regclass('platform.tenants') is not null)",
    )
    .bind(is_main)
    .persistent(false)
    .fetch_one(conn)
    .await
}

#[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
async fn examine(
    conn: &mut PgConnection,
    config: &DoctorConfig,
    registry: &Registry,
) -> Result<Vec<Finding>, StorageError> {
    let is_main = matches!(registry, Registry::Here);
    let migrated = is_migrated(conn, is_main).await?;
    let expected = if migrated { Expected::read(conn, &config.tables).await? } else { Expected::default() };
    let mut tx = conn.begin().await?;
    // One snapshot for all questions; names are printed in full; a plan is used once and not worth compiling.
    sqlx::raw_sql(
        "set transaction isolation level repeatable read, read only;
         set local search_path = pg_catalog; set local jit = off",
    )
    .execute(&mut *tx)
    .await?;
    let here = match registry {
        Registry::Here if migrated => Registered::read(&mut tx, MAIN).await?,
        _ => Registered::default(),
    };
    let registered = match registry {
        Registry::Here => &here,
        Registry::Elsewhere(registered) => registered,
    };
    let questions = Questions { config, app_role: &config.app_role, expected: &expected, registered };
    let mut findings = Vec::new();
    for check in if migrated { CHECKS } else { &[logins::CHECK] } {
        findings.extend(check.findings(questions.ask(check).fetch_all(&mut *tx).await?));
    }
    if migrated {
        findings.extend(server::examine(&mut tx).await?);
    } else {
        let what = if is_main { "registry of tenants" } else { "list of its homes" };
        let problem = format!("the database has no {what}");
        findings.push(Finding::new(NOT_MIGRATED, "schema platform".to_owned(), problem, None));
    }
    tx.rollback().await?;
    Ok(findings)
}

impl Tenants {
    /// Looks at the login that this handle is connected with, and at the relay's, in every database: what they are, what
    /// they may become, what they may do to the database, and whether a tenant is set where none has been begun. A
    /// database other than the main one that cannot be reached is left out: its tenants are refused.
    ///
    /// # Errors
    ///
    /// When a database fails.
    pub async fn doctor_login(&self, config: &DoctorConfig) -> Result<Report, StorageError> {
        let mut findings = self.login_findings(MAIN, config).await?;
        for name in self.other_databases() {
            match self.login_findings(name, config).await {
                Ok(found) => findings.extend(found.into_iter().map(|finding| finding.in_database(name))),
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(database = name, %error, "the login in a database was not looked at");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Report::new(findings))
    }

    async fn login_findings(
        &self,
        database: &str,
        config: &DoctorConfig,
    ) -> Result<Vec<Finding>, StorageError> {
        let mut conn = self.begin_outside_in(database).await?;
        let login: String =
            sqlx::query_scalar("select current_user::text").persistent(false).fetch_one(&mut conn).await?;
        let (expected, registered) = (Expected::default(), Registered::default());
        let questions = Questions { config, app_role: &login, expected: &expected, registered: &registered };
        let rows = questions.ask(&logins::CHECK).fetch_all(&mut conn).await?;
        conn.rollback().await?;
        Ok(logins::CHECK.findings(rows).collect())
    }
}
