//! A streaming standby of a private cluster, for tests of what holds on one.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::process::Stdio;

use super::cluster::Cluster;
use super::error::{LocalPostgresError, StartError};
use super::supervisor::Supervisor;
use super::{Durability, LocalPostgres, LocalRole, lock, temporary};

impl LocalPostgres {
    /// Whether the binaries of this cluster can make a standby: some distributions package `pg_basebackup` apart.
    pub(crate) fn can_replicate(&self) -> bool {
        self.cluster.program("pg_basebackup").is_file()
    }

    /// A standby of this cluster that streams from it under the replication slot `slot`, in a folder that goes with
    /// it. Its logins and passwords are the primary's.
    pub(crate) async fn standby(&self, slot: &str) -> Result<Self, LocalPostgresError> {
        let (primary, slot) = (self.cluster.clone(), slot.to_owned());
        let prepared = tokio::task::spawn_blocking(move || prepare(&primary, &slot)).await;
        let (cluster, supervisor) =
            prepared.map_err(|error| failed("was given up", Some(error.into())))??;
        let standby = Self { cluster, supervisor, temporary: true };
        standby.wait_until_ready().await?;
        standby.supervisor.ready();
        Ok(standby)
    }
}

fn prepare(primary: &Cluster, slot: &str) -> Result<(Cluster, Supervisor), LocalPostgresError> {
    let standby = primary.beside(temporary::folder()?, Durability::Fast)?;
    let made = copy(primary, &standby, slot).and_then(|()| {
        let (file, _) = lock::owner(standby.dir())?;
        Ok(Supervisor::start(standby.clone(), file, true)?)
    });
    if made.is_err() {
        standby.remove();
    }
    Ok((standby, made?))
}

/// Copies the primary while it runs, and writes down where to stream from.
fn copy(primary: &Cluster, standby: &Cluster, slot: &str) -> Result<(), LocalPostgresError> {
    let mut command = primary.command("pg_basebackup", &standby.data());
    command.arg("-D").arg(standby.data()).arg("-h").arg(primary.socket_folder());
    command.args([
        "-p",
        &super::cluster::PORT.to_string(),
        "-U",
        LocalRole::Superuser.name(),
        "--no-password",
    ]);
    command.args(["-R", "-X", "stream", "-C", "-S", slot, "-c", "fast", "--no-sync", "--no-manifest"]);
    command.env("PGPASSWORD", primary.password(LocalRole::Superuser)).stdin(Stdio::null());
    let output = command.output().map_err(|source| failed("cannot be run", Some(source)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ");
    Err(failed(&format!("ended with {}: {said}", output.status), None))
}

impl Cluster {
    /// The folder of a standby of this cluster, with an empty place for its data.
    fn beside(&self, dir: std::path::PathBuf, durability: Durability) -> Result<Self, LocalPostgresError> {
        let standby = self.moved_to(dir, durability);
        standby.open_folder()?;
        let data = standby.data();
        DirBuilder::new().mode(0o700).create(&data).map_err(|source| failed("has no room", Some(source)))?;
        standby.give_away(&data)?;
        Ok(standby)
    }
}

fn failed(what: &str, source: Option<std::io::Error>) -> LocalPostgresError {
    StartError { reason: format!("the copy of the private Postgres {what}"), log_tail: String::new(), source }
        .into()
}
