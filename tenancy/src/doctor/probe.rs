//! How this very server prints what our generator writes.
//!
//! The text of a stored expression depends on the server's version, so a table is made with the generated
//! policy, its catalogue entries are read, and all of it is rolled back: nobody else ever sees it.

use formwork_migrations::TenantTable;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Stands for the table in the statement that makes a policy.
const TABLE: &str = "@table@";

const DEFAULT: &str = "nullif(current_setting('app.current_tenant', true), '')::uuid";

/// What a tenant's table must have.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Both clauses of the policy, as printed.
    pub(super) policy: String,
    /// The default of `tenant_id`, as printed.
    pub(super) default: String,
    /// The statement that makes the policy on `@table@`.
    pub(super) create_policy: String,
}

impl Expected {
    #[expect(clippy::disallowed_methods, reason = "the owner's transactions are tenancy's too")]
    pub(super) async fn read(conn: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let create_policy = create_policy();
        // Two doctors at once do not wait for each other's name.
        let name = format!("platform.doctor_probe_{}", Uuid::new_v4().simple());
        let mut tx = conn.begin().await?;
        let text = format!(
            "set local search_path = pg_catalog; \
             create table {name} (tenant_id uuid default {DEFAULT}); {}",
            create_policy.replace(TABLE, &name)
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
        tx.rollback().await?;
        Ok(Self { policy, default, create_policy })
    }
}

/// The part of the generator's text that makes the policy.
fn create_policy() -> String {
    TenantTable::new(TABLE)
        .sql()
        .split_inclusive(";\n")
        .find(|statement| statement.starts_with("create policy"))
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generator_makes_one_policy() {
        let text = super::create_policy();
        assert!(
            text.starts_with("create policy tenant_isolation on @table@ as permissive for all"),
            "{text}"
        );
        assert!(text.ends_with(");"), "{text}");
    }
}
