//! The two tables of the fleet: what has been done, and what could not be.
//!
//! A step's line in the ledger is written in the step's own transaction, so the two cannot disagree.

use sqlx::{AssertSqlSafe, PgConnection};

use super::report::HomeFailure;

/// Two runs at once: the second waits here. Held by the session of a run; shared, by a move.
pub(crate) const RUN: &str = "hashtext('formwork.migrate')";

/// Held shared by whoever makes a home, in the transaction that makes it; exclusive for the moment in which a run
/// reads the list of homes, so that the list holds every home that was begun before.
pub(crate) const HOMES: &str = "hashtext('formwork.homes')";

/// The schema `platform`, the tables of the fleet, and the shared home.
pub(super) const PREPARE: &str = "
set local client_min_messages = warning;
create schema if not exists platform;
create table if not exists platform.migration_ledger (
  home text not null, set_name text not null, version integer not null, name text not null,
  checksum bytea not null, applied_at timestamptz not null default now(),
  primary key (home, set_name, version));
create table if not exists platform.migration_failures (
  home text primary key, step text, reason text not null, attempts integer not null,
  failed_at timestamptz not null default now());
create schema if not exists shared;
grant usage on schema shared to formwork_app;
";

pub(super) async fn prepare(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let text = format!("begin; set local lock_timeout = '10s'; {PREPARE}; commit");
    sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await?;
    Ok(())
}

/// What went wrong last, for as long as it has not been put right.
pub(super) async fn record(conn: &mut PgConnection, failure: &HomeFailure) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into platform.migration_failures (home, step, reason, attempts) values ($1, $2, $3, $4)
         on conflict (home) do update
           set step = excluded.step, reason = excluded.reason, attempts = excluded.attempts, failed_at = now()",
    )
    .bind(failure.home().schema())
    .bind(failure.step())
    .bind(failure.reason())
    .bind(i32::try_from(failure.attempts()).unwrap_or(i32::MAX))
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes durable whatever has been committed so far, and forgets failures that have been put right.
///
/// A home's transaction does not wait for the disk: what a crash of the machine takes away, it takes away together
/// with its lines in the ledger, and the next run does it again. This commit waits, and the log is written in
/// order (PostgreSQL manual, "Asynchronous Commit").
pub(super) async fn settle(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let text = "begin;
         delete from platform.migration_failures f where exists (
           select from platform.migration_ledger l
            where l.applied_at > f.failed_at and (l.home = f.home or (l.home, f.home) = ('database', 'platform')));
         select pg_logical_emit_message(true, 'formwork.fleet', 'settled');
         commit";
    sqlx::raw_sql(text).execute(conn).await?;
    Ok(())
}

/// Takes or asks for a lock of this session.
pub(super) async fn lock(conn: &mut PgConnection, wait: bool) -> Result<bool, sqlx::Error> {
    let text = match wait {
        true => format!("select true from pg_advisory_lock({RUN})"),
        false => format!("select pg_try_advisory_lock({RUN})"),
    };
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(conn).await
}
