//! `formwork tenant move`: to another home, and what is left of that to do.

use std::time::Duration;

use clap::Args;
use formwork_tenancy::{
    ControlPlane, HomePlace, Tenants,
    moves::{MoveEvent, MoveReport},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Failure, say};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct Move {
    /// The tenant's slug.
    tenant: String,
    #[command(flatten)]
    what: What,
    /// With --finish: how many seconds the old home is left after the move, for reads that are on their way.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    grace: u64,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// Where to: shared, schema, database:NAME or database:NAME:shared.
    #[arg(long)]
    to: Option<HomePlace>,
    /// Go on with a move that was cut off.
    #[arg(long)]
    resume: bool,
    /// Undo a move that was cut off.
    #[arg(long)]
    abort: bool,
    /// Remove what the last move has left behind.
    #[arg(long)]
    finish: bool,
}

impl Move {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let tenants = databases.tenants(Tenants::builder()).await?;
        let outcome = self.on(&control, &tenants).await;
        tenants.close().await;
        control.close().await;
        outcome
    }

    async fn on(self, control: &ControlPlane, tenants: &Tenants) -> Result<(), Failure> {
        let slug = &self.tenant;
        let found = tenants.by_slug(slug).await?;
        let tenant = found.ok_or_else(|| format!("there is no tenant `{slug}`"))?.id();
        if self.what.abort {
            control.abort_move(tenant).await?;
            return self.tell("aborted", &format!("the move of `{slug}` is undone: it lives where it lived"));
        }
        if self.what.finish {
            control.finish_move(tenant, Duration::from_secs(self.grace)).await?;
            return self.tell("finished", &format!("what `{slug}` had left behind is removed"));
        }
        // Draws on a terminal only.
        let bar = ProgressBar::new(0).with_style(style());
        let report = match &self.what.to {
            Some(place) => control.move_tenant(tenant, place, |event| show(&bar, &event)).await,
            None => control.resume_move(tenant, |event| show(&bar, &event)).await,
        };
        bar.finish_and_clear();
        let report = report?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&as_json(slug, &report))?);
        } else {
            say!("`{slug}` is {report}");
            say!("when no read of the old home is left: formwork tenant move {slug} --finish");
        }
        Ok(())
    }

    fn tell(&self, outcome: &str, text: &str) -> Result<(), Failure> {
        if self.json {
            say!("{}", json!({ "tenant": self.tenant, "outcome": outcome }));
        } else {
            say!("{text}");
        }
        Ok(())
    }
}

fn as_json(slug: &str, report: &MoveReport) -> serde_json::Value {
    json!({
        "tenant": slug,
        "outcome": "moved",
        "from": report.from(),
        "to": report.to(),
        "rows": report.rows(),
        "frozen_ms": u64::try_from(report.frozen().as_millis()).unwrap_or(u64::MAX),
        "tables": report.tables(),
    })
}

fn show(bar: &ProgressBar, event: &MoveEvent<'_>) {
    match event {
        MoveEvent::Reached { step } => bar.set_prefix(step.to_string()),
        MoveEvent::Copied { table, done, total, .. } | MoveEvent::Verified { table, done, total, .. } => {
            bar.set_length(*total as u64);
            bar.set_position(*done as u64);
            bar.set_message((*table).to_owned());
        }
        _ => {}
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix:>12} {wide_bar} {pos}/{len} tables {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
