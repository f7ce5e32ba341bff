//! Native sources to a schema: what is imported is asked for, and everything is read as one.
//!
//! Paths are only compared and handed to the caller; nothing here opens a file.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::name::nearest;
use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::resolve::{self, Language};
use crate::schema::syntax::{File, Name};
use crate::schema::{Schema, Source, parse, partial};

/// The longest text of one source, in bytes.
pub(crate) const MAX_TEXT: usize = 1 << 20;
/// Sources of one schema, imported ones included.
const MAX_SOURCES: usize = 1000;

/// An import that was found in a source, and the source that it means, if there is one.
struct Import {
    from: usize,
    path: Name,
    to: Option<usize>,
}

/// Compiles sources whose imports can only mean one another.
pub(crate) fn native(sources: &[Source<'_>]) -> Result<Schema, SchemaError> {
    let imports = sources.iter().enumerate().flat_map(|(from, source)| {
        bounded_imports(source.text).into_iter().map(move |path| {
            let wanted = join(source.name, &path.text);
            let to = sources.iter().position(|other| Some(other.name) == wanted.as_deref());
            Import { from, path, to }
        })
    });
    compile(sources, &imports.collect::<Vec<_>>())
}

/// Compiles a source and what it imports.
pub(crate) fn with_imports(
    root: Source<'_>,
    mut read: impl FnMut(&str) -> Option<String>,
) -> Result<Schema, SchemaError> {
    let mut names: Vec<String> = vec![root.name.to_owned()];
    let mut texts: Vec<String> = vec![root.text.to_owned()];
    let mut known: FxHashMap<String, usize> = FxHashMap::default();
    known.insert(join("", root.name).unwrap_or_else(|| root.name.to_owned()), 0);
    let mut imports = Vec::new();
    let mut todo = VecDeque::from([0]);
    while let Some(from) = todo.pop_front() {
        let (name, text) = match (names.get(from), texts.get(from)) {
            (Some(name), Some(text)) => (name.clone(), text),
            _ => continue,
        };
        for path in bounded_imports(text) {
            let wanted = join(&name, &path.text);
            let to = match wanted {
                None => None,
                Some(wanted) => match known.get(&wanted) {
                    Some(&to) => Some(to),
                    None if texts.len() >= MAX_SOURCES => None,
                    None => read(&wanted).map(|text| {
                        let to = texts.len();
                        known.insert(wanted.clone(), to);
                        names.push(wanted);
                        texts.push(text);
                        todo.push_back(to);
                        to
                    }),
                },
            };
            imports.push(Import { from, path, to });
        }
    }
    let sources: Vec<Source<'_>> =
        names.iter().zip(&texts).map(|(name, text)| Source { name, text }).collect();
    compile(&sources, &imports)
}

fn bounded_imports(text: &str) -> Vec<Name> {
    if text.len() > MAX_TEXT { Vec::new() } else { parse::imports(text) }
}

/// The path from the folder of a source, without `.` and `..`; nothing when it leaves the folder of the root.
fn join(from: &str, path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn compile(sources: &[Source<'_>], imports: &[Import]) -> Result<Schema, SchemaError> {
    let mut faults = Diagnostics::new(sources);
    let mut file = File::default();
    for (number, source) in sources.iter().enumerate() {
        if fits(number, source.text, &mut faults) {
            file.append(parse::parse(number, source.text, &mut faults));
        }
    }
    verify_imports(sources, imports, &mut faults);
    partial::expand(&mut file, &mut faults);
    resolve::compile(Language::default(), &file, faults)
}

/// Whether the text is short enough to be read.
pub(crate) fn fits(number: usize, text: &str, faults: &mut Diagnostics<'_>) -> bool {
    if text.len() > MAX_TEXT {
        let span = Span { source: number, ..Span::default() };
        let help = || Some("compose the schema of several sources".to_owned());
        let message = format!("the text is longer than {MAX_TEXT} bytes");
        faults.report_with(Code::TextTooLong, span, message, help);
    }
    text.len() <= MAX_TEXT
}

fn verify_imports(sources: &[Source<'_>], imports: &[Import], faults: &mut Diagnostics<'_>) {
    let mut outgoing: Vec<Vec<(usize, Span)>> = vec![Vec::new(); sources.len()];
    for Import { from, path, to } in imports {
        let span = Span { source: *from, ..path.span };
        match to {
            Some(to) => outgoing.get_mut(*from).into_iter().for_each(|list| list.push((*to, span))),
            None => {
                let message = format!("cannot import `{}`: there is no such source", path.text);
                faults.report_with(Code::MissingImport, span, message, || {
                    nearest(&path.text, sources.iter().map(|source| source.name))
                        .map(|near| format!("did you mean `{near}`?"))
                });
            }
        }
    }
    // 0: not met, 1: on the way, 2: done.
    let mut state = vec![0_u8; sources.len()];
    for root in 0..sources.len() {
        let mut way = vec![(root, 0)];
        if state.get(root) != Some(&0) {
            continue;
        }
        while let Some((at, step)) = way.pop() {
            set(&mut state, at, 1);
            let Some(&(to, span)) = outgoing.get(at).and_then(|list| list.get(step)) else {
                set(&mut state, at, 2);
                continue;
            };
            way.push((at, step + 1));
            match state.get(to) {
                Some(0) => way.push((to, 0)),
                Some(1) => {
                    let name = sources.get(to).map_or("", |source| source.name);
                    faults.report(
                        Code::CircularImport,
                        span,
                        format!("`{name}` imports itself through this"),
                    );
                }
                _ => {}
            }
        }
    }
}

fn set(state: &mut [u8], at: usize, value: u8) {
    if let Some(place) = state.get_mut(at) {
        *place = value;
    }
}
