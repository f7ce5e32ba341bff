//! The two passes over a file: the survey, which writes nothing, and the rows that hold.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::encoding::{self, Detected};
use super::error::{FileError, ImportError};
use super::header::{self, Layout};
use super::mapping::Mapping;
use super::permit::{self, PermitRow, Problem};
use super::progress::Progress;
use super::record::{ReadError, Record, Records};
use super::repeats::{Keys, Lines, Repeat};
use super::report::{Outcome, Report};

/// Rows between two looks at the progress bar.
const STRIDE: u64 = 512;

/// How many rows of a file are what. `rows` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows below the header, without blank lines.
    pub rows: u64,
    /// Different keys: the rows that [`Survey::rows`] yields.
    pub keys: u64,
    /// Rows that replaced an earlier row of their key with another content.
    pub updated: u64,
    /// Rows that said what the row before of their key had said.
    pub duplicates: u64,
    /// Rows with a mistake.
    pub refused: u64,
}

/// A file that was read and checked once, and can be read again for its rows.
#[derive(Debug)]
pub struct Survey {
    file: Source,
    mapping: Arc<Mapping>,
    layout: Arc<Layout>,
    counts: Counts,
    /// INVARIANT: every line below the header that begins a record and is not in here begins a valid
    /// record, and no two of those have the same key.
    skipped: Arc<Lines>,
}

/// The file as the survey found it.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    found: Detected,
    modified: Option<SystemTime>,
}

impl Survey {
    /// Reads and checks the whole file. Without a mapping, the built-in one whose columns the file
    /// has is taken.
    ///
    /// # Errors
    ///
    /// [`ImportError::File`] if this is no CSV file with rows, [`ImportError::Header`] if its
    /// columns do not fit, [`ImportError::Report`] if the report cannot be written. A bad row is no
    /// error: it is counted and reported.
    pub fn run(
        path: &Path,
        mapping: Option<Mapping>,
        report: &mut Report,
        progress: &Progress,
    ) -> Result<Self, ImportError> {
        let modified = modified(path);
        progress.start_bytes("reading", encoding::size(path)?);
        let found = encoding::detect(path, progress)?;
        progress.end(&format!("{} bytes of {}", found.bytes, found.encoding.name()));
        let file = Source { path: path.to_owned(), found, modified };
        let delimiter = mapping.as_ref().map_or(b',', |mapping| mapping.delimiter.0);
        let (mut records, read) = file.records(delimiter)?;
        let mut record = Record::default();
        file.next(&mut records, &mut record)?;
        let names = header::names(path, &record)?;
        let mapping = mapping.map_or_else(|| header::choose(path, &names), Ok)?;
        let layout = header::layout(path, names, &mapping)?;
        progress.start_bytes("checking", file.found.bytes);
        let mut check =
            Check { report, keys: Keys::new(), skipped: Lines::default(), counts: Counts::default() };
        while file.next(&mut records, &mut record)? {
            check.row(record.line(), permit::read(&record, &layout, &mapping))?;
            if check.counts.rows.is_multiple_of(STRIDE) {
                progress.advance(read.load(Ordering::Relaxed));
                progress.rows(check.counts.rows);
            }
        }
        let Check { counts, skipped, .. } = check;
        report.flush()?;
        if counts.rows == 0 {
            return Err(
                FileError::new(path, "has a header and no rows: export it again with its rows").into()
            );
        }
        progress.end(&counts.to_string());
        let (mapping, layout, skipped) = (Arc::new(mapping), Arc::new(layout), Arc::new(skipped));
        Ok(Self { file, mapping, layout, counts, skipped })
    }

    /// Reads the file again, for the last valid row of each key, in file order: what writing every
    /// row in turn would leave.
    ///
    /// # Errors
    ///
    /// [`ImportError::File`] if the file cannot be read any more or is not the one that was
    /// surveyed; also from the rows.
    pub fn rows(&self) -> Result<Rows, ImportError> {
        self.file.unchanged()?;
        let (mut records, read) = self.file.records(self.mapping.delimiter.0)?;
        let mut record = Record::default();
        self.file.next(&mut records, &mut record)?;
        Ok(Rows {
            file: self.file.clone(),
            mapping: Arc::clone(&self.mapping),
            layout: Arc::clone(&self.layout),
            skipped: Arc::clone(&self.skipped),
            records,
            record,
            read,
            left: self.counts.keys,
            ended: false,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// How many rows are what.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The mapping that was given or chosen.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The name of the file's encoding.
    pub fn encoding(&self) -> &'static str {
        self.file.found.encoding.name()
    }

    /// The file's size.
    pub fn bytes(&self) -> u64 {
        self.file.found.bytes
    }

    /// SHA-256 of the file's bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.file.found.sha256
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, keys, updated, duplicates, refused } = self;
        write!(
            f,
            "{rows} rows: {keys} permits, {updated} updated, {duplicates} duplicates, {refused} refused"
        )
    }
}

/// Refuses, at one look at its beginning, a file that is no text.
///
/// # Errors
///
/// [`ImportError::File`].
pub fn probe(path: &Path) -> Result<(), ImportError> {
    Ok(encoding::probe(path)?)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|file| file.modified()).ok()
}

impl Source {
    fn records(&self, delimiter: u8) -> Result<(Records, Arc<AtomicU64>), FileError> {
        let (text, read) = encoding::text(&self.path, &self.found)?;
        Ok((Records::new(text, delimiter), read))
    }

    fn next(&self, records: &mut Records, record: &mut Record) -> Result<bool, FileError> {
        records.read(record).map_err(|e| match e {
            ReadError::Io(e) => FileError::io(&self.path, e),
            ReadError::OpenQuote { line } => FileError::new(
                &self.path,
                format!("opens a quote on line {line} that is never closed: close it"),
            ),
        })
    }

    fn unchanged(&self) -> Result<(), FileError> {
        let bytes = std::fs::metadata(&self.path).map_err(|e| FileError::io(&self.path, e))?.len();
        if bytes == self.found.bytes && modified(&self.path) == self.modified {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    fn changed(&self) -> FileError {
        FileError::new(
            &self.path,
            "changed while it was imported: import it again, rows already written stay",
        )
    }
}

/// The survey's running state.
struct Check<'a> {
    report: &'a mut Report,
    keys: Keys,
    skipped: Lines,
    counts: Counts,
}

impl Check<'_> {
    fn row(&mut self, line: u64, row: Result<PermitRow, Vec<Problem>>) -> Result<(), ImportError> {
        self.counts.rows += 1;
        match row {
            Ok(row) => self.valid(&row),
            Err(problems) => {
                self.counts.refused += 1;
                self.skipped.insert(line);
                problems.iter().try_for_each(|problem| {
                    self.report.add(Outcome::Refused, line, &problem.column, &problem.value, &problem.reason)
                })
            }
        }
    }

    fn valid(&mut self, row: &PermitRow) -> Result<(), ImportError> {
        let (outcome, reason) = match self.keys.add(&row.key, &row.content_hash, row.line) {
            Repeat::First => {
                self.counts.keys += 1;
                return Ok(());
            }
            Repeat::Same { line } => {
                self.counts.duplicates += 1;
                self.skipped.insert(row.line);
                (Outcome::Duplicate, format!("says the same as line {line} in every mapped column"))
            }
            Repeat::Differs { line } => {
                self.counts.updated += 1;
                self.skipped.insert(line);
                (Outcome::Updated, format!("replaces line {line}"))
            }
        };
        self.report.add(outcome, row.line, "", &row.key, &reason)
    }
}

/// The rows that hold, in file order.
pub struct Rows {
    file: Source,
    mapping: Arc<Mapping>,
    layout: Arc<Layout>,
    skipped: Arc<Lines>,
    records: Records,
    record: Record,
    read: Arc<AtomicU64>,
    left: u64,
    ended: bool,
}

impl Rows {
    /// How many of the file's bytes were read, for the progress bar.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn read(&mut self) -> Result<Option<PermitRow>, ImportError> {
        while self.file.next(&mut self.records, &mut self.record)? {
            if self.skipped.contains(self.record.line()) {
                continue;
            }
            // The survey found this row valid, and as many rows as are left.
            let row = permit::read(&self.record, &self.layout, &self.mapping).ok();
            let (Some(row), Some(left)) = (row, self.left.checked_sub(1)) else {
                return Err(self.file.changed().into());
            };
            self.left = left;
            return Ok(Some(row));
        }
        self.file.unchanged()?;
        if self.left == 0 { Ok(None) } else { Err(self.file.changed().into()) }
    }
}

impl Iterator for Rows {
    type Item = Result<PermitRow, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.read().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("file", &self.file.path)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
