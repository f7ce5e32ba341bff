//! A file to a schema, in whatever language it is.

use std::fmt;

use crate::files::fault::{Fault, FileError};
use crate::schema::{Schema, Source, parse};

/// The languages in which a schema is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// The native one, which is SpiceDB's.
    Native,
    /// OpenFGA's DSL.
    OpenFga,
    /// OpenFGA's JSON.
    OpenFgaJson,
    /// A `fga.mod`, which names the files of a model.
    OpenFgaModules,
}

impl Language {
    /// The language of a file, by its name, and by its text where the name does not tell.
    ///
    /// ```
    /// use formwork_authz::files::Language;
    ///
    /// assert_eq!(Language::of("app.zed", ""), Language::Native);
    /// assert_eq!(Language::of("-", "model\n  schema 1.1"), Language::OpenFga);
    /// ```
    pub fn of(name: &str, text: &str) -> Self {
        let file = name.rsplit('/').next().unwrap_or(name);
        let ends = |extension: &str| file.len() > extension.len() && file.ends_with(extension);
        if file == "fga.mod" {
            Self::OpenFgaModules
        } else if ends(".json") {
            Self::OpenFgaJson
        } else if ends(".fga") {
            Self::OpenFga
        } else if ends(".zed") {
            Self::Native
        } else {
            Self::of_text(text)
        }
    }

    fn of_text(text: &str) -> Self {
        if text.trim_start().starts_with('{') {
            return Self::OpenFgaJson;
        }
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("//"));
        match first.and_then(|line| line.split_whitespace().next()) {
            Some("model" | "module") => Self::OpenFga,
            _ => Self::Native,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::OpenFga => "openfga",
            Self::OpenFgaJson => "openfga-json",
            Self::OpenFgaModules => "fga.mod",
        })
    }
}

/// Compiles the schema in a file; `read` is asked for what it imports or lists, by its path from the folder of the file.
///
/// ```
/// use formwork_authz::files::read_schema;
///
/// let schema = read_schema("app.fga", "model\n  schema 1.1\ntype user", &mut |_| None)?;
/// assert_eq!(schema.object_types().collect::<Vec<_>>(), ["user"]);
/// # Ok::<(), formwork_authz::files::FileError>(())
/// ```
///
/// # Errors
///
/// [`FileError`] with every fault of the schema, or of what the file lists.
pub fn read_schema(
    name: &str,
    text: &str,
    read: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Schema, FileError> {
    let source = Source { name, text };
    match Language::of(name, text) {
        // Imports are told from the folder of the file, and `read` knows that folder.
        Language::Native if parse::imports(text).is_empty() => {
            Ok(Schema::parse_with_imports(source, |_| None)?)
        }
        Language::Native => {
            let name = name.rsplit('/').next().unwrap_or(name);
            Ok(Schema::parse_with_imports(Source { name, text }, read)?)
        }
        Language::OpenFga => Ok(Schema::parse_openfga_source(source)?),
        Language::OpenFgaJson => Ok(Schema::parse_openfga_json_source(source)?),
        Language::OpenFgaModules => modules(name, text, read),
    }
}

fn modules(
    name: &str,
    text: &str,
    read: &mut dyn FnMut(&str) -> Option<String>,
) -> Result<Schema, FileError> {
    let mut parts: Vec<(String, String)> = Vec::new();
    let mut faults = Vec::new();
    let folder = name.strip_suffix("fga.mod").unwrap_or("");
    for (line, path) in listed(text) {
        let path = path.trim_start_matches("./");
        match read(path) {
            Some(text) => parts.push((format!("{folder}{path}"), text)),
            None => {
                let message = format!("the module `{path}` cannot be read");
                let fault = Fault::at(name, text, line, 1, message);
                faults.push(fault.with_help("paths are told from the folder of `fga.mod`"));
            }
        }
    }
    if !faults.is_empty() {
        return Err(faults.into());
    }
    let sources = parts.iter().map(|(name, text)| Source { name, text });
    let sources: Vec<Source<'_>> = std::iter::once(Source { name, text }).chain(sources).collect();
    Ok(Schema::compose_openfga(&sources)?)
}

/// The items of the list `contents`, with their lines; what else is wrong with the file is told when it is compiled.
fn listed(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().skip_while(|(_, line)| !line.starts_with("contents"));
    lines.filter_map(|(at, line)| {
        let item = line.trim().strip_prefix("- ")?;
        let item = item.split(" #").next().unwrap_or(item);
        Some((at + 1, item.trim().trim_matches(|c| c == '"' || c == '\'')))
    })
}
