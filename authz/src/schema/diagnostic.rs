//! What is wrong with a schema, told as a compiler tells it: place, line, caret, what was expected.

use std::fmt;

use crate::schema::Source;
use crate::schema::code::{Code, Severity};

/// A schema of a thousand faults is one fault: no more than these are told.
const MAX_DIAGNOSTICS: usize = 50;
/// How much of a long source line is shown.
const MAX_EXCERPT: usize = 100;

/// A place in the sources, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) source: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// One fault of a schema, or something odd about it, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    code: Code,
    source: String,
    line: usize,
    column: usize,
    message: String,
    help: Option<String>,
    excerpt: String,
    caret: (usize, usize),
}

impl Diagnostic {
    /// The stable code, such as `F0201`, under which `docs/schema-errors.md` explains it.
    pub fn code(&self) -> &'static str {
        self.code.text()
    }

    /// Every code that there is; those of warnings begin with `F09`.
    pub fn codes() -> impl Iterator<Item = &'static str> {
        Code::ALL.iter().map(|code| code.text())
    }

    /// The schema can be used all the same.
    pub fn is_warning(&self) -> bool {
        self.code.severity() == Severity::Warning
    }

    /// Name of the source, as it was given to [`Schema::compose`](crate::Schema::compose).
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Line, counted from 1.
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

    /// What was expected, or the name that was probably meant.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let (before, length) = self.caret;
        let severity = if self.is_warning() { "warning" } else { "error" };
        writeln!(f, "{severity}[{}]: {}", self.code.text(), self.message)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.source, self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.excerpt)?;
        write!(f, "{gutter} | {}{}", " ".repeat(before), "^".repeat(length))?;
        match &self.help {
            Some(help) => write!(f, "\n{gutter} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// A schema that cannot be used, with every fault that was found.
///
/// ```
/// use formwork_authz::Schema;
///
/// let error = Schema::parse("definition user {}\ndefinition document { relation viewer: usr }").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "error[F0201]: unknown type `usr`
///  --> schema:2:40
///   |
/// 2 | definition document { relation viewer: usr }
///   |                                        ^^^
///   = help: did you mean `user`?"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    diagnostics: Vec<Diagnostic>,
    omitted: usize,
}

impl SchemaError {
    /// Every fault, in the order of the sources; never empty.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        match self.omitted {
            0 => Ok(()),
            n => write!(f, "\n\nand {n} more"),
        }
    }
}

impl std::error::Error for SchemaError {}

/// Takes faults while the sources are read and resolved.
pub(crate) struct Diagnostics<'a> {
    sources: &'a [Source<'a>],
    found: Vec<Finding>,
    omitted: usize,
    warnings: Vec<Finding>,
}

struct Finding {
    code: Code,
    span: Span,
    message: String,
    help: Option<String>,
}

impl<'a> Diagnostics<'a> {
    pub(crate) fn new(sources: &'a [Source<'a>]) -> Self {
        Self { sources, found: Vec::new(), omitted: 0, warnings: Vec::new() }
    }

    pub(crate) fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.push(code, span, message.into(), || None);
    }

    /// The help is only looked for when the fault will be told: finding a near name takes time.
    pub(crate) fn report_with(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        help: impl FnOnce() -> Option<String>,
    ) {
        self.push(code, span, message.into(), help);
    }

    /// Reports something that was there before. The first place is only looked for when the fault will be told.
    pub(crate) fn report_again(&mut self, code: Code, span: Span, message: impl Into<String>, first: Span) {
        let full = self.found.len() >= MAX_DIAGNOSTICS;
        let message = message.into();
        let message = if full { message } else { format!("{message}, first at {}", self.place(first)) };
        self.push(code, span, message, || None);
    }

    fn push(&mut self, code: Code, span: Span, message: String, help: impl FnOnce() -> Option<String>) {
        let (list, full) = match code.severity() {
            Severity::Error => (&mut self.found, &mut self.omitted),
            Severity::Warning => (&mut self.warnings, &mut 0),
        };
        if list.len() < MAX_DIAGNOSTICS {
            list.push(Finding { code, span, message, help: help() });
        } else {
            *full += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `name:line` of a place, for a message about another place.
    fn place(&self, span: Span) -> String {
        let (line, _, _) = self.line_of(span);
        format!("{}:{line}", self.sources.get(span.source).map_or("", |source| source.name))
    }

    /// The faults as an error; the warnings when there were none.
    pub(crate) fn finish(mut self) -> Result<Vec<Diagnostic>, SchemaError> {
        let found = std::mem::take(&mut self.found);
        if found.is_empty() {
            let warnings = std::mem::take(&mut self.warnings);
            return Ok(self.told(warnings));
        }
        Err(SchemaError { diagnostics: self.told(found), omitted: self.omitted })
    }

    fn told(&self, mut found: Vec<Finding>) -> Vec<Diagnostic> {
        found.sort_by_key(|finding| (finding.span.source, finding.span.start));
        found.into_iter().map(|finding| self.diagnostic(finding)).collect()
    }

    /// Number of the line, start of the line, the line itself.
    fn line_of(&self, span: Span) -> (usize, usize, &'a str) {
        let text = self.sources.get(span.source).map_or("", |source| source.text);
        let before = text.get(..span.start).unwrap_or(text);
        let starts = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = text.get(starts..).unwrap_or("");
        let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
        (before.matches('\n').count() + 1, starts, line)
    }

    fn diagnostic(&self, Finding { code, span, message, help }: Finding) -> Diagnostic {
        let (line, starts, whole) = self.line_of(span);
        let offset = span.start.saturating_sub(starts).min(whole.len());
        let chars_before = whole.get(..offset).map_or(0, |before| before.chars().count());
        let within = whole.get(offset..(offset + span.end.saturating_sub(span.start)).min(whole.len()));
        let length = within.map_or(1, |text| text.chars().count()).clamp(1, MAX_EXCERPT);
        let skipped = if chars_before > MAX_EXCERPT / 2 && whole.chars().count() > MAX_EXCERPT {
            chars_before - MAX_EXCERPT / 2
        } else {
            0
        };
        let excerpt: String = whole
            .chars()
            .skip(skipped)
            .take(MAX_EXCERPT)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let before = chars_before - skipped;
        Diagnostic {
            code,
            source: self.sources.get(span.source).map_or(String::new(), |source| source.name.to_owned()),
            line,
            column: chars_before + 1,
            message,
            help,
            caret: (before, length.min(MAX_EXCERPT.saturating_sub(before).max(1))),
            excerpt: excerpt.trim_end().to_owned(),
        }
    }
}
