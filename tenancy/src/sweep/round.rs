//! A round: which tenants are visited, and what came of it.

use std::collections::BTreeSet;

use futures::{StreamExt, future::BoxFuture, stream};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{Reasons, Sweep, SweepError, visit::Visit};
use crate::{StorageError, TenantId, TenantTx, VisitError};

/// Tenants of a full round between two notes of how far it is.
const PAGE: i32 = 200;

/// What a round did.
#[derive(Debug)]
pub struct SweepRound {
    kind: String,
    full: bool,
    visited: usize,
    skipped: usize,
    failed: Reasons,
}

impl SweepRound {
    fn new(sweep: &Sweep, full: bool) -> Self {
        Self { kind: sweep.kind.clone(), full, visited: 0, skipped: 0, failed: Reasons::new() }
    }

    /// The kind of work.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Did it go through all tenants in service?
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Tenants whose work was done and committed.
    pub fn visited(&self) -> usize {
        self.visited
    }

    /// Tenants that are not in service, that another process was with, or that wait for their next try.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Tenants whose visit failed and left nothing, with the reason.
    pub fn failed(&self) -> &std::collections::HashMap<TenantId, VisitError> {
        &self.failed
    }

    /// Was nobody visited, with or without success?
    pub fn is_empty(&self) -> bool {
        self.visited == 0 && self.failed.is_empty()
    }
}

impl Sweep {
    /// One round over the tenants that have a hint, or whose last visit failed.
    ///
    /// # Errors
    ///
    /// When the hints cannot be read. What fails in a visit is in the round.
    pub async fn round(
        &mut self,
        work: impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
    ) -> Result<SweepRound, StorageError> {
        let hinted: Vec<Uuid> = sqlx::query_scalar(
            "select tenant_id from platform.sweep_hints where kind = $1 and due_at <= now() group by tenant_id",
        )
        .bind(&self.kind)
        .fetch_all(self.relay.pool())
        .await?;
        let due: BTreeSet<TenantId> =
            hinted.into_iter().map(TenantId::from).chain(self.failures.due()).collect();
        let mut round = SweepRound::new(self, false);
        self.visit_all(due, &work, &mut round).await;
        Ok(round)
    }

    /// One round over all tenants in service; `None` when another process is at it. It goes on where one that was
    /// interrupted had stopped.
    ///
    /// # Errors
    ///
    /// When the tenants cannot be read. What fails in a visit is in the round.
    pub async fn full_round(
        &mut self,
        work: impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
    ) -> Result<Option<SweepRound>, StorageError> {
        // A connection of its own: closed, however this ends, it lets go of the lock.
        let mut conn = PgConnection::connect_with(self.relay.options()).await?;
        let mine: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended($1, 0))")
            .bind(format!("formwork sweep {}", self.kind))
            .fetch_one(&mut conn)
            .await?;
        if !mine {
            return Ok(None);
        }
        let mut after = self.begin_full_round(&mut conn).await?;
        let mut round = SweepRound::new(self, true);
        loop {
            let page: Vec<Uuid> = sqlx::query_scalar("select platform.active_tenants($1, $2)")
                .bind(after)
                .bind(PAGE)
                .fetch_all(&mut conn)
                .await?;
            after = page.last().copied();
            self.visit_all(page.into_iter().map(TenantId::from), &work, &mut round).await;
            sqlx::query(
                "update platform.sweep_rounds
                    set after_tenant = $2, ended_at = case when $2 is null then now() end where kind = $1",
            )
            .bind(&self.kind)
            .bind(after)
            .execute(&mut conn)
            .await?;
            if after.is_none() {
                // The server lets go of the lock whether or not this is heard.
                let _ = conn.close().await;
                return Ok(Some(round));
            }
        }
    }

    pub(super) async fn is_full_round_due(&self) -> Result<bool, StorageError> {
        let resting: Option<bool> = sqlx::query_scalar(
            "select ended_at is not null and ended_at + make_interval(secs => $2) > now()
               from platform.sweep_rounds where kind = $1",
        )
        .bind(&self.kind)
        .bind(self.every.as_secs_f64())
        .fetch_optional(self.relay.pool())
        .await?;
        Ok(!resting.unwrap_or(false))
    }

    /// Where to begin: behind the tenant at which the last one was interrupted.
    async fn begin_full_round(&self, conn: &mut PgConnection) -> Result<Option<Uuid>, sqlx::Error> {
        sqlx::query_scalar(
            "insert into platform.sweep_rounds as r (kind) values ($1)
             on conflict (kind) do update set ended_at = null,
               begun_at = case when r.ended_at is null then r.begun_at else now() end
             returning after_tenant",
        )
        .bind(&self.kind)
        .fetch_one(conn)
        .await
    }

    async fn visit_all(
        &mut self,
        tenants: impl IntoIterator<Item = TenantId>,
        work: &impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
        round: &mut SweepRound,
    ) {
        let (held_back, due): (Vec<_>, Vec<_>) =
            tenants.into_iter().partition(|tenant| self.failures.holds_back(*tenant));
        round.skipped += held_back.len();
        let visits: Vec<(TenantId, Visit)> = {
            let this = &*self;
            let visit = |tenant| async move { (tenant, this.visit(tenant, work).await) };
            stream::iter(due.into_iter().map(visit)).buffer_unordered(self.at_once).collect().await
        };
        for (tenant, visit) in visits {
            match visit {
                Visit::Failed(error) => {
                    tracing::warn!(kind = self.kind, %tenant, %error, "a visit failed");
                    self.failures.failed(tenant);
                    round.failed.insert(tenant, error);
                    continue;
                }
                Visit::Done => round.visited += 1,
                Visit::Skipped => round.skipped += 1,
            }
            self.failures.ended(tenant);
        }
    }
}
