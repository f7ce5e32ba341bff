//! `formwork worker`: what runs beside the requests, without any.

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
    sealing::Sealing,
    serve::{Stop, listen},
};
use crate::{
    app::App,
    background::Background,
    databases::{Databases, sets},
    sinks::{self, Config, Delivery},
    token::Tokens,
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
    sinks: Option<PathBuf>,
    /// Answer `/metrics` of the sinks here, as Prometheus asks.
    #[arg(long, value_name = "ADDRESS", env = "FORMWORK_METRICS_LISTEN", requires = "sinks")]
    metrics_listen: Option<SocketAddr>,
    /// The most database connections.
    #[arg(long, default_value_t = 8, env = "FORMWORK_WORKER_CONNECTIONS")]
    max_connections: u32,
    #[command(flatten)]
    sealing: Sealing,
}

type Deliveries = JoinSet<Result<Infallible, Failure>>;

impl Worker {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        if !self.sealing.is_wanted() && self.sinks.is_none() {
            return Err(
                "there is nothing to do: name a key to seal with by --seal-key, or a file of sinks by \
                        --sinks"
                    .into(),
            );
        }
        let mut stop = Stop::new()?;
        let config = self.sinks.as_deref().map(Config::read).transpose()?;
        let metrics = match self.metrics_listen {
            Some(address) => Some(listen(address, "--metrics-listen").await?),
            None => None,
        };
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = self.work(state, config.as_ref(), &databases, metrics, &mut stop).await;
        databases.stop().await;
        outcome
    }

    async fn work(
        &self,
        state: &Path,
        config: Option<&Config>,
        databases: &Databases,
        metrics: Option<TcpListener>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let builder = Tenants::builder().supports(&sets()).max_connections(self.max_connections);
        let tenants = tokio::select! {
            tenants = databases.tenants(builder) => tenants?,
            () = stop.asked() => return Ok(()),
        };
        let app = App::new(tenants.clone(), Tokens::open(&state.join("signing-key.pem"))?)?;
        let mut background = Background::start(&app);
        self.sealing.begin(databases, &mut background).await?;
        let mut deliveries = Deliveries::new();
        if let Some(config) = config {
            begin(&mut deliveries, config, databases, &tenants, metrics).await?;
        }
        say!("formwork works");
        // Whatever is under way when it is given up comes again.
        let outcome = tokio::select! {
            outcome = ended(&mut deliveries) => outcome.map(|never| match never {}),
            () = stop.asked() => Ok(()),
        };
        deliveries.shutdown().await;
        background.stop().await;
        tenants.close().await;
        outcome
    }
}

/// Begins to deliver.
async fn begin(
    work: &mut Deliveries,
    config: &Config,
    databases: &Databases,
    tenants: &Tenants,
    metrics: Option<TcpListener>,
) -> Result<(), Failure> {
    let relays = databases.relays().await?;
    let deliveries = sinks::deliveries(config, tenants, &relays).await?;
    for delivery in &deliveries {
        work.spawn(deliver(delivery.clone()));
    }
    if databases.has_owner() {
        work.spawn(prune(databases.control().await?));
    } else {
        tracing::warn!("DATABASE_OWNER_URL is not set: nothing is removed from the outbox of audit events");
    }
    if let Some(listener) = metrics {
        say!("metrics are at http://{}/metrics", listener.local_addr()?);
        work.spawn(answer_metrics(listener, deliveries));
    }
    say!("formwork delivers audit events to {} sinks", config.entries().len());
    Ok(())
}

/// None of them ends but by a panic, or when the address for metrics is lost.
async fn ended(work: &mut Deliveries) -> Result<Infallible, Failure> {
    match work.join_next().await {
        Some(Ok(never)) => never,
        Some(Err(error)) => Err(error.into()),
        None => std::future::pending().await,
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
