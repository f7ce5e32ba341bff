//! `formwork tenant suspend`, `delete` and the like: a tenant's life, and what is on record of it.

use std::time::Duration;

use clap::{Args, Subcommand};
use formwork_tenancy::lifecycle::{Lifecycle, LifecycleEvent, PastTransition, TransitionReport};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Failure, say,
    tenant_hold::{Hold, Holds, Release},
    tenant_leave::{Impersonate, Revoke},
    tenant_order::{Desk, Why, confirm},
};
use crate::databases::Databases;

const DAY: u64 = 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum Life {
    /// Take a tenant out of service for now.
    Suspend(Change),
    /// Take a tenant into service, for the first time or again.
    Activate(Change),
    /// Take a tenant out of service and keep its data to be looked at.
    Archive(Change),
    /// Take a tenant out of the archive, into service.
    Restore(Change),
    /// Take a tenant out of service, to be removed for good when a time of grace is over.
    Delete(Delete),
    /// Bring a tenant back that is to be removed.
    Undelete(Change),
    /// Remove a tenant for good whose time of grace is over: its keys, then its rows.
    Purge(Purge),
    /// Go on with what was cut off, and call the hooks that have failed.
    Resume(Resume),
    /// List every change of a tenant's status.
    History(History),
    /// Keep a tenant from being deleted.
    Hold(Hold),
    /// Let go of a hold.
    Release(Release),
    /// List the holds on a tenant.
    Holds(Holds),
    /// Give an administrator leave to work for a tenant, as one of its members or as an administrator.
    Impersonate(Impersonate),
    /// Take such leave back.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Change {
    /// The tenant's slug.
    tenant: String,
    #[command(flatten)]
    why: Why,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    #[command(flatten)]
    change: Change,
    /// How many days it can be brought back.
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    grace: u64,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Purge {
    #[command(flatten)]
    change: Change,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The tenant's slug.
    tenant: String,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// The tenant's slug.
    tenant: String,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

impl Life {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let desk = Desk::open(databases).await?;
        let outcome = self.at(&desk).await;
        desk.close().await;
        outcome
    }

    async fn at(self, desk: &Desk) -> Result<(), Failure> {
        let life = Lifecycle::new(desk.control.clone());
        match self {
            Self::Suspend(change) => {
                let (tenant, order) = change.asked(desk).await?;
                change.tell(&life.suspend(tenant, &order).await?)
            }
            Self::Activate(change) => {
                let (tenant, order) = change.asked(desk).await?;
                change.tell(&life.activate(tenant, &order).await?)
            }
            Self::Archive(change) => {
                let (tenant, order) = change.asked(desk).await?;
                change.tell(&life.archive(tenant, &order).await?)
            }
            Self::Restore(change) => {
                let (tenant, order) = change.asked(desk).await?;
                change.tell(&life.restore(tenant, &order).await?)
            }
            Self::Undelete(change) => {
                let (tenant, order) = change.asked(desk).await?;
                change.tell(&life.undelete(tenant, &order).await?)
            }
            Self::Delete(delete) => delete.at(desk, &life).await,
            Self::Purge(purge) => purge.at(desk, &life).await,
            Self::Resume(resume) => resume.at(desk, &life).await,
            Self::History(history) => history.at(desk, &life).await,
            Self::Hold(hold) => hold.at(desk, &life).await,
            Self::Release(release) => release.at(&life).await,
            Self::Holds(holds) => holds.at(desk, &life).await,
            Self::Impersonate(impersonate) => impersonate.at(desk).await,
            Self::Revoke(revoke) => revoke.at(desk).await,
        }
    }
}

impl Change {
    async fn asked(
        &self,
        desk: &Desk,
    ) -> Result<(formwork_tenancy::TenantId, formwork_tenancy::lifecycle::Order), Failure> {
        Ok((desk.tenant(&self.tenant).await?, self.why.order()?))
    }

    fn tell(&self, report: &TransitionReport) -> Result<(), Failure> {
        told(&self.tenant, report, self.json)
    }
}

fn told(slug: &str, report: &TransitionReport, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let waiting: Vec<String> = report.waiting().iter().map(ToString::to_string).collect();
        let told = json!({
            "tenant": slug, "status": report.status(), "changed": report.changed(),
            "removed_rows": report.removed(), "waiting_hooks": waiting,
        });
        say!("{}", serde_json::to_string_pretty(&told)?);
    } else {
        say!("`{slug}`: {report}");
    }
    Ok(())
}

impl Delete {
    async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let Self { change, grace, yes } = self;
        let (tenant, order) = change.asked(desk).await?;
        let slug = &change.tenant;
        confirm(
            slug,
            yes,
            &format!("`{slug}` goes out of service, and can be removed for good in {grace} days."),
        )?;
        change.tell(&life.delete(tenant, Duration::from_secs(grace.saturating_mul(DAY)), &order).await?)
    }
}

impl Purge {
    async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let (tenant, order) = self.change.asked(desk).await?;
        let slug = &self.change.tenant;
        confirm(
            slug,
            self.yes,
            &format!("Everything of `{slug}` is removed, and no backup of it opens any more."),
        )?;
        // Draws on a terminal only.
        let bar = ProgressBar::new_spinner();
        let purged = life.purge(tenant, &order, |event| show(&bar, &event)).await;
        bar.finish_and_clear();
        self.change.tell(&purged?)
    }
}

impl Resume {
    async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let tenant = desk.tenant(&self.tenant).await?;
        let bar = ProgressBar::new_spinner();
        let resumed = life.resume(tenant, |event| show(&bar, &event)).await;
        bar.finish_and_clear();
        told(&self.tenant, &resumed?, self.json)
    }
}

fn show(bar: &ProgressBar, event: &LifecycleEvent<'_>) {
    match event {
        LifecycleEvent::Reached { step } => bar.set_message(step.to_string()),
        LifecycleEvent::Removed { table, rows } => bar.set_message(format!("{table}: {rows} rows removed")),
        _ => {}
    }
    bar.tick();
}

impl History {
    async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let history = life.history(desk.tenant(&self.tenant).await?).await?;
        if self.json {
            let lines: Vec<Value> = history.iter().map(as_json).collect();
            say!("{}", serde_json::to_string_pretty(&lines)?);
            return Ok(());
        }
        say!("{:<20}  {:<9}  {:<13}  {:<13}  {:<9}  by: why", "when", "change", "from", "to", "step");
        for past in &history {
            say!(
                "{:<20}  {:<9}  {:<13}  {:<13}  {:<9}  {}: {}",
                past.begun_at().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
                past.transition().as_str(),
                past.from().as_str(),
                past.to().as_str(),
                past.step().as_str(),
                past.actor(),
                past.reason()
            );
        }
        Ok(())
    }
}

fn as_json(past: &PastTransition) -> Value {
    json!({
        "id": past.id(), "at": past.begun_at(), "transition": past.transition().as_str(), "from": past.from(),
        "to": past.to(), "step": past.step().as_str(), "actor": past.actor(), "reason": past.reason(),
        "problem": past.problem(),
    })
}
