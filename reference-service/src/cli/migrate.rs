//! `formwork migrate`.

use std::path::Path;

use clap::Args;

use super::{Failure, say};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct Migrate {}

impl Migrate {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let databases = Databases::named_or_private(state).await?;
        let control = databases.control().await?;
        let steps = control.migrate().await?;
        match steps {
            0 => say!("nothing to do: the platform and every tenant's home are up to date"),
            steps => say!("{steps} steps run: the platform and every tenant's home are up to date"),
        }
        control.close().await;
        databases.stop().await;
        Ok(())
    }
}
