//! `formwork authz import openfga` and `spicedb`: a model and tuples of another system become files of this one, and the
//! answers before and after are compared.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use formwork_authz::{
    Context, Decision, Graph, Relationship, Schema,
    files::{self, Answer, Fault, Imported, Question, Scenario},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    input::{self, Text},
    refused,
};
use crate::cli::{Exit, Failure, say};

/// Differences that are shown.
const MAX_SHOWN: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// From OpenFGA: a model (`.fga`, `.json`, `fga.mod`) or a store file, and tuples.
    Openfga(Openfga),
    /// From SpiceDB: a schema, a validation file or a backup of `zed`, and relationships.
    Spicedb(Spicedb),
}

#[derive(Debug, Args)]
pub(crate) struct Openfga {
    /// Model, or a store file with its tuples and expectations.
    model: String,
    /// Tuples: `.csv`, `.json`, `.jsonl` or `.yaml`; may be given again.
    #[arg(long, value_name = "FILE")]
    tuples: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct Spicedb {
    /// Schema, a validation file, or what `zed backup create` wrote.
    schema: String,
    /// Relationships, one a line; may be given again.
    #[arg(long, value_name = "FILE")]
    relationships: Vec<String>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// Folder for `schema.zed` and `relationships.txt`, made when it is not there [default: only report].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write over what is there.
    #[arg(long)]
    force: bool,
    /// Questions {"object", "permission", "subject", "context", "expected"} as JSON lines, in the names of the other
    /// system, whose answers are compared; `expected` is what the other system answered.
    #[arg(long, value_name = "FILE")]
    questions: Option<String>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

type Tuples = Vec<Result<Relationship, Fault>>;

impl Import {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Openfga(openfga) => {
                let file = Text::read(&openfga.model)?;
                let (schema, mut tuples, expected) = match file.is_scenario() {
                    true => opened(file.scenario()?),
                    false => (file.schema()?.into(), Tuples::new(), Vec::new()),
                };
                read(&openfga.tuples, &mut tuples)?;
                let before = graph(&schema, &tuples);
                openfga.target.finish(&before, files::import_openfga(schema, tuples), expected)
            }
            Self::Spicedb(spicedb) => {
                let (schema, mut tuples, expected) = spicedb.read()?;
                read(&spicedb.relationships, &mut tuples)?;
                let before = graph(&schema, &tuples);
                spicedb.target.finish(&before, files::import_spicedb(schema, tuples), expected)
            }
        }
    }
}

impl Spicedb {
    fn read(&self) -> Result<(Arc<Schema>, Tuples, Vec<Asked>), Failure> {
        let bytes = input::bytes(&self.schema)?;
        if bytes.starts_with(b"Obj\x01") {
            let read = files::read_zed_backup(&self.schema, &bytes).map_err(|error| refused(&error))?;
            let schema = files::read_schema("backup.zed", &read.0, &mut |_| None);
            let schema = schema.map_err(|error| refused(&error))?;
            return Ok((schema.into(), read.1.into_iter().map(Ok).collect(), Vec::new()));
        }
        let file = Text::read(&self.schema)?;
        match file.is_scenario() {
            true => Ok(opened(file.scenario()?)),
            false => Ok((file.schema()?.into(), Tuples::new(), Vec::new())),
        }
    }
}

fn graph(schema: &Arc<Schema>, tuples: &Tuples) -> Graph {
    Graph::load(Arc::clone(schema), tuples.iter().flatten().cloned())
}

fn read(paths: &[String], tuples: &mut Tuples) -> Result<(), Failure> {
    for path in paths {
        let file = Text::read(path)?;
        files::relationships_of(&file.name, &file.text, &mut |_, tuple| tuples.push(tuple));
    }
    Ok(())
}

/// A question of the other system, and what it answered.
struct Asked {
    question: Relationship,
    context: Map<String, Value>,
    expected: Option<String>,
}

/// What a file of expectations holds: what is expected in general, of what is stored for all tests.
fn opened(scenario: Scenario) -> (Arc<Schema>, Tuples, Vec<Asked>) {
    let tests = scenario.tests.iter().filter(|test| test.relationships.is_empty());
    let asked = tests.flat_map(|test| &test.expectations).filter_map(|one| match &one.question {
        Question::Check { object, permission, subject } => Some(Asked {
            question: Relationship::new(object, permission.clone(), subject),
            context: one.context.clone(),
            expected: match &one.answer {
                Answer::List(_) | Answer::Error(_) => None,
                answer => Some(answer.to_string()),
            },
        }),
        _ => None,
    });
    let asked = asked.collect();
    (scenario.schema, scenario.relationships.into_iter().map(Ok).collect(), asked)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    object: String,
    permission: String,
    subject: String,
    #[serde(default)]
    context: Map<String, Value>,
    expected: Option<Expected>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected {
    Truth(bool),
    Word(String),
}

fn asked(path: &str) -> Result<Vec<Asked>, Failure> {
    let file = Text::read(path)?;
    let lines = file.text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| -> Result<Asked, Failure> {
            let place = |error: &dyn std::fmt::Display| {
                format!("line {} of `{path}` is no question: {error}", at + 1)
            };
            let line: Line = serde_json::from_str(line).map_err(|error| place(&error))?;
            let text = format!("{}#{}@{}", line.object, line.permission, line.subject);
            let question: Relationship = text.parse().map_err(|error| place(&error))?;
            let expected = line.expected.map(|expected| match expected {
                Expected::Truth(true) => "allowed".to_owned(),
                Expected::Truth(false) => "denied".to_owned(),
                Expected::Word(word) => word,
            });
            Ok(Asked { question, context: line.context, expected })
        })
        .collect()
}

fn word(graph: &Graph, question: &Relationship, context: &Map<String, Value>) -> String {
    let context = Context::from(context.clone());
    match graph.check_in(&context, question.subject(), question.relation(), question.object()) {
        Ok(Decision::Allowed) => "allowed".to_owned(),
        Ok(Decision::Denied) => "denied".to_owned(),
        Ok(Decision::Conditional { .. }) => "conditional".to_owned(),
        Err(error) => format!("no answer: {error}"),
    }
}

/// A question whose answers differ.
struct Difference {
    question: String,
    expected: Option<String>,
    before: String,
    after: String,
}

impl Target {
    fn finish(&self, before: &Graph, imported: Imported, mut asked: Vec<Asked>) -> Result<(), Failure> {
        if let Some(path) = &self.questions {
            asked.extend(self::asked(path)?);
        }
        let after = Graph::load(Arc::clone(&imported.schema), imported.relationships.iter().cloned());
        let mut differences = Vec::new();
        for one in &asked {
            let question = imported.question(&one.question);
            let (was, is) =
                (word(before, &one.question, &one.context), word(&after, &question, &one.context));
            if was != is || one.expected.as_ref().is_some_and(|expected| *expected != is) {
                let question = one.question.to_string();
                differences.push(Difference {
                    question,
                    expected: one.expected.clone(),
                    before: was,
                    after: is,
                });
            }
        }
        let written = self.out.as_deref().map(|folder| self.write(folder, &imported)).transpose()?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&json(&imported, asked.len(), &differences))?),
            false => tell(&imported, asked.len(), &differences, written.as_deref()),
        }
        if differences.is_empty() { Ok(()) } else { Err(Exit(1).into()) }
    }

    fn write(&self, folder: &Path, imported: &Imported) -> Result<Vec<PathBuf>, Failure> {
        let (name, text) = match imported.not_native.is_empty() {
            true => ("schema.zed", imported.schema.to_native()?),
            false => ("model.json", imported.schema.to_openfga_json()?),
        };
        let mut facts = String::new();
        for fact in &imported.relationships {
            facts.push_str(&fact.to_string());
            facts.push('\n');
        }
        let files = [(folder.join(name), text), (folder.join("relationships.txt"), facts)];
        if let Some((path, _)) = files.iter().find(|(path, _)| !self.force && path.exists()) {
            return Err(format!(
                "`{}` is there already: name another folder, or add --force",
                path.display()
            )
            .into());
        }
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("the folder `{}` cannot be made: {error}", folder.display()))?;
        for (path, text) in &files {
            std::fs::write(path, text)
                .map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?;
        }
        Ok(files.into_iter().map(|(path, _)| path).collect())
    }
}

fn tell(imported: &Imported, asked: usize, differences: &[Difference], written: Option<&[PathBuf]>) {
    let types = imported.schema.object_types().count();
    match imported.not_native.is_empty() {
        true => say!("schema         {types} types, native"),
        false => {
            say!("schema         {types} types, as it was: the native language cannot say it");
            imported.not_native.iter().for_each(|reason| say!("               - {reason}"));
        }
    }
    for (before, after) in &imported.renamed {
        say!("renamed        {before} -> {after}");
    }
    say!("relationships  {}", imported.relationships.len());
    let left_out: usize = imported.unsaid.iter().map(|unsaid| unsaid.count).sum();
    if left_out > 0 {
        say!("left out       {left_out}");
    }
    for unsaid in &imported.unsaid {
        say!("{:>13}  {}", unsaid.count, unsaid.reason);
        unsaid.examples.iter().for_each(|example| say!("               - {example}"));
    }
    if asked > 0 {
        say!("compared       {asked} answers, {} of them differ", differences.len());
    } else {
        say!("compared       nothing: give --questions");
    }
    for one in differences.iter().take(MAX_SHOWN) {
        let expected =
            one.expected.as_ref().map(|expected| format!("expected {expected}, ")).unwrap_or_default();
        say!("               - {}: {expected}before {}, after {}", one.question, one.before, one.after);
    }
    for path in written.unwrap_or_default() {
        say!("written        {}", path.display());
    }
}

fn json(imported: &Imported, asked: usize, differences: &[Difference]) -> Value {
    let unsaid: Vec<Value> = imported
        .unsaid
        .iter()
        .map(|unsaid| json!({"reason": unsaid.reason, "count": unsaid.count, "examples": unsaid.examples}))
        .collect();
    let differences: Vec<Value> = differences
        .iter()
        .map(|one| json!({"question": one.question, "expected": one.expected, "before": one.before, "after": one.after}))
        .collect();
    let renamed: Vec<Value> =
        imported.renamed.iter().map(|(before, after)| json!({"before": before, "after": after})).collect();
    json!({"native": imported.not_native.is_empty(), "not_native": imported.not_native, "renamed": renamed,
           "relationships": imported.relationships.len(), "left_out": unsaid, "compared": asked,
           "differences": differences})
}
