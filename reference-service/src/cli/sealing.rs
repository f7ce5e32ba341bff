//! With which key trails are sealed, and how often: what `serve` and `worker` share.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use formwork_audit::seal::{FileAnchor, Sealer};

use super::{
    Failure,
    audit::{read_key, unusable},
};
use crate::{background::Background, databases::Databases};

#[derive(Debug, Args)]
pub(super) struct Sealing {
    /// Seal the audit trails with this key, Ed25519 in PEM; needs DATABASE_RELAY_URL.
    #[arg(long, value_name = "FILE", env = "FORMWORK_SEAL_KEY")]
    seal_key: Option<PathBuf>,
    /// File, best on another machine, to which checkpoints are appended once they are committed.
    #[arg(long, value_name = "FILE", env = "FORMWORK_SEAL_ANCHOR", requires = "seal_key")]
    seal_anchor: Option<PathBuf>,
    /// Seconds between two sealings of a trail.
    #[arg(long, value_name = "SECONDS", env = "FORMWORK_SEAL_EVERY", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..))]
    seal_every: u64,
}

impl Sealing {
    pub(super) fn is_wanted(&self) -> bool {
        self.seal_key.is_some()
    }

    /// Begins to seal, when a key is named.
    pub(super) async fn begin(
        &self,
        databases: &Databases,
        background: &mut Background,
    ) -> Result<(), Failure> {
        let Some(key) = &self.seal_key else { return Ok(()) };
        let sealer = sealer(key, self.seal_anchor.as_deref())?;
        background.seal(databases.relay().await?, sealer, Duration::from_secs(self.seal_every));
        Ok(())
    }
}

pub(super) fn sealer(key: &Path, anchor: Option<&Path>) -> Result<Sealer, Failure> {
    let sealer = Sealer::new(read_key(key)?);
    match anchor {
        None => Ok(sealer),
        Some(path) => Ok(sealer.anchor(FileAnchor::open(path).map_err(|error| unusable(path, &error))?)),
    }
}
