//! The roles and databases of a private cluster. Every step may be run again.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::error::SetupError;
use super::{DATABASE, LocalPostgres, LocalRole};

/// Makes the logins and the database that are missing.
pub(super) async fn roles_and_database(postgres: &LocalPostgres) -> Result<(), SetupError> {
    let mut superuser = connect(postgres, "postgres").await?;
    for role in [LocalRole::Owner, LocalRole::App, LocalRole::Relay] {
        let (name, password) = (role.name(), postgres.cluster.password(role));
        let exists = "select exists (select from pg_roles where rolname = $1)";
        let exists: bool = sqlx::query_scalar(exists)
            .bind(name)
            .fetch_one(&mut superuser)
            .await
            .while_doing("look for roles")?;
        if !exists {
            // Both are made of letters, digits and underscores only.
            let create = format!(
                "create role {name} login nosuperuser nobypassrls nocreatedb nocreaterole password '{password}'"
            );
            run(&mut superuser, create).await?;
        }
    }
    let exists = "select exists (select from pg_database where datname = $1)";
    let exists: bool = sqlx::query_scalar(exists)
        .bind(DATABASE)
        .fetch_one(&mut superuser)
        .await
        .while_doing("look for databases")?;
    if !exists {
        create_empty(&mut superuser, DATABASE).await?;
    }
    close_to_public(postgres, &mut superuser, DATABASE, None).await?;
    close(superuser).await
}

/// Makes a database, empty or a copy of `template`.
pub(super) async fn create_database(
    postgres: &LocalPostgres,
    name: &str,
    template: Option<&str>,
) -> Result<(), SetupError> {
    let mut superuser = connect(postgres, "postgres").await?;
    match template {
        None => create_empty(&mut superuser, name).await?,
        Some(template) => {
            let (name, template, owner) = (quoted(name), quoted(template), LocalRole::Owner.name());
            // Copying files beats writing them to the log by a third where nothing is synced to a disk.
            let copy = format!("create database {name} owner {owner} template {template} strategy file_copy");
            run(&mut superuser, copy).await?;
        }
    }
    close_to_public(postgres, &mut superuser, name, template).await?;
    close(superuser).await
}

/// Drops a database and closes the connections to it.
pub(super) async fn drop_database(postgres: &LocalPostgres, name: &str) -> Result<(), SetupError> {
    let mut superuser = connect(postgres, "postgres").await?;
    run(&mut superuser, format!("drop database if exists {} with (force)", quoted(name))).await?;
    close(superuser).await
}

async fn create_empty(superuser: &mut PgConnection, name: &str) -> Result<(), SetupError> {
    let (name, owner) = (quoted(name), LocalRole::Owner.name());
    run(superuser, format!("create database {name} owner {owner} template template0")).await
}

/// Takes from everybody what Postgres gives to everybody. A temporary table would come before a tenant's in the
/// search path, so TEMP goes too. A copy has the privileges inside its template, not those on it.
async fn close_to_public(
    postgres: &LocalPostgres,
    superuser: &mut PgConnection,
    name: &str,
    template: Option<&str>,
) -> Result<(), SetupError> {
    run(superuser, format!("revoke create, temporary on database {} from public", quoted(name))).await?;
    if template.is_some() {
        return Ok(());
    }
    let mut inside = connect(postgres, name).await?;
    run(&mut inside, "revoke all on schema public from public".to_owned()).await?;
    close(inside).await
}

async fn connect(postgres: &LocalPostgres, database: &str) -> Result<PgConnection, SetupError> {
    let options = postgres.connect_options(LocalRole::Superuser, database);
    PgConnection::connect_with(&options).await.while_doing(&format!("connect to `{database}`"))
}

async fn close(connection: PgConnection) -> Result<(), SetupError> {
    connection.close().await.while_doing("close a connection")
}

async fn run(connection: &mut PgConnection, statement: String) -> Result<(), SetupError> {
    let action = format!("run `{}`", statement.split(" password ").next().unwrap_or_default());
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.while_doing(&action)?;
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

trait WhileDoing<T> {
    fn while_doing(self, action: &str) -> Result<T, SetupError>;
}

impl<T> WhileDoing<T> for Result<T, sqlx::Error> {
    fn while_doing(self, action: &str) -> Result<T, SetupError> {
        self.map_err(|error| SetupError { action: action.to_owned(), source: error.into() })
    }
}
