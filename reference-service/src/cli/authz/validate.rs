//! `formwork authz validate`

use clap::Args;
use formwork_authz::{Diagnostic, Schema, files};
use serde_json::{Value, json};

use super::input::Text;
use crate::cli::{Exit, Failure, say};

#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Schemas and files of expectations; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// Relationships that the schema, of which there is one then, must have a place for.
    #[arg(long, short, value_name = "FILE")]
    relationships: Vec<String>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

impl Validate {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.files.len() > 1 && !self.relationships.is_empty() {
            return Err("relationships belong to one schema: give one".into());
        }
        let (mut found, mut is_valid) = (Vec::new(), true);
        for path in &self.files {
            let file = Text::read(path)?;
            let report = self.look(&file)?;
            is_valid &= report.get("valid") == Some(&Value::Bool(true));
            found.push(report);
        }
        if self.json {
            say!("{}", serde_json::to_string_pretty(&found)?);
        }
        if is_valid { Ok(()) } else { Err(Exit(1).into()) }
    }

    fn look(&self, file: &Text) -> Result<Value, Failure> {
        let read = match file.is_scenario() {
            true => files::Scenario::read(&file.name, &file.text, &mut file.beside())
                .map(|scenario| (scenario.schema, scenario.relationships.len())),
            false => files::read_schema(&file.name, &file.text, &mut file.beside())
                .map(|schema| (schema.into(), 0)),
        };
        let read = read.and_then(|(schema, mut count)| {
            for path in &self.relationships {
                // That a file cannot be read is told below, with the others.
                let Ok(file) = Text::read(path) else { continue };
                count += files::read_relationships_for(&schema, &file.name, &file.text)?.len();
            }
            Ok((schema, count))
        });
        for path in &self.relationships {
            Text::read(path)?;
        }
        match read {
            Ok((schema, count)) => Ok(self.told(&file.name, &schema, count)),
            Err(error) => {
                if !self.json {
                    eprintln!("{error}");
                }
                let schema = error.schema().map_or(&[][..], |schema| schema.diagnostics());
                let faults = error.faults().iter().map(|fault| {
                    json!({"source": fault.source(), "line": fault.line(), "column": fault.column(),
                           "message": fault.message(), "help": fault.help()})
                });
                let errors: Vec<Value> = schema.iter().map(diagnostic).chain(faults).collect();
                Ok(json!({"file": file.name, "valid": false, "errors": errors}))
            }
        }
    }

    fn told(&self, name: &str, schema: &Schema, relationships: usize) -> Value {
        let types: Vec<&str> = schema.object_types().collect();
        let relations: usize = types.iter().map(|name| schema.relations(name).count()).sum();
        let permissions: usize = types.iter().map(|name| schema.permissions(name).count()).sum();
        let conditions = schema.conditions().count();
        if !self.json {
            for warning in schema.warnings() {
                eprintln!("{warning}\n");
            }
            let types = types.len();
            let warnings = schema.warnings().len();
            say!(
                "{name}: valid, with {types} types, {relations} relations, {permissions} permissions, {conditions} \
                 conditions, {relationships} relationships; {warnings} warnings"
            );
        }
        let warnings: Vec<Value> = schema.warnings().iter().map(diagnostic).collect();
        json!({"file": name, "valid": true, "types": types, "relations": relations, "permissions": permissions,
               "conditions": conditions, "relationships": relationships, "warnings": warnings})
    }
}

fn diagnostic(found: &Diagnostic) -> Value {
    json!({"code": found.code(), "source": found.source(), "line": found.line(), "column": found.column(),
           "message": found.message(), "help": found.help()})
}
