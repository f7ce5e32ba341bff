//! The connection under a transaction, and the things that sqlx leaves to us.
//!
//! **A connection is reused only when its last answer has been read.** In sqlx 0.8.4 to 0.9.0 a future
//! that is dropped while BEGIN is on its way leaves the connection inside an open transaction, with the
//! tenant's `SET LOCAL` in force, and the pool hands it to the next caller (sqlx issues #4385, #4393).
//! So whoever waits for an answer first notes that one is owed; dropped in that state, the connection
//! is closed. Dropped between two statements, it is rolled back before the pool sees it again.
//!
//! **sqlx does not know of the transaction.** It would count it, and lower the count only by another round
//! trip or by a ROLLBACK that has nothing to roll back. BEGIN and COMMIT are raw messages.
//!
//! **Behind a transaction pooler no statement may be prepared by name**, so the executor can strip
//! persistence from whatever it is given.

use std::{fmt, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Either, Execute, Executor, PgConnection, Postgres, SqlSafeStr, SqlStr,
    error::BoxDynError,
    postgres::{PgArguments, PgDatabaseError, PgQueryResult, PgRow, PgSeverity, PgStatement, PgTypeInfo},
};
use tokio::runtime::Handle;

use crate::{
    admission::Admitted,
    warm::{Leased, Warm},
};

/// What executes a transaction's statements: `&mut TenantConn` is an [`Executor`].
///
/// Transaction control and session settings are refused here, since they belong to
/// [`TenantTx`](crate::TenantTx).
pub struct TenantConn {
    /// INVARIANT: there until `self` is dropped.
    conn: Option<Leased>,
    home: Arc<Warm>,
    /// Lets the next one in when the connection has been given back, which comes before it.
    admitted: Option<Admitted>,
    /// INVARIANT: true from before anything is sent until its whole answer has been read.
    answer_owed: bool,
    /// INVARIANT: true exactly while a transaction is open on `conn`.
    open: bool,
    prepared: bool,
}

impl TenantConn {
    /// Sends `text`, which must begin a transaction; answers the last row, when it asks for any.
    pub(crate) async fn begin(
        home: &Arc<Warm>,
        conn: Leased,
        text: String,
        prepared: bool,
    ) -> Result<(Self, Option<PgRow>), sqlx::Error> {
        let mut this = Self::about_to_begin(home, conn, prepared);
        let mut steps = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(this.raw());
        let mut answer = None;
        while let Some(step) = steps.next().await {
            answer = step?.right().or(answer);
        }
        drop(steps);
        this.open = true;
        this.answer_owed = false;
        Ok((this, answer))
    }

    fn about_to_begin(home: &Arc<Warm>, conn: Leased, prepared: bool) -> Self {
        let home = Arc::clone(home);
        Self { conn: Some(conn), home, admitted: None, answer_owed: true, open: false, prepared }
    }

    /// Keeps the place of its transaction until the connection is given back.
    pub(crate) fn keep(mut self, admitted: Admitted) -> Self {
        self.admitted = Some(admitted);
        self
    }

    /// Says that the server behind it is the one that was meant.
    pub(crate) fn set_verified(&mut self) {
        if let Some(conn) = &mut self.conn {
            conn.is_verified = true;
        }
    }

    /// Commits in one message, and takes the state after it. See [`CommitAnswer`].
    pub(crate) async fn commit(&mut self, confirm: String) -> CommitAnswer {
        let text = format!(
            "{confirm}; commit; select pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text"
        );
        self.answer_owed = true;
        let mut answer = CommitAnswer { completed: 0, rows: Vec::new(), error: None };
        let mut steps = sqlx::raw_sql(AssertSqlSafe(text)).fetch_many(self.raw());
        while let Some(step) = steps.next().await {
            match step {
                Ok(Either::Left(_)) => answer.completed += 1,
                Ok(Either::Right(row)) => answer.rows.push(row),
                Err(error) => {
                    answer.error = Some(error);
                    break;
                }
            }
        }
        drop(steps);
        self.answer_owed = answer.error.as_ref().is_some_and(leaves_answer_owed);
        self.open = answer.completed < 2;
        answer
    }

    /// Ends a transaction that could not write.
    pub(crate) async fn commit_read(&mut self, serializable: bool) -> Result<(), sqlx::Error> {
        self.answer_owed = true;
        // There is nothing to store, and a rollback also undoes what was set for longer than the transaction. Only
        // a serializable one is not proven before it commits.
        let end = if serializable { "commit" } else { "rollback" };
        self.raw().execute(sqlx::raw_sql(end)).await?;
        self.open = false;
        self.answer_owed = false;
        Ok(())
    }

    /// Rolls back and waits for the answer.
    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.answer_owed = true;
        self.raw().execute(sqlx::raw_sql("rollback")).await?;
        self.open = false;
        self.answer_owed = false;
        Ok(())
    }

    /// The connection itself, for what no statement can do, such as COPY.
    pub(crate) fn raw(&mut self) -> &mut PgConnection {
        raw(&mut self.conn)
    }

    /// Says that something is about to be sent.
    pub(crate) fn owe_answer(&mut self) {
        self.answer_owed = true;
    }

    /// Says that the answer has been read, as far as its error allows.
    pub(crate) fn answered(&mut self, error: Option<&sqlx::Error>) {
        self.answer_owed = error.is_some_and(leaves_answer_owed);
    }

    fn guarded<Q>(&self, query: Q) -> Guarded<Q> {
        Guarded { query, prepared: self.prepared }
    }
}

#[expect(clippy::expect_used, reason = "only `drop` takes it")]
fn raw(conn: &mut Option<Leased>) -> &mut PgConnection {
    &mut conn.as_mut().expect("a connection that has not been dropped").conn
}

/// How far the message that commits came.
pub(crate) struct CommitAnswer {
    /// Statements that completed: one, the confirmation; two, the commit; three, the state after it.
    pub(crate) completed: usize,
    /// The transaction's id, then the state.
    pub(crate) rows: Vec<PgRow>,
    /// What stopped it.
    pub(crate) error: Option<sqlx::Error>,
}

/// The server's errors end an answer; anything else leaves its rest on the wire.
fn leaves_answer_owed(error: &sqlx::Error) -> bool {
    ends_connection(error)
}

/// Is nobody there any more to say what became of a statement? A pooler tells the loss of its server as an error of
/// its own, of class 08, and a server that ends may have done what it was asked first.
pub(crate) fn ends_connection(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return true };
    let Some(error) = error.try_downcast_ref::<PgDatabaseError>() else { return true };
    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
        || error.code().starts_with("08")
        || error.code().starts_with("57P")
}

impl Drop for TenantConn {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            // The pool would need a runtime to close it.
            return drop(conn.conn.detach());
        };
        if self.answer_owed {
            conn.give_up();
        } else if !self.open {
            self.home.give_back(conn);
        } else {
            // From here on an answer is owed: a runtime that ends before it has come closes the connection.
            let mut left = Self::about_to_begin(&self.home, conn, self.prepared);
            left.open = true;
            left.admitted = self.admitted.take();
            drop(runtime.spawn(left.rollback()));
        }
    }
}

impl fmt::Debug for TenantConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantConn").field("open", &self.open).finish_non_exhaustive()
    }
}

impl<'c> Executor<'c> for &'c mut TenantConn {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = self.guarded(query);
        self.answer_owed = true;
        let TenantConn { conn, answer_owed, .. } = self;
        let answer = Executor::fetch_many(raw(conn), query);
        stream::unfold((answer, answer_owed), |(mut answer, answer_owed)| async move {
            let step = answer.next().await;
            match &step {
                None => *answer_owed = false,
                Some(Err(error)) => *answer_owed = leaves_answer_owed(error),
                Some(Ok(_)) => {}
            }
            step.map(|step| (step, (answer, answer_owed)))
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = self.guarded(query);
        Box::pin(async move {
            self.answer_owed = true;
            let row = Executor::fetch_optional(self.raw(), query).await;
            self.answer_owed = row.as_ref().err().is_some_and(leaves_answer_owed);
            row
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.answer_owed = true;
            let statement = Executor::prepare_with(self.raw(), sql, parameters).await;
            self.answer_owed = statement.as_ref().err().is_some_and(leaves_answer_owed);
            statement
        })
    }
}

/// A query that may not end its transaction, and is not persistent where that is unsafe.
struct Guarded<Q> {
    query: Q,
    prepared: bool,
}

impl<'q, Q: Execute<'q, Postgres>> Execute<'q, Postgres> for Guarded<Q> {
    fn sql(self) -> SqlStr {
        let sql = self.query.sql();
        match controls_transaction(sql.as_str()) {
            // Execute has no way to fail on its text; the server says what our check found.
            true => REFUSED.into_sql_str(),
            false => sql,
        }
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.prepared && self.query.persistent()
    }
}

const REFUSED: &str = "do $$ begin raise exception 'transaction control belongs to TenantTx' \
    using errcode = 'invalid_transaction_termination', \
    hint = 'call commit or rollback of the transaction; begin another one for another tenant'; end $$";

/// Does the text begin with a word that would end the transaction or change its session?
fn controls_transaction(sql: &str) -> bool {
    let word: String = without_comment(sql).chars().take_while(char::is_ascii_alphabetic).collect();
    const WORDS: [&str; 12] = [
        "abort",
        "begin",
        "commit",
        "discard",
        "end",
        "listen",
        "prepare",
        "release",
        "reset",
        "rollback",
        "savepoint",
        "set",
    ];
    WORDS.iter().any(|known| known.eq_ignore_ascii_case(&word)) || word.eq_ignore_ascii_case("start")
}

/// What stands behind leading blanks and comments.
fn without_comment(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start();
        sql = if let Some(line) = sql.strip_prefix("--") {
            line.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(block) = sql.strip_prefix("/*") {
            after_block(block)
        } else {
            return sql;
        };
    }
}

/// Comments nest (PostgreSQL manual, "Comments").
fn after_block(mut inside: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let (begin, end) = (inside.find("/*"), inside.find("*/"));
        let at = match (begin, end) {
            (Some(begin), Some(end)) if begin < end => {
                depth += 1;
                begin
            }
            (_, Some(end)) => {
                depth -= 1;
                end
            }
            (_, None) => return "",
        };
        inside = inside.get(at + 2..).unwrap_or("");
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::controls_transaction;

    #[test]
    fn transaction_control_is_told_from_work() {
        for sql in [
            "commit",
            " COMMIT AND CHAIN",
            "set search_path = x",
            "Rollback",
            "start transaction",
            "-- why\n commit",
            "/* a /* b */ c */ set app.current_tenant = 'x'",
        ] {
            assert!(controls_transaction(sql), "{sql}");
        }
        for sql in [
            "select 1",
            "/* set */ select 1",
            "-- commit",
            "update settings set a = 1",
            "with x as (select 1) select 1",
            "copy t to stdout",
        ] {
            assert!(!controls_transaction(sql), "{sql}");
        }
    }
}
