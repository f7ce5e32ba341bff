//! Where checkpoints are kept out of the database's reach, so that a rollback of the whole is seen.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use async_trait::async_trait;
use formwork_tenancy::TenantId;

use super::SignedCheckpoint;

/// What ends a call of an anchor.
pub type AnchorError = Box<dyn std::error::Error + Send + Sync>;

/// A place that whoever can write the database cannot write: a bucket with object lock, another party's log, a file on
/// another machine.
///
/// A checkpoint is given again when it was not known whether it had arrived; the same one twice is one.
#[async_trait]
pub trait Anchor: Send + Sync + std::fmt::Debug + 'static {
    /// Keeps a checkpoint, for good. When this returns, it is kept.
    async fn keep(&self, checkpoint: &SignedCheckpoint) -> Result<(), AnchorError>;

    /// The tenant's newest one that is kept.
    async fn newest(&self, tenant: TenantId) -> Result<Option<SignedCheckpoint>, AnchorError>;
}

/// Checkpoints in a file, a line of JSON each, appended and flushed to disk.
///
/// A line that was cut off by a crash, which can only be the last, is dropped when the file is opened.
#[derive(Debug)]
pub struct FileAnchor {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    newest: BTreeMap<TenantId, SignedCheckpoint>,
}

impl FileAnchor {
    /// Opens the file, or makes it. One process at a time may write it.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or holds a line that is no checkpoint.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        let mut newest = BTreeMap::new();
        let whole = read_lines(&file, |checkpoint| {
            newest.insert(checkpoint.checkpoint().tenant(), checkpoint);
        })?;
        if whole != file.metadata()?.len() {
            file.set_len(whole)?;
        }
        file.flush()?;
        Ok(Self { state: Mutex::new(State { file, newest }) })
    }

    /// What a file holds of one tenant, in the order in which it was kept.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn read(path: impl AsRef<Path>, tenant: TenantId) -> io::Result<Vec<SignedCheckpoint>> {
        let mut found = Vec::new();
        read_lines(&File::open(path)?, |checkpoint| {
            if checkpoint.checkpoint().tenant() == tenant {
                found.push(checkpoint);
            }
        })?;
        Ok(found)
    }
}

/// Tells every checkpoint; answers the length of the lines that are whole.
fn read_lines(file: &File, mut tell: impl FnMut(SignedCheckpoint)) -> io::Result<u64> {
    let mut lines = BufReader::new(file);
    let (mut whole, mut number) = (0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        let length = lines.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Ok(whole);
        }
        number += 1;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {error}"));
        tell(serde_json::from_str(&line).map_err(invalid)?);
        whole += length as u64;
    }
}

#[async_trait]
impl Anchor for FileAnchor {
    async fn keep(&self, checkpoint: &SignedCheckpoint) -> Result<(), AnchorError> {
        let mut state = self.state.lock().map_err(|_| "another call has panicked")?;
        let tenant = checkpoint.checkpoint().tenant();
        if state.newest.get(&tenant) == Some(checkpoint) {
            return Ok(());
        }
        let line = serde_json::to_string(checkpoint)? + "\n";
        state.file.write_all(line.as_bytes())?;
        state.file.sync_data()?;
        state.newest.insert(tenant, checkpoint.clone());
        Ok(())
    }

    async fn newest(&self, tenant: TenantId) -> Result<Option<SignedCheckpoint>, AnchorError> {
        let state = self.state.lock().map_err(|_| "another call has panicked")?;
        Ok(state.newest.get(&tenant).cloned())
    }
}
