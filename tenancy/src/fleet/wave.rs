//! The homes of one wave, some at a time.

use std::time::Duration;

use futures::future::join_all;
use sqlx::{ConnectOptions, PgConnection};

use super::{
    FleetEvent, HomeFailure, Part, PlannedHome, Wave,
    attempt::{self, Remedy},
    ledger,
    message::StepError,
    plan,
    queue::{Job, Queue},
    run::Run,
};
use crate::ControlError;

impl Part {
    /// A connection of a run's own: closed when the run is dropped, so that nothing of it comes back to a pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        // A home's message is thousands of characters, and what fails is reported in full.
        self.pool.connect_options().as_ref().clone().disable_statement_logging().connect().await
    }
}

impl<P: Fn(FleetEvent<'_>) + Send + Sync> Run<'_, P> {
    /// Does all of them, or stops; and waits for the disk on the connection that holds the lock, so that a run that
    /// has lost its lock ends with the wave.
    pub(super) async fn wave(
        &self,
        wave: Wave,
        homes: Vec<PlannedHome>,
        held: &mut PgConnection,
    ) -> Result<(), ControlError> {
        if homes.is_empty() || self.state().report.stopped.is_some() {
            return Ok(());
        }
        (self.progress)(FleetEvent::WaveBegun { wave, homes: homes.len() });
        let workers = if self.mode.is_serial() { 1 } else { self.options.connections.min(homes.len()) };
        let queue = Queue::new(homes);
        join_all((0..workers).map(|_| self.work(wave, &queue))).await;
        if self.mode.commits() {
            ledger::settle(held).await?;
        }
        Ok(())
    }

    async fn work(&self, wave: Wave, queue: &Queue) {
        let mut conn = self.state().idle.pop();
        while let Some(mut job) = queue.next().await {
            job.attempts += 1;
            let Err(failed) = self.attempt(&mut conn, &mut job).await else {
                self.done(&job.planned);
                continue;
            };
            let remedy = attempt::remedy(&failed.error);
            if let (Some(open), false) = (conn.as_mut(), remedy == Remedy::Reconnect)
                && sqlx::raw_sql("rollback").execute(open).await.is_err()
            {
                conn = None;
            }
            if remedy == Remedy::Reconnect {
                conn = None;
            }
            job.is_stale = matches!(remedy, Remedy::Reconnect | Remedy::Look);
            if remedy == Remedy::None || job.attempts >= self.options.attempts {
                self.failed(wave, queue, job, failed, conn.as_mut()).await;
            } else {
                let wait = match remedy {
                    Remedy::Look => Duration::ZERO,
                    _ => self.options.wait_after(job.attempts),
                };
                let reason = attempt::reason(&failed.error);
                (self.progress)(FleetEvent::Retry { home: &job.planned.home, reason: &reason, wait });
                queue.put_back(job, wait);
            }
        }
        self.state().idle.extend(conn);
    }

    async fn attempt(&self, conn: &mut Option<PgConnection>, job: &mut Job) -> Result<(), StepError> {
        let outside = |error| StepError { step: None, line: None, error };
        let conn = match conn {
            Some(open) => open,
            none => none.insert(self.part.connect().await.map_err(outside)?),
        };
        if job.is_stale {
            let schema = job.planned.home.schema.clone();
            let plan = plan::read(conn, self.part, Some(&schema)).await;
            // Only another program with other texts can have come in between.
            let plan = plan.map_err(|error| outside(sqlx::Error::Protocol(error.to_string())))?;
            job.planned.steps = plan.homes().flat_map(|planned| planned.steps.clone()).collect();
            if job.planned.steps.is_empty() {
                return Ok(());
            }
        }
        attempt::migrate(conn, &job.planned, &self.mode, self.options).await
    }

    fn done(&self, planned: &PlannedHome) {
        let counts = {
            let mut state = self.state();
            state.counts.done += 1;
            state.report.migrated += 1;
            state.report.steps += planned.steps.len();
            state.counts
        };
        (self.progress)(FleetEvent::Done { home: &planned.home, counts });
    }

    async fn failed(
        &self,
        wave: Wave,
        queue: &Queue,
        job: Job,
        failed: StepError,
        conn: Option<&mut PgConnection>,
    ) {
        let failure = HomeFailure {
            home: job.planned.home,
            step: failed.step.map(|step| step.label()),
            line: failed.line,
            reason: attempt::reason(&failed.error),
            attempts: job.attempts,
            source: failed.error.into(),
        };
        if self.mode.commits()
            && let Some(conn) = conn
            && let Err(error) = ledger::record(conn, &failure).await
        {
            // It stands in the report all the same.
            tracing::warn!(%error, %failure, "a failed migration could not be recorded");
        }
        let counts = {
            let mut state = self.state();
            state.counts.failed += 1;
            state.report.failures.push(failure.clone());
            let limit = match wave {
                Wave::Platform | Wave::Shared | Wave::Canary => 1,
                Wave::Fleet(_) | Wave::Late => self.options.stop_after,
            };
            if state.counts.failed >= limit {
                state.report.stopped = Some(wave);
                queue.stop();
            }
            state.counts
        };
        (self.progress)(FleetEvent::Failed { failure: &failure, counts });
    }
}
