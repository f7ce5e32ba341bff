//! Why a private cluster could not be found, started or set up: one variant for each thing that a reader
//! would do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with a private Postgres cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalPostgresError {
    /// No usable Postgres binaries are on this machine.
    #[error(transparent)]
    BinariesNotFound(#[from] BinariesNotFound),
    /// A file or folder of the cluster cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// This process is root and there is nobody whom Postgres could run as.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// `initdb` or `postgres` ended, or never became ready.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server runs, but roles or databases could not be made.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

/// No usable Postgres binaries are on this machine.
#[derive(Debug)]
pub struct BinariesNotFound {
    pub(super) rejected: Vec<(PathBuf, String)>,
}

impl BinariesNotFound {
    /// Folders that hold binaries which cannot be used, each with the reason.
    pub fn rejected(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.rejected.iter().map(|(folder, reason)| (folder.as_path(), reason.as_str()))
    }
}

impl fmt::Display for BinariesNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no Postgres of version 15 or newer was found")?;
        for (position, (folder, reason)) in self.rejected().enumerate() {
            let before = if position == 0 { " (" } else { "; " };
            write!(f, "{before}`{}`: {reason}", folder.display())?;
        }
        if !self.rejected.is_empty() {
            f.write_str(")")?;
        }
        f.write_str(
            ": run `script/bootstrap`, or set PG_BIN_DIR to the folder of its `initdb` and `postgres`",
        )
    }
}

impl std::error::Error for BinariesNotFound {}

/// A file or folder of the cluster cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`{hint}", path.display())]
pub struct FolderError {
    pub(super) action: &'static str,
    pub(super) path: PathBuf,
    pub(super) hint: String,
    pub(super) source: Option<io::Error>,
}

impl FolderError {
    /// The file or folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// This process is root and there is nobody whom Postgres could run as.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct AccountError {
    pub(super) reason: String,
    pub(super) source: Option<io::Error>,
}

/// `initdb` or `postgres` ended, or never became ready.
#[derive(Debug, thiserror::Error)]
#[error("{reason}{}", after_colon(log_tail))]
pub struct StartError {
    pub(super) reason: String,
    pub(super) log_tail: String,
    pub(super) source: Option<io::Error>,
}

impl StartError {
    /// The last lines that the server wrote to its log.
    pub fn log_tail(&self) -> &str {
        &self.log_tail
    }
}

/// The server runs, but roles or databases could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} in the private Postgres cluster")]
pub struct SetupError {
    pub(super) action: String,
    // Boxed: the driver's error type is not part of this crate's promise.
    pub(super) source: Box<dyn std::error::Error + Send + Sync>,
}

fn after_colon(log_tail: &str) -> String {
    if log_tail.is_empty() { String::new() } else { format!(": {log_tail}") }
}

/// Names the path and the act when a file operation fails.
pub(super) trait OnPath<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, FolderError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, action: &'static str, path: &Path) -> Result<T, FolderError> {
        self.map_err(|source| FolderError {
            action,
            path: path.to_path_buf(),
            hint: String::new(),
            source: Some(source),
        })
    }
}

impl FolderError {
    pub(super) fn because(action: &'static str, path: &Path, hint: impl Into<String>) -> Self {
        Self { action, path: path.to_path_buf(), hint: hint.into(), source: None }
    }
}
