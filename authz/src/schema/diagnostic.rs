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
    place: Place,
    message: String,
    help: Option<String>,
}

/// Where something is wrong in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Text {
        line: usize,
        column: usize,
        excerpt: String,
        caret: (usize, usize),
    },
    /// Of a module that was written in Rust.
    Item(String),
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

    /// Name of the source, as it was given to [`Schema::compose`](crate::Schema::compose), or of the module.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Line, counted from 1; 0 when the schema was built in Rust.
    pub fn line(&self) -> usize {
        match self.place {
            Place::Text { line, .. } => line,
            Place::Item(_) => 0,
        }
    }

    /// Column in characters, counted from 1; 0 when the schema was built in Rust.
    pub fn column(&self) -> usize {
        match self.place {
            Place::Text { column, .. } => column,
            Place::Item(_) => 0,
        }
    }

    /// What a [`Module`](crate::Module) declares there: `rfi`, `rfi#view`, `condition`, `condition(parameter)`.
    pub fn item(&self) -> Option<&str> {
        match &self.place {
            Place::Text { .. } => None,
            Place::Item(item) => Some(item),
        }
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
        let severity = if self.is_warning() { "warning" } else { "error" };
        writeln!(f, "{severity}[{}]: {}", self.code.text(), self.message)?;
        let gutter = match &self.place {
            Place::Text { line, column, excerpt, caret: (before, length) } => {
                let gutter = " ".repeat(line.to_string().len());
                writeln!(f, "{gutter}--> {}:{line}:{column}", self.source)?;
                writeln!(f, "{gutter} |")?;
                writeln!(f, "{line} | {excerpt}")?;
                write!(f, "{gutter} | {}{}", " ".repeat(*before), "^".repeat(*length))?;
                gutter
            }
            Place::Item(item) => {
                write!(f, " --> {}: {item}", self.source)?;
                " ".to_owned()
            }
        };
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
    sources: Sources<'a>,
    found: Vec<Finding>,
    omitted: usize,
    warnings: Vec<Finding>,
}

enum Sources<'a> {
    Texts(&'a [Source<'a>]),
    /// The names of modules, and of what each declares, whose place is its number.
    Modules(Vec<(String, Vec<String>)>),
}

struct Finding {
    code: Code,
    span: Span,
    message: String,
    help: Option<String>,
}

impl<'a> Diagnostics<'a> {
    pub(crate) fn new(sources: &'a [Source<'a>]) -> Self {
        Self::over(Sources::Texts(sources))
    }

    /// Of modules that are written in Rust, whose places are yet to be told by [`Diagnostics::item`].
    pub(crate) fn of_modules<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        Self::over(Sources::Modules(names.map(|name| (name.to_owned(), Vec::new())).collect()))
    }

    fn over(sources: Sources<'a>) -> Self {
        Self { sources, found: Vec::new(), omitted: 0, warnings: Vec::new() }
    }

    /// The place of what a module declares. It has no length: nothing inside it has a place of its own.
    pub(crate) fn item(&mut self, source: usize, item: String) -> Span {
        let mut start = 0;
        if let Sources::Modules(modules) = &mut self.sources
            && let Some((_, items)) = modules.get_mut(source)
        {
            start = items.len();
            items.push(item);
        }
        Span { source, start, end: start }
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

    /// A place in short, for a message about another place.
    fn place(&self, span: Span) -> String {
        match self.place_of(span) {
            (source, Place::Text { line, .. }) => format!("{source}:{line}"),
            (source, Place::Item(item)) => format!("{source}: {item}"),
        }
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

    fn diagnostic(&self, Finding { code, span, message, help }: Finding) -> Diagnostic {
        let (source, place) = self.place_of(span);
        Diagnostic { code, source, place, message, help }
    }

    fn place_of(&self, span: Span) -> (String, Place) {
        match &self.sources {
            Sources::Texts(sources) => {
                let (name, text) =
                    sources.get(span.source).map_or(("", ""), |source| (source.name, source.text));
                (name.to_owned(), in_text(text, span))
            }
            Sources::Modules(modules) => {
                let module = modules.get(span.source);
                let item = module.and_then(|(_, items)| items.get(span.start));
                let name = module.map_or("", |(name, _)| name);
                (name.to_owned(), Place::Item(item.cloned().unwrap_or_default()))
            }
        }
    }
}

/// Number of the line, start of the line, the line itself.
fn line_of(text: &str, span: Span) -> (usize, usize, &str) {
    let before = text.get(..span.start).unwrap_or(text);
    let starts = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = text.get(starts..).unwrap_or("");
    let line = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
    (before.matches('\n').count() + 1, starts, line)
}

fn in_text(text: &str, span: Span) -> Place {
    let (line, starts, whole) = line_of(text, span);
    let offset = span.start.saturating_sub(starts).min(whole.len());
    let chars_before = whole.get(..offset).map_or(0, |before| before.chars().count());
    let within = whole.get(offset..(offset + span.end.saturating_sub(span.start)).min(whole.len()));
    let length = within.map_or(1, |text| text.chars().count()).clamp(1, MAX_EXCERPT);
    let skipped = if chars_before > MAX_EXCERPT / 2 && whole.chars().count() > MAX_EXCERPT {
        chars_before - MAX_EXCERPT / 2
    } else {
        0
    };
    let shown = whole.chars().skip(skipped).take(MAX_EXCERPT);
    let excerpt: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = chars_before - skipped;
    Place::Text {
        line,
        column: chars_before + 1,
        excerpt: excerpt.trim_end().to_owned(),
        caret: (before, length.min(MAX_EXCERPT.saturating_sub(before).max(1))),
    }
}
