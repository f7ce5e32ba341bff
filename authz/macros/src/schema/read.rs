//! The sources of a schema: the text or file that was named, and what it imports.

use std::path::Path;

use super::Root;
use super::lex::{self, Kind};
use super::model::nearest_first;

/// One text.
pub(crate) struct Source {
    /// From the folder of `Cargo.toml`; for a text in the program, `schema`.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) is_file: bool,
}

/// All of them, the root first.
pub(crate) struct Read {
    pub(crate) sources: Vec<Source>,
    pub(crate) is_openfga: bool,
}

/// Enough for a person, too few to go on for ever.
const MAX_SOURCES: usize = 1000;

pub(crate) fn all(root: Root) -> Result<Read, String> {
    let source = match root {
        Root::Text(text) => Source { name: "schema".to_owned(), text, is_file: false },
        Root::File(name) => {
            let text =
                file(&name).map_err(|problem| format!("cannot read the schema `{name}`: {problem}"))?;
            Source { name, text, is_file: true }
        }
    };
    let is_openfga = match source.is_file {
        true => source.name.ends_with(".fga"),
        false => super::openfga::is_model(&source.text),
    };
    let mut read = Read { sources: vec![source], is_openfga };
    if is_openfga {
        return Ok(read);
    }
    let mut at = 0;
    while let Some(source) = read.sources.get(at) {
        for wanted in imports(source)? {
            if read.sources.iter().any(|source| source.name == wanted.name) {
                continue;
            }
            if read.sources.len() == MAX_SOURCES {
                return Err(format!("the schema has more than {MAX_SOURCES} sources"));
            }
            read.sources.push(wanted);
        }
        at += 1;
    }
    Ok(read)
}

fn imports(source: &Source) -> Result<Vec<Source>, String> {
    let tokens = lex::tokens(&source.text).map_err(|fault| fault.within(source))?;
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    let paths = pairs.filter(|(word, path)| word.is("import") && path.kind == Kind::Text);
    let read = paths.map(|(_, path)| {
        let wanted = path.text.trim_matches(['"', '\'']);
        let problem = |problem: &str| {
            let line = lex::line(&source.text, path.start);
            format!("{}:{line}: cannot import `{wanted}`: {problem}", source.name)
        };
        let name =
            join(&source.name, wanted).ok_or_else(|| problem("it is outside of the package's folder"))?;
        let text = file(&name).map_err(|missing| problem(&missing))?;
        Ok(Source { name, text, is_file: true })
    });
    read.collect()
}

/// The path from the folder of a source, without `.` and `..`.
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

fn file(name: &str) -> Result<String, String> {
    let folder =
        std::env::var("CARGO_MANIFEST_DIR").map_err(|_| "cargo does not say where the package is")?;
    let path = Path::new(&folder).join(name);
    std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => missing(&path, name),
        _ => error.to_string(),
    })
}

/// There is no such file; but others may be there.
fn missing(path: &Path, name: &str) -> String {
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let schemas: Vec<String> =
        names.filter(|name| name.ends_with(".zed") || name.ends_with(".fga")).collect();
    let place = match name.rsplit_once('/') {
        Some((folder, _)) => format!("`{folder}`"),
        None => "the folder of Cargo.toml".to_owned(),
    };
    match nearest_first(wanted, schemas.iter().map(String::as_str)) {
        None => format!("{place} has no such file, nor any other .zed or .fga"),
        Some(others) => format!("{place} has no such file; there are {others}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_with_those_that_are_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/typed");
        assert_eq!(
            missing(&folder.join("peple.zed"), "parts/peple.zed"),
            "`parts` has no such file; there are `people.zed` and `root.zed`"
        );
        assert_eq!(
            missing(&folder.join("nowhere/x.zed"), "x.zed"),
            "the folder of Cargo.toml has no such file, nor any other .zed or .fga"
        );
    }

    #[test]
    fn paths_go_from_the_folder_of_the_source_and_stay_in_the_package() {
        assert_eq!(join("access/root.zed", "./people.zed").unwrap(), "access/people.zed");
        assert_eq!(join("access/root.zed", "../people.zed").unwrap(), "people.zed");
        assert_eq!(join("root.zed", "../people.zed"), None);
        assert_eq!(join("root.zed", "/etc/people.zed"), None);
    }
}
