//! What can stop an import. A bad row never does: it goes into the report.

use std::io;
use std::path::{Path, PathBuf};

/// Why a file could not be read as permits. Each message is one sentence that names the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The mapping cannot be read or contradicts itself.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The header does not have the columns that the mapping needs.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file cannot be read, is not CSV, or changed between the two passes.
    #[error(transparent)]
    File(#[from] FileError),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// What is wrong with a mapping, and where.
#[derive(Debug, thiserror::Error)]
#[error("mapping `{mapping}`{}: {message}", place(*.position))]
pub struct MappingError {
    mapping: String,
    position: Option<(usize, usize)>,
    message: String,
    source: Option<io::Error>,
}

fn place(position: Option<(usize, usize)>) -> String {
    position.map(|(line, column)| format!(" line {line} column {column}")).unwrap_or_default()
}

impl MappingError {
    pub(super) fn new(mapping: &str, message: impl Into<String>) -> Self {
        Self { mapping: mapping.to_owned(), position: None, message: message.into(), source: None }
    }

    pub(super) fn at(mut self, position: Option<(usize, usize)>) -> Self {
        self.position = position;
        self
    }

    pub(super) fn unreadable(path: &Path, source: io::Error) -> Self {
        let message = "cannot be read: give --mapping the path of a TOML file";
        Self { source: Some(source), ..Self::new(&path.display().to_string(), message) }
    }

    /// Line and column of the mistake, both from 1, where it has a place.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.position
    }
}

/// A header that does not fit the mapping.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct HeaderError {
    message: String,
    missing: Vec<String>,
}

impl HeaderError {
    pub(super) fn new(message: String, missing: Vec<String>) -> Self {
        Self { message, missing }
    }

    /// The columns that the mapping names and the file lacks; empty when no mapping was chosen.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }
}

/// A file that cannot be imported as a whole.
#[derive(Debug, thiserror::Error)]
#[error("`{}` {message}", .path.display())]
pub struct FileError {
    path: PathBuf,
    message: String,
    source: Option<io::Error>,
}

impl FileError {
    pub(super) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), source: None }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        // The first two say what the system would say again.
        match source.kind() {
            io::ErrorKind::NotFound => Self::new(path, "does not exist: check the path"),
            io::ErrorKind::PermissionDenied => Self::new(path, "may not be read: check its permissions"),
            _ => Self {
                source: Some(source),
                ..Self::new(path, "cannot be read: check the file and its disk")
            },
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("report `{}` {message}: name another file with --report", .path.display())]
pub struct ReportError {
    path: PathBuf,
    message: &'static str,
    source: Option<io::Error>,
}

impl ReportError {
    pub(super) fn new(path: &Path, message: &'static str) -> Self {
        Self { path: path.to_owned(), message, source: None }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), message: "cannot be written", source: Some(source) }
    }

    /// The report's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
