//! `formwork worker`: what goes on in the background, apart from the requests.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use clap::Args;
use formwork_audit::sink::Deliverer;
use formwork_tenancy::{ControlPlane, Prune, Tenants};
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    Failure,
    failure::sentence,
    say,
    serve::{Stop, listen},
};
use crate::{
    databases::{Databases, sets},
    sinks::{self, Config, Delivery},
};

/// After what a delivery has failed with, when that does not pass by itself.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two rounds of removing from the outbox what every sink has.
const PRUNE_EVERY: Duration = Duration::from_secs(15 * 60);
/// How long it is kept nevertheless, to look at.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
pub(super) struct Worker {
    /// The file that names the sinks to which audit events go.
    #[arg(long, value_name = "FILE", env = "FORMWORK_SINKS")]
    sinks: PathBuf,
    /// Answer `/metrics` here, as Prometheus asks.
    #[arg(long, value_name = "ADDRESS", env = "FORMWORK_METRICS_LISTEN")]
    metrics_listen: Option<SocketAddr>,
    /// The most database connections.
    #[arg(long, default_value_t = 5, env = "FORMWORK_WORKER_MAX_CONNECTIONS")]
    max_connections: u32,
}

impl Worker {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let mut stop = Stop::new()?;
        let config = Config::read(&self.sinks)?;
        let metrics = match self.metrics_listen {
            Some(address) => Some(listen(address, "--metrics-listen").await?),
            None => None,
        };
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = tokio::select! {
            outcome = self.work(&config, &databases, metrics) => outcome.map(|never| match never {}),
            () = stop.asked() => Ok(()),
        };
        databases.stop().await;
        outcome
    }

    /// Whatever is under way when this is given up comes again.
    async fn work(
        &self,
        config: &Config,
        databases: &Databases,
        metrics: Option<TcpListener>,
    ) -> Result<Infallible, Failure> {
        let builder = Tenants::builder().supports(&sets()).max_connections(self.max_connections);
        let tenants = databases.tenants(builder).await?;
        let relays = databases.relays().await?;
        let deliveries = sinks::deliveries(config, &tenants, &relays).await?;
        let mut work = JoinSet::new();
        for delivery in &deliveries {
            work.spawn(deliver(delivery.clone()));
        }
        if databases.has_owner() {
            work.spawn(prune(databases.control().await?));
        } else {
            tracing::warn!(
                "DATABASE_OWNER_URL is not set: nothing is removed from the outbox of audit events"
            );
        }
        if let Some(listener) = metrics {
            say!("metrics are at http://{}/metrics", listener.local_addr()?);
            work.spawn(answer_metrics(listener, deliveries.clone()));
        }
        say!("formwork delivers audit events to {} sinks", config.entries().len());
        // None of them ends but by a panic, or when the address for metrics is lost.
        match work.join_next().await {
            Some(Ok(never)) => never.map(|never| match never {}),
            Some(Err(error)) => Err(error.into()),
            None => std::future::pending().await,
        }
    }
}

async fn deliver(delivery: Delivery) -> Result<Infallible, Failure> {
    loop {
        let Err(error) = delivery.deliverer.run().await;
        let (sink, database, why) = (delivery.deliverer.name(), &delivery.database, sentence(&error));
        tracing::error!(sink, database, error = why, "delivering has failed and is begun again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn prune(control: ControlPlane) -> Result<Infallible, Failure> {
    loop {
        match control.prune_stream(&Prune::new(Deliverer::outbox(), KEEP)).await {
            Ok(pruned) => tracing::debug!(rows = pruned.rows(), "the outbox of audit events was pruned"),
            Err(error) => tracing::warn!(%error, "the outbox of audit events could not be pruned"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}

async fn answer_metrics(listener: TcpListener, deliveries: Vec<Delivery>) -> Result<Infallible, Failure> {
    let text = move || {
        let deliveries = deliveries.clone();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], sinks::metrics_text(&deliveries).await) }
    };
    axum::serve(listener, Router::new().route("/metrics", get(text))).await?;
    Err("the address for metrics is not served any more".into())
}
