//! The report file: a line for every row that is not written as it stands.
//!
//! It is opened in a spreadsheet, by people, so a value that a spreadsheet would run as a formula
//! has a `'` before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::{ImportError, ReportError};

const COLUMNS: [&str; 5] = ["line", "column", "value", "reason", "outcome"];
/// As much of a value as the report repeats.
const LONGEST_VALUE: usize = 200;
/// As many different reasons as the summary counts.
const REASONS: usize = 1000;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It has a mistake and is not written.
    Refused,
    /// It repeats a key with another content, which replaces the one before.
    Updated,
    /// It repeats a key and its content.
    Duplicate,
}

impl Outcome {
    /// The outcome as the report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Updated => "updated",
            Self::Duplicate => "duplicate",
        }
    }
}

/// Writes the report; the file is made with its first line, so a clean import leaves none.
#[derive(Debug)]
pub struct Report {
    path: PathBuf,
    writer: Option<csv::Writer<File>>,
    lines: u64,
    reasons: BTreeMap<(String, String), u64>,
}

impl Report {
    /// A report at `path`. A report of an earlier run is replaced; any other file is not.
    ///
    /// # Errors
    ///
    /// [`ImportError::Report`] if another file stands there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, ImportError> {
        let report = Self { path: path.into(), writer: None, lines: 0, reasons: BTreeMap::new() };
        report.remove_earlier()?;
        Ok(report)
    }

    /// A report beside the file: `permits.csv` has `permits.csv.report.csv`.
    ///
    /// # Errors
    ///
    /// [`ImportError::Report`] if another file stands there.
    pub fn beside(file: &Path) -> Result<Self, ImportError> {
        let mut name = OsString::from(file.as_os_str());
        name.push(".report.csv");
        Self::at(PathBuf::from(name))
    }

    /// Adds a line: the row's line, its column (empty for the whole row), the value as written.
    ///
    /// # Errors
    ///
    /// [`ImportError::Report`] if the file cannot be written.
    pub fn add(
        &mut self,
        outcome: Outcome,
        line: u64,
        column: &str,
        value: &str,
        reason: &str,
    ) -> Result<(), ImportError> {
        if outcome == Outcome::Refused {
            self.count(column, reason);
        }
        let (line, value) = (line.to_string(), shown(value));
        let written = [line.as_str(), &harmless(column), &harmless(&value), reason, outcome.as_str()];
        self.write(&written).map_err(|e| ReportError::io(&self.path, e))?;
        self.lines += 1;
        Ok(())
    }

    /// Where the report is, or would be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines it has below its header; without any there is no file.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How often each column was refused for each reason, the most frequent first.
    pub fn reasons(&self) -> Vec<(&str, &str, u64)> {
        let counted = self.reasons.iter();
        let mut reasons: Vec<_> =
            counted.map(|((column, reason), n)| (column.as_str(), reason.as_str(), *n)).collect();
        reasons.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        reasons
    }

    /// Completes the file.
    ///
    /// # Errors
    ///
    /// [`ImportError::Report`] if the file cannot be written.
    pub fn flush(&mut self) -> Result<(), ImportError> {
        let flushed = self.writer.as_mut().map_or(Ok(()), csv::Writer::flush);
        Ok(flushed.map_err(|e| ReportError::io(&self.path, e))?)
    }

    fn write(&mut self, cells: &[&str; 5]) -> std::io::Result<()> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let mut writer = csv::Writer::from_writer(File::create(&self.path)?);
                writer.write_record(COLUMNS)?;
                none.insert(writer)
            }
        };
        Ok(writer.write_record(cells)?)
    }

    fn count(&mut self, column: &str, reason: &str) {
        let entry = (column.to_owned(), reason.to_owned());
        if self.reasons.len() < REASONS || self.reasons.contains_key(&entry) {
            *self.reasons.entry(entry).or_default() += 1;
        }
    }

    /// A report left from an earlier run would be read as this one's.
    fn remove_earlier(&self) -> Result<(), ReportError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(ReportError::io(&self.path, e)),
        };
        let header = format!("{}\n", COLUMNS.join(","));
        let mut start = String::new();
        let read = BufReader::new(file).take(header.len() as u64).read_to_string(&mut start);
        if read.is_err() || start != header {
            return Err(ReportError::new(&self.path, "would replace a file that is no import report"));
        }
        std::fs::remove_file(&self.path).map_err(|e| ReportError::io(&self.path, e))
    }
}

/// The value on one line, and cut.
fn shown(value: &str) -> String {
    let mut shown: String =
        value.chars().take(LONGEST_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(LONGEST_VALUE).is_some() {
        shown.push('…');
    }
    shown
}

fn harmless(value: &str) -> Cow<'_, str> {
    let amount = value.bytes().all(|byte| byte.is_ascii_digit() || b".,-+".contains(&byte));
    if value.starts_with(['=', '+', '-', '@']) && !amount {
        Cow::Owned(format!("'{value}"))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_made_with_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report::beside(&folder.path().join("permits.csv")).unwrap();
        report.flush().unwrap();
        assert!(!report.path().exists());
        report.add(Outcome::Refused, 7, "cost", "-5", "is negative").unwrap();
        report.add(Outcome::Refused, 8, "cost", "=HYPERLINK(\"x\")\n", "is no amount").unwrap();
        report.add(Outcome::Refused, 9, "cost", &"9".repeat(201), "is no amount").unwrap();
        report.add(Outcome::Updated, 10, "", "a, b", "replaces line 2").unwrap();
        report.flush().unwrap();
        let text = std::fs::read_to_string(folder.path().join("permits.csv.report.csv")).unwrap();
        let expected = format!(
            "line,column,value,reason,outcome\n7,cost,-5,is negative,refused\n\
             8,cost,\"'=HYPERLINK(\"\"x\"\") \",is no amount,refused\n9,cost,{}…,is no amount,refused\n\
             10,,\"a, b\",replaces line 2,updated\n",
            "9".repeat(200)
        );
        assert_eq!(text, expected);
        assert_eq!(report.reasons(), [("cost", "is no amount", 2), ("cost", "is negative", 1)]);
        assert_eq!(report.lines(), 4);
    }

    #[test]
    fn an_earlier_report_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.csv");
        let mut report = Report::at(&path).unwrap();
        report.add(Outcome::Refused, 7, "cost", "-5", "is negative").unwrap();
        drop(report);
        Report::at(&path).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "mine\n").unwrap();
        let refused = Report::at(&path).unwrap_err().to_string();
        assert!(
            refused
                .ends_with("would replace a file that is no import report: name another file with --report")
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine\n");
    }
}
