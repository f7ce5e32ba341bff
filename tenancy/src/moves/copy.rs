//! Every row from one home into the other, in one transaction there.
//!
//! Inside one database by INSERT from SELECT. Between two as a stream of COPY text into a temporary table of the owner,
//! since COPY FROM is refused under row security, and from there by INSERT; of a table of any size, no more is in memory
//! than what is on its way.

use futures::StreamExt;
use sqlx::AssertSqlSafe;

use super::{
    MoveEvent, MoveFault,
    hands::Hand,
    ledger::Move,
    stage,
    tables::{self, Table},
};
use crate::control_plane::SHARED;

pub(super) async fn copy(
    entry: &Move,
    source: &mut Hand,
    target: &mut Hand,
    progress: &(dyn Fn(MoveEvent<'_>) + Send + Sync),
) -> Result<(), MoveFault> {
    source.begin_in(&entry.from_schema, "isolation level repeatable read read only").await?;
    target.begin_in(&entry.to_schema, "").await?;
    // What an earlier attempt has left. Its statements are over: it held this connection's lock.
    super::undo::delete_rows(target, &entry.to_schema).await?;
    target
        .run(&format!("set local app.copying_home = '{}'; set constraints all deferred", entry.to_schema))
        .await?;
    let tables = tables::of_both((source, &entry.from_schema), (target, &entry.to_schema)).await?;
    for (nr, table) in tables.iter().enumerate() {
        let copied = match entry.is_within_one_database() {
            true => within(entry, target, table).await,
            false => across(entry, source, target, table).await,
        };
        let failed = |source| MoveFault::Copy { table: table.name.clone(), source };
        let rows = copied.map_err(failed)?;
        count_on(entry, source, target, table).await.map_err(failed)?;
        progress(MoveEvent::Copied { table: &table.name, rows, done: nr + 1, total: tables.len() });
    }
    source.commit().await?;
    // Keys that were put off are looked at here.
    target.commit().await?;
    Ok(())
}

async fn within(entry: &Move, target: &mut Hand, table: &Table) -> Result<u64, sqlx::Error> {
    let Move { tenant, from_schema, to_schema, .. } = entry;
    let (name, columns) = (&table.name, table.column_list());
    let insert = format!(
        "insert into {to_schema}.{name} ({columns}) overriding system value
         select {columns} from {from_schema}.{name} where tenant_id = '{tenant}'"
    );
    Ok(target.run(&insert).await?.rows_affected())
}

async fn across(
    entry: &Move,
    source: &mut Hand,
    target: &mut Hand,
    table: &Table,
) -> Result<u64, sqlx::Error> {
    let Move { tenant, from_schema, to_schema, .. } = entry;
    let (name, columns) = (&table.name, table.column_list());
    stage::open(target, to_schema, table).await?;
    let out =
        format!("copy (select {columns} from {from_schema}.{name} where tenant_id = '{tenant}') to stdout");
    let mut rows = source.conn.copy_out_raw(&out).await?;
    let mut into = target.conn.copy_in_raw(&stage::copy_in(table)).await?;
    while let Some(chunk) = rows.next().await {
        into.send(chunk?).await?;
    }
    drop(rows);
    into.finish().await?;
    stage::empty_into(target, to_schema, table, &columns).await
}

/// A sequence goes on behind what was copied, and behind what was given out in a home of the tenant's own.
async fn count_on(
    entry: &Move,
    source: &mut Hand,
    target: &mut Hand,
    table: &Table,
) -> Result<(), sqlx::Error> {
    for column in &table.counted {
        let mut given: Option<i64> = None;
        if entry.from_schema != SHARED {
            let there = stage::sequence_of(source, &entry.from_schema, table, column).await?;
            given =
                sqlx::query_scalar(AssertSqlSafe(format!("select last_value from {there} where is_called")))
                    .fetch_optional(&mut source.conn)
                    .await?;
        }
        stage::count_on(target, &entry.to_schema, table, column, given).await?;
    }
    Ok(())
}
