//! A table's rows on their way in: COPY FROM is refused under row security, so they come by a temporary table of the
//! owner's, and from there by one INSERT, which lets rows refer to each other in any order.
//!
//! INVARIANT: one stage at a time is open on a connection, and none outlives its transaction.

use sqlx::AssertSqlSafe;

use super::{hands::Hand, tables::Table};

/// Makes the stage for rows of `table`, with its columns and types, and none of its checks.
pub(crate) async fn open(hand: &mut Hand, schema: &str, table: &Table) -> Result<(), sqlx::Error> {
    let stage = format!(
        "create temporary table formwork_moved on commit drop as
         select {} from {schema}.{} with no data",
        table.column_list(),
        table.name
    );
    hand.run(&stage).await?;
    Ok(())
}

/// The statement by which the rows come in.
pub(crate) fn copy_in(table: &Table) -> String {
    format!("copy pg_temp.formwork_moved ({}) from stdin", table.column_list())
}

/// Inserts what has come, as `values` says, and removes the stage. Answers the number of rows.
pub(crate) async fn empty_into(
    hand: &mut Hand,
    schema: &str,
    table: &Table,
    values: &str,
) -> Result<u64, sqlx::Error> {
    let insert = format!(
        "insert into {schema}.{} ({}) overriding system value select {values} from pg_temp.formwork_moved",
        table.name,
        table.column_list()
    );
    let inserted = hand.run(&insert).await?.rows_affected();
    hand.run("drop table formwork_moved").await?;
    Ok(inserted)
}

/// Which sequence counts this column. Names are the catalogue's.
pub(crate) async fn sequence_of(
    hand: &mut Hand,
    schema: &str,
    table: &Table,
    column: &str,
) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select pg_get_serial_sequence($1, $2)")
        .bind(format!("{schema}.{}", table.name))
        .bind(column)
        .fetch_one(&mut hand.conn)
        .await
}

/// The column's sequence goes on behind what is there, and behind `given`.
pub(crate) async fn count_on(
    hand: &mut Hand,
    schema: &str,
    table: &Table,
    column: &str,
    given: Option<i64>,
) -> Result<(), sqlx::Error> {
    let sequence = sequence_of(hand, schema, table, column).await?;
    let column = format!("\"{}\"", column.replace('"', "\"\""));
    let advance = format!(
        "select setval($1::text::regclass, top.value)
           from (select greatest(max({column})::bigint, $2, (select last_value from {sequence} where is_called)) as value
                   from {schema}.{}) top
          where top.value is not null",
        table.name
    );
    sqlx::query(AssertSqlSafe(advance)).bind(&sequence).bind(given).execute(&mut hand.conn).await?;
    Ok(())
}
