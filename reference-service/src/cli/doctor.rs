//! `formwork doctor`: is every wall between the tenants where it should be?

use std::path::Path;

use clap::Args;
use formwork_tenancy::doctor::DoctorConfig;

use super::{Failure, say};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = self.look(&databases).await;
        databases.stop().await;
        outcome
    }

    async fn look(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let report = control.doctor(&DoctorConfig::new()).await?;
        control.close().await;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&report)?);
        } else {
            say!("{report}");
        }
        match report.is_healthy() {
            true => Ok(()),
            false => Err("the database is not healthy: do what the report's remedies say".into()),
        }
    }
}
