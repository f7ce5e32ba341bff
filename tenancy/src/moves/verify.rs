//! Are the two homes the same? By count and by a sum over the rows that does not depend on their order.

use sqlx::AssertSqlSafe;

use super::{
    MoveEvent, MoveFault, MovedTable,
    hands::Hand,
    ledger::Move,
    tables::{self, Table},
};

pub(super) async fn verify(
    entry: &Move,
    source: &mut Hand,
    target: &mut Hand,
    progress: &(dyn Fn(MoveEvent<'_>) + Send + Sync),
) -> Result<Vec<MovedTable>, MoveFault> {
    source.begin_in(&entry.from_schema, "isolation level repeatable read read only").await?;
    target.begin_in(&entry.to_schema, "isolation level repeatable read read only").await?;
    let tables = tables::of_both((source, &entry.from_schema), (target, &entry.to_schema)).await?;
    let mut verified = Vec::with_capacity(tables.len());
    for table in &tables {
        let (there, here) = futures::future::try_join(
            sum(entry, source, &entry.from_schema, table),
            sum(entry, target, &entry.to_schema, table),
        )
        .await?;
        if there != here {
            let table = table.name.clone();
            return Err(MoveFault::Mismatch { table, source_rows: there.rows, target_rows: here.rows });
        }
        let (done, total) = (verified.len() + 1, tables.len());
        progress(MoveEvent::Verified { table: &here.table, rows: here.rows, done, total });
        verified.push(here);
    }
    source.commit().await?;
    target.commit().await?;
    Ok(verified)
}

async fn sum(entry: &Move, hand: &mut Hand, schema: &str, table: &Table) -> Result<MovedTable, sqlx::Error> {
    // A record's text tells null from empty and one column from the next.
    let text = format!(
        "select count(*), coalesce(sum(
                  ('x' || encode(substr(sha256(convert_to(row({})::text, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint::numeric
                ), 0)::text
           from {schema}.{} where tenant_id = '{}'",
        table.column_list(),
        table.name,
        entry.tenant
    );
    let (rows, checksum) = sqlx::query_as(AssertSqlSafe(text)).fetch_one(&mut hand.conn).await?;
    Ok(MovedTable { table: table.name.clone(), rows, checksum })
}
