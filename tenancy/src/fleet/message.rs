//! All that one home needs, as one message.
//!
//! A simple query of many statements is one round trip, and the server stops at the first that fails. Between the
//! steps stand statements that answer with a mark, so that the failing step is known by the marks that came; a
//! syntax error, which the server finds before it runs anything, is known by its place in the text.
//!
//! INVARIANT: a home's lines in the ledger are written first. Whoever else does the same steps, even the server's
//! end of a process that was killed, holds the same keys: the second waits for the first, and then fails having
//! done nothing.

use std::{fmt::Write, sync::Arc, time::Duration};

use futures::StreamExt;
use sqlx::{
    AssertSqlSafe, Either, PgConnection, Row,
    postgres::{PgDatabaseError, PgErrorPosition},
};

use super::home::Step;

const MARK: &str = "formwork step ";

/// The statements of some steps, and where in the text each step lies.
#[derive(Debug, Default)]
pub(crate) struct Message {
    text: String,
    /// Where the text of a step begins and ends, in bytes.
    parts: Vec<(usize, usize, Arc<Step>)>,
}

/// A step that failed, with the line of its text where the server says so.
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) step: Option<Arc<Step>>,
    pub(crate) line: Option<usize>,
    pub(crate) error: sqlx::Error,
}

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// As it stands.
    pub(crate) fn push(&mut self, sql: &str) {
        self.text.push_str(sql);
        self.text.push_str(";\n");
    }

    /// How long a statement waits for a lock.
    pub(crate) fn lock_timeout(&mut self, limit: Duration) {
        // Zero would mean no limit at all.
        let millis = limit.as_millis().clamp(1, i32::MAX as u128);
        let _ = writeln!(self.text, "set local lock_timeout = {millis};");
    }

    /// The lines of `steps` in the ledger.
    pub(crate) fn claim(&mut self, home: &str, steps: &[Arc<Step>]) {
        for (nr, step) in steps.iter().enumerate() {
            let start = match nr {
                0 => "insert into platform.migration_ledger (home, set_name, version, name, checksum) values",
                _ => ",",
            };
            let (set, name) = (step.set.replace('\'', "''"), step.name.replace('\'', "''"));
            let home = step.ledger_home(home);
            let _ = write!(self.text, "{start} ('{home}', '{set}', {}, '{name}', '\\x", step.version);
            for byte in &step.checksum {
                let _ = write!(self.text, "{byte:02x}");
            }
            self.text.push_str("')");
        }
        if !steps.is_empty() {
            self.text.push_str(";\n");
        }
    }

    /// The steps themselves. Each begins with the same settings, whatever the one before it has set: names are the
    /// home's, a statement that row security would silently narrow is an error, there is no tenant.
    pub(crate) fn steps(&mut self, home: &str, steps: &[Arc<Step>]) {
        for step in steps {
            let _ = writeln!(
                self.text,
                "set local search_path = {home}, pg_temp; set local row_security = off; \
                 set local app.current_tenant = ''; select '{MARK}{}';",
                self.parts.len()
            );
            let start = self.text.len();
            self.text.push_str(step.sql);
            self.parts.push((start, self.text.len(), Arc::clone(step)));
            // On a line of its own: the step may end with a comment.
            self.text.push_str("\n;\n");
        }
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self, conn: &mut PgConnection) -> Result<(), StepError> {
        let Self { text, parts } = self;
        let mut reached = None;
        let mut failed = None;
        let mut answer = sqlx::raw_sql(AssertSqlSafe(text.as_str())).fetch_many(&mut *conn);
        while let Some(item) = answer.next().await {
            match item {
                Ok(Either::Right(row)) => {
                    let mark = row.try_get::<&str, _>(0).ok().and_then(|text| text.strip_prefix(MARK));
                    reached = mark.and_then(|nr| nr.parse::<usize>().ok()).or(reached);
                }
                Ok(Either::Left(_)) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(answer);
        match failed {
            None => Ok(()),
            Some(error) => Err(locate(&text, &parts, reached, error)),
        }
    }
}

fn locate(
    text: &str,
    parts: &[(usize, usize, Arc<Step>)],
    reached: Option<usize>,
    error: sqlx::Error,
) -> StepError {
    let at = position(&error).and_then(|nr| text.char_indices().nth(nr - 1)).map(|(at, _)| at);
    let named = at.and_then(|at| parts.iter().find(|(start, end, _)| (*start..=*end).contains(&at)));
    let part = named.or_else(|| parts.get(reached?));
    let line = named.zip(at).and_then(|((start, ..), at)| text.get(*start..at));
    StepError {
        step: part.map(|(.., step)| Arc::clone(step)),
        line: line.map(|before| before.matches('\n').count() + 1),
        error,
    }
}

/// In characters, from 1; none when the error lies inside a function.
fn position(error: &sqlx::Error) -> Option<usize> {
    match error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.position()? {
        PgErrorPosition::Original(nr) if nr > 0 => Some(nr),
        _ => None,
    }
}
