//! A whole transaction, run again when the database says that it should be.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;

use crate::{CommitError, CommitToken, Session, StorageError, TenantTx, Tenants, TxOptions};

/// Runs at the most.
const ATTEMPTS: u32 = 5;
/// More runs, while the tenant is moved: some ten seconds of waiting.
const MOVING_ATTEMPTS: u32 = 25;

/// An error that can tell whether the same transaction would have a chance if it were run again.
pub trait Retryable {
    /// Would it?
    fn is_retryable(&self) -> bool;
}

impl Retryable for StorageError {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}

impl Retryable for sqlx::Error {
    fn is_retryable(&self) -> bool {
        crate::error::is_retryable(self)
    }
}

/// What ended the last run.
#[derive(Debug)]
pub enum RunError<E> {
    /// The transaction could not be begun.
    Begin(StorageError),
    /// The work failed, and nothing was stored.
    Work(E),
    /// The commit failed.
    Commit(CommitError),
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(error) => error.fmt(f),
            Self::Work(error) => error.fmt(f),
            Self::Commit(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for RunError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Begin(error) => error.source(),
            Self::Work(error) => error.source(),
            Self::Commit(error) => error.source(),
        }
    }
}

/// The waits for one tenant's move: 25 ms, then twice as long each time, up to half a second.
#[derive(Default)]
struct Moves(u32);

impl Moves {
    /// Waits; or answers that it has been long enough.
    async fn wait(&mut self) -> bool {
        if self.0 >= MOVING_ATTEMPTS {
            return false;
        }
        let wait = Duration::from_millis(25).saturating_mul(1 << self.0.min(5));
        self.0 += 1;
        tokio::time::sleep(wait.min(Duration::from_millis(500))).await;
        true
    }
}

impl Tenants {
    /// Runs `work` in a transaction and commits it; from the start again, up to five times in all, when a
    /// serialization failure, a deadlock or a changed result type undid it. Inside the transaction a retry could
    /// not work: it has failed as a whole. While the tenant is moved to another home, it is run again for some ten
    /// seconds more, each time where the registry then says that the tenant lives. A commit whose answer was lost is never tried again.
    ///
    /// ```no_run
    /// # async fn example(tenants: formwork_tenancy::Tenants, session: formwork_tenancy::Session)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_tenancy::{IsolationLevel, TxOptions};
    ///
    /// let serializable = TxOptions::new().isolation_level(IsolationLevel::Serializable);
    /// let (left, _token) = tenants
    ///     .run(&session, serializable, |tx| Box::pin(async move {
    ///         sqlx::query_scalar::<_, i64>("update stock set left = left - 1 returning left")
    ///             .fetch_one(&mut **tx)
    ///             .await
    ///     }))
    ///     .await?;
    /// # let _ = left;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RunError`] of the last run.
    pub async fn run<T, E: Retryable>(
        &self,
        session: &Session,
        options: TxOptions,
        mut work: impl for<'a> FnMut(&'a mut TenantTx) -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<(T, CommitToken), RunError<E>> {
        let mut left = ATTEMPTS;
        let mut moves = Moves::default();
        let mut session = session.clone();
        loop {
            left -= 1;
            let mut tx = self.begin_with(&session, options).await.map_err(RunError::Begin)?;
            let failed = match work(&mut tx).await {
                Ok(value) => match tx.commit().await {
                    Ok(token) => return Ok((value, token)),
                    Err(CommitError::RolledBack(error)) if error.is_moving() && moves.wait().await => {
                        left += 1;
                        if let Ok(Some(newest)) = self.by_id_now(session.tenant_id()).await {
                            session = session.placed(newest);
                        }
                        continue;
                    }
                    Err(CommitError::RolledBack(error)) => {
                        let again = error.is_retryable() && !error.is_moving();
                        (again, RunError::Commit(CommitError::RolledBack(error)))
                    }
                    Err(error) => return Err(RunError::Commit(error)),
                },
                Err(error) => (error.is_retryable(), RunError::Work(error)),
            };
            match failed {
                (true, _) if left > 0 => {}
                (_, error) => return Err(error),
            }
        }
    }
}
