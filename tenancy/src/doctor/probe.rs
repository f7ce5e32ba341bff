//! How this very server prints what our generator writes.
//!
//! The text of a stored expression depends on the server's version, so a table is made with the generated
//! policy, its catalogue entries are read, and all of it is rolled back: nobody else ever sees it. A declared rule is
//! tried on a table like its own.

use formwork_migrations::{Policy, TenantTable};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::control_plane::SHARED;

/// Stands for the table in the statement that makes a policy.
const TABLE: &str = "@table@";

const DEFAULT: &str = "nullif(current_setting('app.current_tenant', true), '')::uuid";

/// What a tenant's table must have.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Both clauses of the policy, as printed.
    pub(super) policy: String,
    /// Its name, which carries the hash of its text.
    pub(super) policy_name: String,
    /// The default of `tenant_id`, as printed.
    pub(super) default: String,
    /// The statement that makes the policy on `@table@`.
    pub(super) create_policy: String,
    /// The rules of the declared tables: table, rule, name, both clauses as printed, the statement.
    pub(super) restrictions: Vec<Value>,
}

impl Expected {
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub(super) async fn read(conn: &mut PgConnection, declared: &[TenantTable]) -> Result<Self, sqlx::Error> {
        let isolation = Policy::isolation();
        // Two doctors at once do not wait for each other's name.
        let name = format!("platform.doctor_probe_{}", Uuid::new_v4().simple());
        let mut tx = conn.begin().await?;
        let text = format!(
            "set local search_path = pg_catalog; \
             create table {name} (tenant_id uuid default {DEFAULT}); {}",
            isolation.sql(&name)
        );
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *tx).await?;
        let (policy, default) = sqlx::query_as(
            "select pg_get_expr(p.polqual, p.polrelid), pg_get_expr(d.adbin, d.adrelid)
               from pg_policy p join pg_attrdef d on d.adrelid = p.polrelid
              where p.polrelid = to_regclass($1)",
        )
        .bind(&name)
        .persistent(false)
        .fetch_one(&mut *tx)
        .await?;
        let mut restrictions = Vec::new();
        for table in declared.iter().filter(|table| !table.restrictions().is_empty()) {
            restrictions.extend(of_table(&mut tx, table).await?);
        }
        tx.rollback().await?;
        Ok(Self {
            policy,
            policy_name: isolation.name(),
            default,
            create_policy: isolation.sql(TABLE),
            restrictions,
        })
    }
}

/// The table's rules, tried on one of its name in a schema that is rolled back, and printed as they would be in the shared home; unprinted when it has no such table, or none that
/// fits them.
#[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
async fn of_table(conn: &mut PgConnection, table: &TenantTable) -> Result<Vec<Value>, sqlx::Error> {
    let mut found = Vec::new();
    let (schema, name) = table.name().split_once('.').unwrap_or((SHARED, table.name()));
    for policy in table.restrictions() {
        let probe = format!("doctor_probe_{}", Uuid::new_v4().simple());
        // A table that cannot be written out is in no home either; and one rule that fails is no reason to stop.
        let mut tried = conn.begin().await?;
        let printed = match table.sql() {
            Ok(_) => print(&mut tried, schema, name, &probe, policy).await,
            Err(_) => Err(sqlx::Error::RowNotFound),
        };
        tried.rollback().await?;
        let (using, check) = match printed {
            Ok((using, check)) => (Some(using), Some(check)),
            Err(sqlx::Error::Database(_) | sqlx::Error::RowNotFound) => (None, None),
            Err(error) => return Err(error),
        };
        let plain = |text: Option<String>| {
            text.map(|text| text.replace(&format!("{probe}."), "").replace(&format!("{schema}."), ""))
        };
        found.push(json!({
            "declared": table.name(),
            "rule": policy.rule(),
            "name": policy.name(),
            "using_": plain(using),
            "check_": plain(check),
            "sql": policy.sql(TABLE),
        }));
    }
    Ok(found)
}

async fn print(
    conn: &mut PgConnection,
    schema: &str,
    name: &str,
    probe: &str,
    policy: &Policy,
) -> Result<(String, String), sqlx::Error> {
    let text = format!(
        "create schema {probe}; create table {probe}.{name} (like {schema}.{name}); \
         set local search_path = {schema}, pg_catalog; {}; set local search_path = pg_catalog",
        policy.sql(&format!("{probe}.{name}"))
    );
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *conn).await?;
    sqlx::query_as(
        "select pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
           from pg_policy where polrelid = to_regclass($1)",
    )
    .bind(format!("{probe}.{name}"))
    .persistent(false)
    .fetch_one(conn)
    .await
}
