//! Part of a transaction that can be undone by itself.

use futures::future::BoxFuture;
use sqlx::{AssertSqlSafe, Executor};

use crate::{StorageError, TenantTx};

impl TenantTx {
    /// Runs `work`; when it fails, what it did is undone and the transaction goes on as if it had not been
    /// tried. What other crates keep of the transaction goes back with it.
    ///
    /// Dropped before it has ended, the transaction can no longer be committed.
    ///
    /// ```no_run
    /// # async fn example(tx: &mut formwork_tenancy::TenantTx) -> Result<(), Box<dyn std::error::Error>> {
    /// let added = tx
    ///     .savepoint(|tx| Box::pin(async move {
    ///         sqlx::query("insert into tags (name) values ('steel')").execute(&mut **tx).await
    ///     }))
    ///     .await?;
    /// if added.is_err() {
    ///     // There was one already, and the transaction is still good.
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the savepoint itself cannot be set, released or rolled back to; what `work` answers is inside.
    pub async fn savepoint<T, E>(
        &mut self,
        work: impl for<'a> FnOnce(&'a mut TenantTx) -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<Result<T, E>, StorageError> {
        let level = self.open_savepoints;
        let before = self.extensions.clone();
        self.control(&format!("savepoint s{level}")).await?;
        self.open_savepoints += 1;
        let done = work(self).await;
        if done.is_ok() {
            self.control(&format!("release savepoint s{level}")).await?;
        } else {
            self.control(&format!("rollback to savepoint s{level}; release savepoint s{level}")).await?;
            self.extensions = before;
        }
        self.open_savepoints = level;
        Ok(done)
    }

    /// Transaction control passes by the guard that refuses it to everybody else.
    async fn control(&mut self, text: &str) -> Result<(), StorageError> {
        self.conn.control(AssertSqlSafe(text.to_owned())).await?;
        Ok(())
    }
}

impl crate::TenantConn {
    pub(crate) async fn control(&mut self, text: AssertSqlSafe<String>) -> Result<(), sqlx::Error> {
        self.owe_answer();
        let done = self.raw().execute(sqlx::raw_sql(text)).await;
        self.answered(done.as_ref().err());
        done.map(drop)
    }
}
