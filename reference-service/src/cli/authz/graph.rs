//! `formwork authz graph`

use clap::{Args, ValueEnum};
use serde_json::json;

use super::input;
use crate::cli::{Failure, print_text, say};

#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// Schema; `-` is standard input [default: the schema of this service].
    file: Option<String>,
    /// How it is drawn.
    #[arg(long, value_enum, default_value_t = Format::Dot, conflicts_with = "json")]
    format: Format,
    /// Print types, relations and permissions as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For `dot -Tsvg`.
    Dot,
    /// For web pages of code hosts.
    Mermaid,
}

impl Graph {
    pub(super) fn run(self) -> Result<(), Failure> {
        let schema = input::schema(self.file.as_deref())?;
        if self.json {
            let types: Vec<_> = schema
                .object_types()
                .map(|kind| {
                    let relations: Vec<_> = schema
                        .relations(kind)
                        .map(|name| json!({"name": name, "subjects": schema.subject_types(kind, name)}))
                        .collect();
                    let permissions: Vec<&str> = schema.permissions(kind).collect();
                    json!({"type": kind, "relations": relations, "permissions": permissions})
                })
                .collect();
            say!("{}", serde_json::to_string_pretty(&types)?);
            return Ok(());
        }
        print_text(&match self.format {
            Format::Dot => schema.to_dot(),
            Format::Mermaid => schema.to_mermaid(),
        });
        Ok(())
    }
}
