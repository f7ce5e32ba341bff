//! `fga.mod`: the version of the model and the files of its modules.
//!
//! It is the part of YAML that they use: two keys, a version, and a list in block or in brackets.

use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, Span};
use crate::schema::syntax::Name;

/// Reads the files that are listed.
pub(crate) fn parse(source: usize, text: &str, faults: &mut Diagnostics<'_>) -> Vec<Name> {
    let mut reader = Reader { source, faults, files: Vec::new(), in_contents: false };
    let (mut version, mut contents) = (false, false);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let span = Span { source, start: at, end: at + line.trim_end().len() };
        at += line.len();
        let content = uncommented(line).trim_end();
        let trimmed = content.trim_start();
        if trimmed.is_empty() || trimmed == "---" {
            continue;
        }
        let start = span.start + content.len() - trimmed.len();
        if let Some(item) = trimmed.strip_prefix("- ").filter(|_| reader.in_contents) {
            reader.file(item, start + 2);
        } else if let Some(value) = trimmed.strip_prefix("schema:") {
            version = true;
            reader.version(value, start + "schema:".len());
        } else if let Some(value) = trimmed.strip_prefix("contents:") {
            contents = true;
            reader.in_contents = true;
            reader.inline(value, start + "contents:".len());
        } else {
            let help = || Some("`fga.mod` has `schema:` and `contents:`, a list of files".to_owned());
            reader.faults.report_with(Code::BadModFile, span, "this line cannot be read", help);
        }
    }
    for (found, key) in [(version, "schema: '1.2'"), (contents, "contents:")] {
        if !found {
            let span = Span { source, start: text.trim_end().len(), end: text.trim_end().len() };
            reader.faults.report(Code::BadModFile, span, format!("`fga.mod` has no `{key}`"));
        }
    }
    reader.files
}

struct Reader<'f, 'a> {
    source: usize,
    faults: &'f mut Diagnostics<'a>,
    files: Vec<Name>,
    in_contents: bool,
}

impl Reader<'_, '_> {
    fn version(&mut self, value: &str, at: usize) {
        self.in_contents = false;
        let name = self.scalar(value, at);
        if name.text != "1.2" {
            let message = format!("modules need schema 1.2, and not `{}`", name.text.escape_debug());
            self.faults.report(Code::BadVersion, name.span, message);
        }
    }

    /// `[core.fga, issues.fga]`, or nothing when the list follows below.
    fn inline(&mut self, value: &str, at: usize) {
        let trimmed = value.trim();
        if trimmed.is_empty() {
            return;
        }
        let start = at + value.len() - value.trim_start().len();
        let Some(list) = trimmed.strip_prefix('[').and_then(|list| list.strip_suffix(']')) else {
            let span = Span { source: self.source, start, end: start + trimmed.len() };
            self.faults.report(Code::BadModFile, span, "expected a list of files");
            return;
        };
        let mut at = start + 1;
        for item in list.split(',') {
            if !item.trim().is_empty() {
                self.file(item, at);
            }
            at += item.len() + 1;
        }
    }

    fn file(&mut self, value: &str, at: usize) {
        let name = self.scalar(value, at);
        let leaves = name.text.split('/').any(|part| part == "..") || name.text.contains('\\');
        if leaves || name.text.starts_with('/') || !name.text.ends_with(".fga") {
            let help = || Some("a file ends in `.fga` and lies below `fga.mod`".to_owned());
            let message = format!("`{}` cannot be a module file", name.text.escape_debug());
            self.faults.report_with(Code::BadModFile, name.span, message, help);
            return;
        }
        self.files.push(name);
    }

    fn scalar(&self, value: &str, at: usize) -> Name {
        let trimmed = value.trim();
        let start = at + value.len() - value.trim_start().len();
        let span = Span { source: self.source, start, end: start + trimmed.len() };
        let quoted = ['\'', '"']
            .into_iter()
            .find_map(|quote| trimmed.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
        Name { text: quoted.unwrap_or(trimmed).to_owned(), span }
    }
}

/// A line without the comment at its end.
fn uncommented(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.split_once(" #").map_or(line, |(content, _)| content)
}
