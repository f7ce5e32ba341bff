//! `formwork audit sinks`: how far each sink is, what it would not take, and sending that again.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use formwork_audit::sink::{DeadLetters, Deliverer};
use formwork_tenancy::{Actor, Prune, Session, Tenant, Tenants};

use super::{Failure, say};
use crate::{
    databases::Databases,
    sinks::{self, Config, Delivery},
};

#[derive(Debug, Subcommand)]
pub(super) enum Sinks {
    /// How many events wait for each sink, and for how long.
    Status(Named),
    /// What the sinks would not take of a tenant's events.
    Letters(Letters),
    /// Send to a sink again what it would not take of a tenant's events.
    Resend(Resend),
    /// Forget a sink, so that nothing is kept for it any more.
    Forget(Forget),
    /// Remove from the outbox what every sink has.
    Prune(PruneOutbox),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The file that names the sinks.
    #[arg(long, value_name = "FILE", env = "FORMWORK_SINKS")]
    sinks: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Letters {
    /// The tenant's slug.
    tenant: String,
    /// Of this sink alone.
    #[arg(long)]
    sink: Option<String>,
    /// Print a line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Resend {
    /// The tenant's slug.
    tenant: String,
    /// The sink.
    #[arg(long)]
    sink: String,
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
pub(super) struct Forget {
    /// The sink's name.
    sink: String,
}

#[derive(Debug, Args)]
pub(super) struct PruneOutbox {
    /// Keep what is younger than so many hours.
    #[arg(long, default_value_t = 24)]
    keep_hours: u64,
}

impl Sinks {
    pub(super) async fn run(self, databases: &Databases, tenants: &Tenants) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.status(databases, tenants).await,
            Self::Letters(letters) => letters.run(tenants).await,
            Self::Resend(resend) => resend.run(databases, tenants).await,
            Self::Forget(forget) => forget.run(databases, tenants).await,
            Self::Prune(prune) => prune.run(databases).await,
        }
    }
}

impl Named {
    async fn deliveries(&self, databases: &Databases, tenants: &Tenants) -> Result<Vec<Delivery>, Failure> {
        let config = Config::read(&self.sinks)?;
        Ok(sinks::deliveries(&config, tenants, &databases.relays().await?).await?)
    }

    /// Opens no place, which another process may hold.
    async fn status(&self, databases: &Databases, tenants: &Tenants) -> Result<(), Failure> {
        let config = Config::read(&self.sinks)?;
        for (database, relay) in databases.relays().await? {
            for entry in config.entries() {
                let deliverer = Deliverer::new(tenants, &relay, entry.name.as_str(), Nowhere);
                let Some(backlog) = deliverer.backlog().await? else {
                    say!("`{}` from {database}: not delivered to yet", entry.name);
                    continue;
                };
                let waits = backlog.oldest().map(|oldest| format!(", the oldest for {} s", oldest.as_secs()));
                say!(
                    "`{}` from {database}: {} events wait{}",
                    entry.name,
                    backlog.rows(),
                    waits.unwrap_or_default()
                );
            }
        }
        Ok(())
    }
}

/// The place of a sink of which only the notes are asked.
#[derive(Debug)]
struct Nowhere;

#[async_trait::async_trait]
impl formwork_audit::sink::Sink for Nowhere {
    async fn send(&self, _: &[formwork_audit::sink::Message]) -> Result<(), formwork_audit::sink::SendError> {
        Err(formwork_audit::sink::SendError::unavailable("nothing is sent from here"))
    }
}

impl Letters {
    async fn run(&self, tenants: &Tenants) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let mut tx = tenants.begin_read(&Session::new(&tenant, Actor::system("audit"))).await?;
        let mut count = 0;
        for (sink, _) in DeadLetters::count(&mut tx).await? {
            if self.sink.as_ref().is_some_and(|only| *only != sink) {
                continue;
            }
            let mut after = None;
            loop {
                let page = DeadLetters::list(&mut tx, &sink, after, 200).await?;
                for letter in &page.letters {
                    count += 1;
                    match self.json {
                        true => say!("{}", serde_json::to_string(letter)?),
                        false => say!(
                            "{} for `{}`, given up {} after {} attempts: {}",
                            letter.event_id,
                            letter.sink,
                            letter.at.format("%Y-%m-%d %H:%M:%S"),
                            letter.attempts,
                            letter.reason
                        ),
                    }
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        if !self.json {
            say!("`{}`: {count} dead letters", self.tenant);
        }
        Ok(())
    }
}

impl Resend {
    async fn run(&self, databases: &Databases, tenants: &Tenants) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let deliveries = self.named.deliveries(databases, tenants).await?;
        let found = deliveries.iter().find(|delivery| delivery.deliverer.name() == self.sink);
        let delivery = found.ok_or_else(|| format!("there is no sink `{}` in the file", self.sink))?;
        let resent = delivery.deliverer.resend(&tenant).await?;
        say!(
            "`{}`: {} sent again, {} refused again, {} not there any more",
            self.sink,
            resent.sent,
            resent.refused,
            resent.gone
        );
        Ok(())
    }
}

impl Forget {
    async fn run(&self, databases: &Databases, tenants: &Tenants) -> Result<(), Failure> {
        for (_, relay) in databases.relays().await? {
            Deliverer::new(tenants, &relay, self.sink.as_str(), Nowhere).forget().await?;
        }
        say!("`{}` is forgotten; when it comes again it begins anew", self.sink);
        Ok(())
    }
}

impl PruneOutbox {
    async fn run(&self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let keep = Duration::from_secs(self.keep_hours.saturating_mul(3_600));
        let pruned = control.prune_stream(&Prune::new(Deliverer::outbox(), keep)).await?;
        say!("{} rows removed", pruned.rows());
        control.close().await;
        Ok(())
    }
}

async fn find(tenants: &Tenants, slug: &str) -> Result<Tenant, Failure> {
    Ok(tenants.by_slug(slug).await?.ok_or_else(|| format!("there is no tenant `{slug}`"))?)
}
