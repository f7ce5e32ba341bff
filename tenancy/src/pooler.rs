//! Is there a pooler between this process and the server that lends a connection for a transaction?
//!
//! Two connections that are open at the same time have a server process each, and keep it, unless a pooler in
//! transaction (or statement) mode stands between: then one process answers both, or one connection is answered by
//! two. Either is proof. That neither was seen is none, so a pooler should be declared all the same.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row, postgres::PgConnectOptions};

use crate::{ConnectError, StorageError};

/// Was a transaction pooler seen? A server that has no second connection to give is not held up by the question.
pub(crate) async fn is_seen(options: &PgConnectOptions, within: Duration) -> Result<bool, ConnectError> {
    let options = options.clone().disable_statement_logging();
    let mut one = PgConnection::connect_with(&options).await.map_err(explain)?;
    let first = server(&mut one).await.map_err(explain)?;
    let question = async {
        let mut other = PgConnection::connect_with(&options).await?;
        let second = server(&mut other).await?;
        let third = server(&mut one).await?;
        other.close().await?;
        Ok::<_, sqlx::Error>(first == second || first != third)
    };
    let seen = match tokio::time::timeout(within, question).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            tracing::debug!(%error, "could not ask whether a pooler stands before the database");
            false
        }
        Err(_) => false,
    };
    // A connection that nobody waits for any more is of no use to say goodbye on.
    let _ = tokio::time::timeout(within, one.close()).await;
    Ok(seen)
}

/// The process that answers. A simple message: nothing is prepared, and nothing can be answered by halves.
async fn server(conn: &mut PgConnection) -> Result<String, sqlx::Error> {
    conn.fetch_one("select pg_backend_pid()::text").await?.try_get(0)
}

/// A pooler that was not set up says so in words of its own.
pub(crate) fn explain(error: impl Into<StorageError>) -> ConnectError {
    let error = error.into();
    let message = error.database_message().unwrap_or_default();
    match message.split_once("unsupported startup parameter: ") {
        Some((_, parameter)) => ConnectError::PoolerRefuses { parameter: parameter.trim().to_owned() },
        None => error.into(),
    }
}
