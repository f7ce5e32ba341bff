//! A file with a line of JSON for each event (NDJSON), which is on the disk before the event counts as taken.

mod log;
mod repair;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Message, SendError, Sink};

use log::Log;

/// Appends events to a file, a line each, flushed to disk before they count as taken.
///
/// Of one that has grown large the next number becomes the name, as `audit.ndjson.7`, and another one is begun. One
/// process at a time writes: a lock file stands beside it. What a crash has torn, which can only be the end, is cut off
/// when the file is opened; those events come again.
#[derive(Debug)]
pub struct FileSink {
    log: Arc<Mutex<Log>>,
    rotate_at: u64,
    keep: Option<usize>,
}

impl FileSink {
    /// Opens the file, or makes it, readable by its owner alone. Another one is begun at 100 MB, and all are kept.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, when another process writes it, or when its lines are not JSON.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let log = Log::open(path.into())?;
        Ok(Self { log: Arc::new(Mutex::new(log)), rotate_at: 100_000_000, keep: None })
    }

    /// Begins another file before this one is larger than so many bytes.
    #[must_use]
    pub fn rotate_at(mut self, bytes: u64) -> Self {
        self.rotate_at = bytes.max(1);
        self
    }

    /// Removes the oldest of the files that were ended, when there are more than these.
    #[must_use]
    pub fn keep(mut self, ended: usize) -> Self {
        self.keep = Some(ended);
        self
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn send(&self, messages: &[Message]) -> Result<(), SendError> {
        let size = messages.iter().map(|message| message.body().len() + 1).sum();
        let mut lines = String::with_capacity(size);
        for message in messages {
            lines.push_str(message.body());
            lines.push('\n');
        }
        let (log, rotate_at, keep) = (Arc::clone(&self.log), self.rotate_at, self.keep);
        let written = tokio::task::spawn_blocking(move || {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(lines.as_bytes(), rotate_at, keep)
        });
        written.await.map_err(SendError::unavailable)?.map_err(SendError::unavailable)
    }
}
