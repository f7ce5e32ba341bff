//! What the commands read: a schema, relationships, a question.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use clap::Args;
use formwork_authz::{
    Context, Graph, Relationship, Schema,
    files::{self, Scenario},
};
use serde_json::{Map, Value};

use super::refused;
use crate::{cli::Failure, modules};

/// A text and where it came from; `-` is standard input.
pub(super) struct Text {
    pub(super) name: String,
    pub(super) text: String,
    folder: PathBuf,
}

impl Text {
    pub(super) fn read(path: &str) -> Result<Self, Failure> {
        let bytes = bytes(path)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("`{path}` is no text: byte {at} does not belong to UTF-8")
        })?;
        let folder = Path::new(path).parent().unwrap_or(Path::new("")).to_owned();
        let name = if path == "-" { "stdin".to_owned() } else { path.to_owned() };
        Ok(Self { name, text, folder })
    }

    /// Reads what the text names, from its folder.
    pub(super) fn beside(&self) -> impl FnMut(&str) -> Option<String> + use<> {
        let folder = self.folder.clone();
        move |path| std::fs::read_to_string(folder.join(path)).ok()
    }

    /// Store files and validation files.
    pub(super) fn is_scenario(&self) -> bool {
        let ends = |extension| self.name.ends_with(extension);
        let keys =
            ["schema:", "schemaFile:", "model:", "model_file:", "relationships:", "name:", "assertions:"];
        let has_key = || self.text.lines().any(|line| keys.iter().any(|key| line.starts_with(key)));
        ends(".yaml") || ends(".yml") || (self.name == "stdin" && has_key())
    }

    pub(super) fn scenario(&self) -> Result<Scenario, Failure> {
        Scenario::read(&self.name, &self.text, &mut self.beside()).map_err(|error| refused(&error))
    }

    pub(super) fn schema(&self) -> Result<Schema, Failure> {
        files::read_schema(&self.name, &self.text, &mut self.beside()).map_err(|error| refused(&error))
    }
}

pub(super) fn bytes(path: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match path {
        "-" => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        path => std::fs::read(path).map(|read| bytes = read),
    };
    read.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
    Ok(bytes)
}

/// Where schema and relationships come from.
#[derive(Debug, Args)]
pub(super) struct Sources {
    /// Schema: `.zed`, `.fga`, `.json`, `fga.mod`, or a file of expectations, whose relationships count as well; `-` is
    /// standard input [default: the schema of this service].
    #[arg(long, short, value_name = "FILE")]
    schema: Option<String>,
    /// Relationships, one a line, or `.csv`, `.json`, `.jsonl`, `.yaml` as OpenFGA's tools write them; may be given
    /// again.
    #[arg(long, short, value_name = "FILE")]
    relationships: Vec<String>,
}

impl Sources {
    pub(super) fn graph(&self) -> Result<Graph, Failure> {
        let (schema, mut relationships) = self.parts()?;
        for path in &self.relationships {
            let file = Text::read(path)?;
            let read = files::read_relationships_for(&schema, &file.name, &file.text);
            relationships.extend(read.map_err(|error| refused(&error))?);
        }
        let graph = Graph::load(schema, relationships);
        if graph.ignored() > 0 {
            let ignored = graph.ignored();
            return Err(format!(
                "the schema has no place for {ignored} of the relationships in its file: `formwork authz test` names them"
            )
            .into());
        }
        Ok(graph)
    }

    fn parts(&self) -> Result<(Arc<Schema>, Vec<Relationship>), Failure> {
        let Some(path) = &self.schema else { return Ok((modules::schema()?.into(), Vec::new())) };
        let file = Text::read(path)?;
        if !file.is_scenario() {
            return Ok((file.schema()?.into(), Vec::new()));
        }
        let scenario = file.scenario()?;
        // What stands in a single test belongs to that test.
        Ok((scenario.schema, scenario.relationships))
    }
}

/// The schema in a file, or that of this service.
pub(super) fn schema(path: Option<&str>) -> Result<Arc<Schema>, Failure> {
    let Some(path) = path else { return Ok(modules::schema()?.into()) };
    let file = Text::read(path)?;
    if file.is_scenario() { Ok(file.scenario()?.schema) } else { Ok(file.schema()?.into()) }
}

/// What comes with a question.
#[derive(Debug, Args)]
pub(super) struct Given {
    /// Values for conditions, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = object)]
    context: Option<Map<String, Value>>,
    /// Ask as of a time, as in 2026-01-31T12:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("not a JSON object: {error}"))
}

impl Given {
    pub(super) fn context(&self) -> Context {
        let context = Context::from(self.context.clone().unwrap_or_default());
        match self.at {
            Some(at) => context.at(at),
            None => context,
        }
    }
}
