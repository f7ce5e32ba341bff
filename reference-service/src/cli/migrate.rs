//! `formwork migrate`: the platform and every tenant's home.

use std::path::Path;

use clap::Args;
use formwork_tenancy::fleet::{Canary, FleetEvent, FleetOptions};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, say};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Run everything, tell what came of it, and undo it.
    #[arg(long)]
    dry_run: bool,
    /// A tenant with a home of its own that goes first; nobody follows when it fails. May be given more than once.
    #[arg(long, value_name = "SLUG")]
    canary: Vec<String>,
}

impl Migrate {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let databases = Databases::named_or_private(state).await?;
        let outcome = self.bring_up_to_date(&databases).await;
        databases.stop().await;
        outcome
    }

    async fn bring_up_to_date(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let mut options = FleetOptions::new();
        if !self.canary.is_empty() {
            options = options.canary(Canary::Tenants(self.canary));
        }
        // Draws on a terminal only.
        let bar = ProgressBar::new(0).with_style(style());
        let fleet = control.fleet();
        let report = if self.dry_run {
            fleet.dry_run(&options, |event| show(&bar, &event)).await
        } else {
            fleet.run(&options, |event| show(&bar, &event)).await
        };
        bar.finish_and_clear();
        control.close().await;
        let report = report?;
        match report.steps() {
            0 if report.failures().is_empty() => {
                say!("nothing to do: the platform and every tenant's home are up to date");
            }
            _ if self.dry_run => say!("tried and undone: {report}"),
            _ => say!("{report}"),
        }
        match report.failures() {
            [] => Ok(()),
            failures => {
                let homes = failures.len();
                Err(format!("{homes} failed and are as they were: see above, and run the command again")
                    .into())
            }
        }
    }
}

fn show(bar: &ProgressBar, event: &FleetEvent<'_>) {
    match event {
        FleetEvent::Waiting => bar.println("another migration is at work: waiting for its end"),
        // Told once a database.
        FleetEvent::Planned { plan } => bar.set_length(bar.position() + plan.pending().count() as u64),
        FleetEvent::WaveBegun { wave, .. } => bar.set_prefix(wave.to_string()),
        FleetEvent::Done { .. } => bar.inc(1),
        FleetEvent::Failed { failure, .. } => {
            bar.println(failure.to_string());
            bar.inc(1);
        }
        // A retry shows in the rate; what is told later is not drawn yet.
        _ => {}
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix:>12} {wide_bar} {human_pos}/{human_len} homes, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
