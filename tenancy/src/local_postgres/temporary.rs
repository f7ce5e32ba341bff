//! Clusters that are thrown away: where they lie, and who clears up after a process that was killed.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::{FolderError, OnPath};
use super::lock;
use super::secrets::random_hex;

const PREFIX: &str = "formwork-pg-";
/// Below this, memory is left alone and the temporary folder taken.
const ROOM_KIB: u64 = 1024 * 1024;

/// A new folder for a cluster, in memory where there is room. Folders of processes that are gone are removed.
pub(super) fn folder() -> Result<PathBuf, FolderError> {
    let memory = Path::new("/dev/shm");
    let parents = [memory.to_path_buf(), std::env::temp_dir()];
    for parent in parents {
        if parent == memory && !has_room(memory) {
            continue;
        }
        let suffix = random_hex::<4>().on("find random bytes for", &parent)?;
        let path = parent.join(format!("{PREFIX}{}-{suffix}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {
                sweep(&parent, &path);
                return Ok(path);
            }
            // Not writable for us: the temporary folder is.
            Err(_) if parent == memory => {}
            Err(error) => return Err(error).on("create", &path),
        }
    }
    Err(FolderError::because("find room for a cluster in", &std::env::temp_dir(), ""))
}

fn has_room(folder: &Path) -> bool {
    let output =
        Command::new("df").arg("-Pk").arg(folder).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let Ok(output) = output else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    free.is_some_and(|free| free > ROOM_KIB)
}

/// Removes what earlier processes left beside `ours`: a test run ends by `exit`, which drops nothing. A server that
/// outlived its process, where the kernel does not tie the two, ends itself when its data are gone.
fn sweep(parent: &Path, ours: &Path) {
    let (Ok(own), Ok(entries)) = (fs::metadata(ours), parent.read_dir()) else { return };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(pid_of) else { continue };
        let is_ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own.uid());
        if is_ours && !is_alive(pid) && !is_served(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn pid_of(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Whether somebody holds the folder's owner lock.
fn is_served(dir: &Path) -> bool {
    dir.join("owner.lock").exists() && !matches!(lock::owner(dir), Ok((_, true)))
}

fn is_alive(pid: u32) -> bool {
    if Path::new("/proc/self").exists() {
        return Path::new("/proc").join(pid.to_string()).exists();
    }
    let mut command = Command::new("sh");
    command.args(["-c", "kill -0 \"$1\"", "sh", &pid.to_string()]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_swept() {
        assert_eq!(pid_of("formwork-pg-123-ab12cd34"), Some(123));
        assert_eq!(pid_of("formwork-pg-x-ab12cd34"), None);
        assert_eq!(pid_of("something-else-123"), None);
    }

    #[test]
    fn this_process_is_alive() {
        assert!(is_alive(std::process::id()));
    }
}
