//! One visit: a transaction of the tenant that takes its hints away and does the work.
//!
//! INVARIANT: a hint goes in the transaction that did its work, and was there before the work began. One that is
//! written meanwhile stays, for the next round.

use std::{
    collections::HashMap,
    fmt,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

use super::{Sweep, SweepError};
use crate::{Actor, CommitError, Session, Status, StorageError, TenantId, TenantTx};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Why a visit came to nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum VisitError {
    /// The work said so.
    Work(SweepError),
    /// The work panicked.
    Panicked,
    /// The transaction could not be begun, or the hints not be read.
    Storage(StorageError),
    /// The transaction could not be committed.
    Commit(CommitError),
}

impl fmt::Display for VisitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Work(error) => error.fmt(f),
            Self::Panicked => f.write_str("the work panicked"),
            Self::Storage(error) => error.fmt(f),
            Self::Commit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for VisitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Work(error) => error.source(),
            Self::Panicked => None,
            Self::Storage(error) => error.source(),
            Self::Commit(error) => error.source(),
        }
    }
}

impl From<sqlx::Error> for VisitError {
    fn from(source: sqlx::Error) -> Self {
        Self::Storage(source.into())
    }
}

/// What became of one tenant in a round.
pub(super) enum Visit {
    Done,
    /// Not in service, or another process is with it.
    Skipped,
    Failed(VisitError),
}

impl Sweep {
    pub(super) async fn visit(
        &self,
        tenant: TenantId,
        work: &impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
    ) -> Visit {
        match self.try_visit(tenant, work).await {
            Ok(true) => Visit::Done,
            Ok(false) => Visit::Skipped,
            Err(error) => Visit::Failed(error),
        }
    }

    async fn try_visit(
        &self,
        tenant: TenantId,
        work: &impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
    ) -> Result<bool, VisitError> {
        let tenant = self.tenants.by_id(tenant).await.map_err(VisitError::Storage)?;
        let Some(tenant) = tenant.filter(|tenant| tenant.status() == Status::Active) else {
            return Ok(false);
        };
        let session = Session::new(&tenant, Actor::system(&*self.kind));
        let mut tx = self.tenants.begin(&session).await.map_err(VisitError::Storage)?;
        // One process at a time is with a tenant for one kind; the lock ends with the transaction.
        let mine: bool = sqlx::query_scalar(
            "with mine as materialized (select pg_try_advisory_xact_lock(hashtextextended($2, 0)) as mine),
                  gone as (delete from platform.sweep_hints
                            where kind = $1 and due_at <= now() and (select mine from mine))
             select mine from mine",
        )
        .bind(&self.kind)
        .bind(format!("formwork sweep {} {}", self.kind, tenant.id()))
        .fetch_one(&mut *tx)
        .await?;
        if !mine {
            return Ok(false);
        }
        match AssertUnwindSafe(work(&mut tx)).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(VisitError::Work(error)),
            Err(_) => return Err(VisitError::Panicked),
        }
        match tx.commit().await {
            // Done, whatever became of its token.
            Ok(_) | Err(CommitError::WithoutToken(_)) => Ok(true),
            Err(error) => Err(VisitError::Commit(error)),
        }
    }
}

/// Tenants whose last visit failed, and when they are visited again.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<TenantId, Failure>);

#[derive(Debug)]
struct Failure {
    pause: Duration,
    again: Instant,
}

impl Failures {
    /// Is it too early to visit this tenant again?
    pub(super) fn holds_back(&self, tenant: TenantId) -> bool {
        self.0.get(&tenant).is_some_and(|failure| failure.again > Instant::now())
    }

    /// Whose pause has ended.
    pub(super) fn due(&self) -> impl Iterator<Item = TenantId> + '_ {
        self.0.keys().copied().filter(|tenant| !self.holds_back(*tenant))
    }

    /// How long until the next of them is due.
    pub(super) fn next_try(&self) -> Option<Duration> {
        self.0.values().map(|failure| failure.again.saturating_duration_since(Instant::now())).min()
    }

    pub(super) fn failed(&mut self, tenant: TenantId) {
        let pause = self.0.get(&tenant).map_or(FIRST_PAUSE, |failure| (failure.pause * 2).min(LONGEST_PAUSE));
        self.0.insert(tenant, Failure { pause, again: Instant::now() + pause });
    }

    pub(super) fn ended(&mut self, tenant: TenantId) {
        self.0.remove(&tenant);
    }
}
