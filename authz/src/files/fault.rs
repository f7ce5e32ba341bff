//! What is wrong with a file, told as a compiler tells it.

use std::fmt;

use crate::schema::SchemaError;

/// A file of a thousand faults is one fault: no more than these are told.
const MAX_FAULTS: usize = 50;
/// How much of a long line is shown.
const MAX_EXCERPT: usize = 100;

/// One fault of a file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    source: String,
    line: usize,
    column: usize,
    excerpt: String,
    /// Characters of the excerpt before the place.
    before: usize,
    message: String,
    help: Option<String>,
}

impl Fault {
    /// A fault on a line of a text; line and column are counted from 1, and a line of 0 is the whole file.
    pub(crate) fn at(
        source: &str,
        text: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Self {
        let whole = line.checked_sub(1).and_then(|at| text.lines().nth(at)).unwrap_or("");
        Self::on(source, whole, line, column, message)
    }

    /// The same when the line is at hand.
    pub(crate) fn on(
        source: &str,
        whole: &str,
        line: usize,
        column: usize,
        message: impl Into<String>,
    ) -> Self {
        // Of a long line the part around the place.
        let skipped = column.saturating_sub(MAX_EXCERPT / 2 + 1);
        let skipped = if whole.chars().count() > MAX_EXCERPT { skipped } else { 0 };
        let shown = whole.chars().skip(skipped).take(MAX_EXCERPT);
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (source, excerpt) = (source.to_owned(), shown.trim_end().to_owned());
        let before = column.saturating_sub(1 + skipped);
        Self { source, line, column, excerpt, before, message: message.into(), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Name of the file, as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Line, counted from 1; 0 for the file as a whole.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Column in characters, counted from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let gutter = " ".repeat(self.line.to_string().len());
        if self.line == 0 {
            write!(f, "\n{gutter}--> {}", self.source)?;
        } else {
            write!(f, "\n{gutter}--> {}:{}:{}", self.source, self.line, self.column)?;
            write!(f, "\n{gutter} |\n{} | {}\n{gutter} | ", self.line, self.excerpt)?;
            write!(f, "{}^", " ".repeat(self.before))?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// A file that cannot be used, with every fault that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    schema: Option<SchemaError>,
    faults: Vec<Fault>,
    omitted: usize,
}

impl FileError {
    /// The faults, in the order of the file; empty when the schema is at fault.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// What is wrong with the schema in the file.
    pub fn schema(&self) -> Option<&SchemaError> {
        self.schema.as_ref()
    }
}

impl From<SchemaError> for FileError {
    fn from(error: SchemaError) -> Self {
        Self { schema: Some(error), faults: Vec::new(), omitted: 0 }
    }
}

impl From<Fault> for FileError {
    fn from(fault: Fault) -> Self {
        Self { schema: None, faults: vec![fault], omitted: 0 }
    }
}

impl From<Vec<Fault>> for FileError {
    fn from(mut faults: Vec<Fault>) -> Self {
        let omitted = faults.len().saturating_sub(MAX_FAULTS);
        faults.truncate(MAX_FAULTS);
        Self { schema: None, faults, omitted }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            return schema.fmt(f);
        }
        for (at, fault) in self.faults.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            fault.fmt(f)?;
        }
        match self.omitted {
            0 => Ok(()),
            n => write!(f, "\n\nand {n} more"),
        }
    }
}

impl std::error::Error for FileError {}
