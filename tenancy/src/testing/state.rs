//! What stands in a tenant's tables, told from the catalogue and not from a list that somebody keeps.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres};

use crate::{Tenant, TenantTx};

/// Rows and their checksum, by table.
pub(super) type State = BTreeMap<String, (i64, String)>;

/// Tables that the session may read: its home's, and the streams. Quoted names.
const READABLE: &str = "
  select format('%I.%I', n.nspname, c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p') and not c.relispartition and has_table_privilege(c.oid, 'select')
     and (n.nspname = $1 or n.nspname = 'platform' and exists (
       select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
   order by 1";

/// Every table of any home that has a tenant.
const OF_TENANTS: &str = "
  select format('%I.%I', n.nspname, c.relname)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
   where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and a.atttypid = 'uuid'::regtype
   order by 1";

/// What the tenant's own session sees.
pub(super) async fn seen(tx: &mut TenantTx) -> State {
    let schema = tx.tenant().schema_name().to_owned();
    let names = sqlx::query_scalar(READABLE).bind(schema).fetch_all(&mut **tx).await;
    sums(&mut **tx, &names.expect("the catalogue is read"), "true").await
}

/// What is stored as the tenant's, wherever it stands: `root` is held by no policy.
pub(super) async fn stored(root: &mut PgConnection, tenant: &Tenant) -> State {
    let names = sqlx::query_scalar(OF_TENANTS).fetch_all(&mut *root).await;
    let whose = format!("tenant_id = '{}'", tenant.id());
    sums(root, &names.expect("the catalogue is read"), &whose).await
}

async fn sums<'c>(conn: impl Executor<'c, Database = Postgres>, names: &[String], whose: &str) -> State {
    let parts: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "select '{literal}', count(*), \
                   coalesce(md5(string_agg(md5(formwork_row::text), '' order by md5(formwork_row::text))), '') \
                 from {name} formwork_row where {whose}",
                literal = name.replace('\'', "''"),
            )
        })
        .collect();
    if parts.is_empty() {
        return State::new();
    }
    let rows: Vec<(String, i64, String)> = sqlx::query_as(AssertSqlSafe(parts.join(" union all ")))
        .fetch_all(conn)
        .await
        .expect("tables are read");
    rows.into_iter().map(|(name, count, sum)| (name, (count, sum))).collect()
}

/// The first table that is not what it was, and how.
pub(super) fn difference(before: &State, after: &State) -> Option<(String, String)> {
    let name = before.keys().chain(after.keys()).find(|name| before.get(*name) != after.get(*name))?;
    let rows = |state: &State| state.get(name).map_or(0, |(count, _)| *count);
    let how = match (rows(before), rows(after)) {
        (before, after) if before == after => format!("{before} rows, and other bytes in them"),
        (before, after) => format!("{before} rows before, {after} rows after"),
    };
    Some((name.clone(), how))
}

/// The tables with rows that were not there before.
pub(super) fn written(before: &State, after: &State) -> Vec<String> {
    after
        .iter()
        .filter(|(name, state)| before.get(*name) != Some(state))
        .map(|(name, _)| name.clone())
        .collect()
}

/// Where each sequence of the homes stands. Those of `platform` number the streams, by the server alone.
pub(super) async fn sequences(root: &mut PgConnection) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select format('%I.%I', schemaname, sequencename), coalesce(last_value, 0)
           from pg_sequences where schemaname <> 'platform'",
    )
    .fetch_all(root)
    .await
    .expect("the sequences are read");
    rows.into_iter().collect()
}
