//! What runs beside the requests: denials are written, trails are sealed.
//!
//! INVARIANT: nothing here is awaited by a request, and what ends with an error begins again.

use std::time::Duration;

use formwork_audit::seal::{SealMetrics, Sealer};
use formwork_tenancy::{Relay, Tenants};
use tokio::task::JoinSet;

use crate::app::App;

/// After what pause a sweep that has failed begins again.
const PAUSE: Duration = Duration::from_secs(10);
/// How long denials may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Tasks of one process; dropped, they end.
#[derive(Debug)]
pub struct Background {
    tasks: JoinSet<()>,
    app: App,
    seals: SealMetrics,
}

impl Background {
    /// Writes denials.
    pub fn start(app: &App) -> Self {
        let mut tasks = JoinSet::new();
        let (denials, tenants) = (app.denials.clone(), app.tenants.clone());
        tasks.spawn(async move { denials.run(&tenants).await });
        Self { tasks, app: app.clone(), seals: SealMetrics::default() }
    }

    /// Seals the trails of all tenants too, a full round each time.
    pub fn seal(&mut self, relay: Relay, sealer: Sealer, every: Duration) {
        let sealer = sealer.metrics(self.seals.clone());
        let (tenants, metrics) = (self.app.tenants.clone(), self.seals.clone());
        self.tasks.spawn(async move {
            loop {
                if let Err(error) = seal(&tenants, &relay, &sealer, &metrics, every).await {
                    tracing::warn!(%error, "sealing begins again in a moment");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// How sealing stands in this process.
    pub fn seals(&self) -> &SealMetrics {
        &self.seals
    }

    /// Ends the tasks, and writes what is noted. To be called while the databases are still there.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let last = self.app.denials.flush(&self.app.tenants);
        if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
            tracing::warn!("denials were not written in time");
        }
    }
}

async fn seal(
    tenants: &Tenants,
    relay: &Relay,
    sealer: &Sealer,
    metrics: &SealMetrics,
    every: Duration,
) -> Result<(), formwork_tenancy::StorageError> {
    let mut sweep = tenants.sweep(Sealer::KIND, relay).every(every);
    sweep
        .run(
            |tx| sealer.visit(tx),
            |round| {
                metrics.round(round);
                let health = metrics.read();
                tracing::info!(
                    %round, events = health.events, behind = health.behind, failed = health.failed,
                    waited_seconds = health.waited.as_secs_f64(), age_seconds = health.age.as_secs_f64(), "sealed"
                );
            },
        )
        .await
}
