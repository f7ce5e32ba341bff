//! `formwork authz explain`

use clap::{Args, ValueEnum};
use formwork_authz::Relationship;

use super::input::{Given, Sources};
use crate::cli::{Failure, print_text, say};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// What is asked, as in document:7#view@user:anna.
    question: Relationship,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    given: Given,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Format::Text, conflicts_with = "json")]
    format: Format,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    /// A tree.
    Text,
    /// The tree for programs.
    Json,
    /// A picture, for `dot -Tsvg`.
    Dot,
    /// A picture, for web pages of code hosts.
    Mermaid,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let graph = self.sources.graph()?;
        let (question, context) = (&self.question, self.given.context());
        let (subject, permission, object) = (question.subject(), question.relation(), question.object());
        let why = graph.explain(&context, subject, permission, object)?;
        let remedies = match why.decision.is_allowed() {
            true => None,
            false => Some(graph.remedies(&context, subject, permission, object)?),
        };
        match if self.json { Format::Json } else { self.format } {
            Format::Text => {
                print_text(&why.to_string());
                if let Some(remedies) = remedies {
                    print_text(&format!("\n{remedies}"));
                }
            }
            Format::Json => {
                let mut json = serde_json::to_value(&why)?;
                if let (Some(map), Some(remedies)) = (json.as_object_mut(), remedies) {
                    map.insert("remedies".to_owned(), serde_json::to_value(&remedies)?);
                }
                say!("{}", serde_json::to_string_pretty(&json)?);
            }
            Format::Dot => print_text(&why.to_dot()),
            Format::Mermaid => print_text(&why.to_mermaid()),
        }
        Ok(())
    }
}
