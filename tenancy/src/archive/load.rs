//! Rows from an archive into tables, in a transaction that nobody sees yet.

use futures::StreamExt;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgConnection, postgres::PgDatabaseError};
use tokio::io::AsyncRead;

use super::{
    ArchiveEvent, ImportError, ImportRefusal,
    format::{Section, SectionHead, hex},
    read::{Reader, Rows},
    select::{Identities, copy_out},
};
use crate::moves::{hands::Hand, stage, tables::Table};

pub(super) type Progress<'a> = &'a (dyn Fn(ArchiveEvent<'_>) + Send + Sync);

/// Keys that fields are sealed under, bound to the tenant.
const KEYS: &str = "tenant_keys";

/// Seals of the audit trail: they name the tenant whose trail they prove, so a copy's own log begins anew.
const SEALS: [&str; 2] = ["audit_leaves", "audit_checkpoints"];

fn is_left_out(table: &Table, identities: Identities) -> bool {
    identities.is_copy() && SEALS.contains(&table.name.as_str())
}

/// Inserts the rows of each table, parents first.
pub(super) async fn load<R: AsyncRead + Unpin>(
    target: &mut Hand,
    schema: &str,
    reader: &mut Reader<R>,
    tables: &[(&SectionHead, &Table)],
    identities: Identities,
    total: usize,
    progress: Progress<'_>,
) -> Result<Vec<Section>, ImportError> {
    let mut sections = Vec::with_capacity(tables.len());
    for (done, (head, table)) in tables.iter().enumerate() {
        progress(ArchiveEvent::Section { name: &head.name, done, total });
        let rows = reader.section(head, Some(identities.archive.to_string())).await?;
        if is_left_out(table, identities) {
            sections.push(pass(rows, progress).await?);
            continue;
        }
        stage::open(target, schema, table).await?;
        let section = feed(rows, &mut target.conn, &stage::copy_in(table), progress).await?;
        if identities.is_copy() && table.name == KEYS && section.rows > 0 {
            return Err(ImportRefusal::Sealed.into());
        }
        let inserted = stage::empty_into(target, schema, table, &identities.into_here(table)).await;
        inserted.map_err(|error| refused(&table.name, None, error))?;
        for column in &table.counted {
            count_on(target, schema, table, column).await?;
        }
        sections.push(section);
    }
    Ok(sections)
}

/// Sends the rows of a section by COPY, and compares their checksum before COPY ends.
pub(super) async fn feed<R: AsyncRead + Unpin>(
    mut rows: Rows<'_, R>,
    conn: &mut PgConnection,
    copy: &str,
    progress: Progress<'_>,
) -> Result<Section, ImportError> {
    let first = rows.line();
    let mut into = conn.copy_in_raw(copy).await?;
    while let Some(piece) = rows.next().await? {
        into.send(piece).await?;
        progress(ArchiveEvent::Rows { rows: rows.rows(), bytes: rows.read() });
    }
    let section = rows.end().await?;
    into.finish().await.map_err(|error| refused(&section.section, Some(first), error))?;
    Ok(section)
}

/// Reads on to the end of a section that is not taken in.
pub(super) async fn pass<R: AsyncRead + Unpin>(
    mut rows: Rows<'_, R>,
    progress: Progress<'_>,
) -> Result<Section, ImportError> {
    while rows.next().await?.is_some() {
        progress(ArchiveEvent::Rows { rows: rows.rows(), bytes: rows.read() });
    }
    Ok(rows.end().await?)
}

/// In a home that is shared a sequence is everybody's: one archive may not bring it to its end.
async fn count_on(target: &mut Hand, schema: &str, table: &Table, column: &str) -> Result<(), ImportError> {
    let sequence = stage::sequence_of(target, schema, table, column).await?;
    let name = format!("\"{}\"", column.replace('"', "\"\""));
    let too_high = format!(
        "select coalesce(max({name}) > (select seqmax / 2 from pg_sequence where seqrelid = $1::text::regclass), false)
           from {schema}.{}",
        table.name
    );
    let too_high: bool =
        sqlx::query_scalar(AssertSqlSafe(too_high)).bind(&sequence).fetch_one(&mut target.conn).await?;
    if too_high {
        let (table, column) = (table.name.clone(), column.to_owned());
        return Err(ImportRefusal::Counter { table, column }.into());
    }
    stage::count_on(target, schema, table, column, None).await?;
    Ok(())
}

/// Exports what was inserted, as it would stand in the archive: the same bytes, or nothing is kept.
pub(super) async fn compare(
    target: &mut Hand,
    schema: &str,
    tables: &[(&SectionHead, &Table)],
    sections: &[Section],
    identities: Identities,
) -> Result<(), ImportError> {
    // Keys that were put off are looked at here.
    target.run("set constraints all immediate").await.map_err(|error| refused("the tables", None, error))?;
    for ((_, table), section) in tables.iter().zip(sections) {
        if is_left_out(table, identities) {
            continue;
        }
        let mut sum = Sha256::new();
        let select = identities.into_archive(table, schema);
        let mut rows = target.conn.copy_out_raw(&copy_out(&select)).await?;
        while let Some(row) = rows.next().await {
            sum.update(&row?);
        }
        drop(rows);
        if hex(sum.finalize()) != section.sha256 {
            return Err(ImportError::Mismatch { table: table.name.clone() });
        }
    }
    Ok(())
}

/// What the database said of rows: theirs is the fault, unless it did not answer.
pub(super) fn refused(table: &str, first: Option<u64>, error: sqlx::Error) -> ImportError {
    let Some(said) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
    else {
        return error.into();
    };
    // Class 22: a value; 23: a key or a check; 42501: row security; P0001: a trigger.
    let code = said.code();
    if !(code.starts_with("22") || code.starts_with("23") || code == "42501" || code == "P0001") {
        return error.into();
    }
    // `COPY formwork_moved, line 3, column id: ...`
    let within = said.r#where().and_then(|place| {
        let digits = place.split_once(", line ")?.1;
        digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    let line = first.zip(within).map(|(first, within)| first + within.saturating_sub(1));
    ImportError::Rows { table: table.to_owned(), line, source: error.into() }
}
