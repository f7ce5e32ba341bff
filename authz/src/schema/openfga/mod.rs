//! OpenFGA's languages: the DSL of schema 1.1 and 1.2, its modules, and the JSON of its API.

mod format;
pub(crate) mod json;
mod lex;
mod model;
mod modfile;
mod parse;
mod print;
mod write;

pub use format::format_openfga;

use crate::schema::code::Code;
use crate::schema::diagnostic::{Diagnostics, SchemaError, Span};
use crate::schema::load::fits;
use crate::schema::resolve::{self, Language};
use crate::schema::rule::Dialect;
use crate::schema::syntax::{Definition, File, Name, Origin};
use crate::schema::{Schema, Source};

/// Header and contents of one source.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) header: Header,
    pub(crate) file: File,
}

#[derive(Debug, Default)]
pub(crate) enum Header {
    /// Neither, which has been reported.
    #[default]
    Missing,
    /// `model` and `schema 1.1`
    Model(Name),
    /// `module core`
    Module(Name),
}

/// Compiles one text.
pub(crate) fn parse(source: Source<'_>) -> Result<Schema, SchemaError> {
    let (sources, text) = ([source], source.text);
    let mut faults = Diagnostics::new(&sources);
    let mut model = Model::default();
    if fits(0, text, &mut faults) {
        model = parse::parse(0, text, &mut faults);
    }
    whole(model, faults)
}

/// Compiles one JSON text.
pub(crate) fn parse_json(source: Source<'_>) -> Result<Schema, SchemaError> {
    let (sources, text) = ([source], source.text);
    let mut faults = Diagnostics::new(&sources);
    let mut model = Model::default();
    if fits(0, text, &mut faults) {
        model = model::read(text, &mut faults);
    }
    whole(model, faults)
}

fn whole(model: Model, mut faults: Diagnostics<'_>) -> Result<Schema, SchemaError> {
    let modular = match &model.header {
        Header::Model(version) => version.text == "1.2",
        Header::Module(name) => {
            let help = || Some("compose the modules, together with `fga.mod`".to_owned());
            let message = "a module is no model by itself";
            faults.report_with(Code::BadHeader, name.span, message, help);
            true
        }
        Header::Missing => false,
    };
    for definition in model.file.definitions.iter().filter(|definition| definition.extends) {
        extends_nothing(definition, &mut faults);
    }
    resolve::compile(Language { dialect: Dialect::OpenFga, modular }, &model.file, faults)
}

fn extends_nothing(definition: &Definition, faults: &mut Diagnostics<'_>) {
    let message = format!("`{}` can only be extended in a module", definition.name.text);
    let help = || Some("write the relations in the type itself, or begin the file with `module`".to_owned());
    faults.report_with(Code::BadHeader, definition.name.span, message, help);
}

/// Compiles modules, as `fga.mod` lists them if it is one of the sources.
pub(crate) fn compose(sources: &[Source<'_>]) -> Result<Schema, SchemaError> {
    let mut faults = Diagnostics::new(sources);
    let is_mod = |source: &Source<'_>| source.name == "fga.mod" || source.name.ends_with("/fga.mod");
    let order: Vec<usize> = match sources.iter().position(is_mod) {
        Some(at) => listed(sources, at, &mut faults),
        None => (0..sources.len()).collect(),
    };
    let mut whole = File::default();
    for number in order {
        let Some(source) = sources.get(number) else { continue };
        if !fits(number, source.text, &mut faults) {
            continue;
        }
        let Model { header, mut file } = parse::parse(number, source.text, &mut faults);
        let module = match header {
            Header::Module(name) => Some(name.text.into_boxed_str()),
            Header::Model(version) => {
                let message = "a module begins with `module`, and not with `model`";
                let help = || Some("write `module` and its name; the version stands in `fga.mod`".to_owned());
                faults.report_with(Code::BadHeader, version.span, message, help);
                None
            }
            Header::Missing => None,
        };
        mark(&mut file, &Origin { module, file: Some(source.name.into()) });
        whole.append(file);
    }
    resolve::compile(Language { dialect: Dialect::OpenFga, modular: true }, &whole, faults)
}

/// Says of everything in a file where it comes from. The items of a type that is not extended come with it.
fn mark(file: &mut File, origin: &Origin) {
    for definition in &mut file.definitions {
        definition.origin = origin.clone();
        if definition.extends {
            definition.items.iter_mut().for_each(|item| item.origin = origin.clone());
        }
    }
    file.conditions.iter_mut().for_each(|condition| condition.origin = origin.clone());
}

/// The sources that `fga.mod` lists, in its order.
fn listed(sources: &[Source<'_>], at: usize, faults: &mut Diagnostics<'_>) -> Vec<usize> {
    let Some(file) = sources.get(at) else { return Vec::new() };
    if !fits(at, file.text, faults) {
        return Vec::new();
    }
    let folder = file.name.strip_suffix("fga.mod").unwrap_or("");
    let mut order = Vec::new();
    for name in modfile::parse(at, file.text, faults) {
        let full = format!("{folder}{}", name.text.trim_start_matches("./"));
        match sources.iter().position(|source| source.name == full) {
            Some(number) if order.contains(&number) => {
                faults.report(Code::BadModFile, name.span, format!("`{}` is listed twice", name.text));
            }
            Some(number) => order.push(number),
            None => {
                let message = format!("the module file `{}` was not given", name.text);
                faults.report(Code::MissingModule, name.span, message);
            }
        }
    }
    for (number, source) in sources.iter().enumerate() {
        if number != at && !order.contains(&number) {
            let span = Span { source: number, ..Span::default() };
            let message = format!("`fga.mod` does not list `{}`", source.name);
            faults.report(Code::MissingModule, span, message);
        }
    }
    order
}
