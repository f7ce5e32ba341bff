//! Who may start and who serves, among processes that use one cluster's folder.
//!
//! `start.lock` is held while a start is under way, `owner.lock` for as long as a process serves the cluster.
//! The kernel lets go of both when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{FolderError, OnPath};

/// Longer than the slowest `initdb` that was seen, by far.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until no other process is starting this cluster.
pub(super) fn starting(dir: &Path) -> Result<File, FolderError> {
    let path = dir.join("start.lock");
    let file = open(&path)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(FolderError::because(
                    "lock",
                    &path,
                    ": another process has been starting the cluster for two minutes",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error).on("lock", &path),
        }
    }
}

/// The owner's lock file, locked when this process is now the one to serve (`true`).
pub(super) fn owner(dir: &Path) -> Result<(File, bool), FolderError> {
    let path = dir.join("owner.lock");
    let file = open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(error).on("lock", &path),
    }
}

fn open(path: &Path) -> Result<File, FolderError> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).on("open", path)
}
