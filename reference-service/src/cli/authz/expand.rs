//! `formwork authz expand`

use clap::Args;
use formwork_authz::Object;

use super::input::Sources;
use crate::cli::{Failure, print_text, say};

#[derive(Debug, Args)]
pub(crate) struct Expand {
    /// An object and its permission or relation, as in document:7#view.
    #[arg(value_parser = target)]
    target: Target,
    #[command(flatten)]
    sources: Sources,
    /// Print the tree as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone)]
struct Target {
    object: Object,
    permission: String,
}

fn target(text: &str) -> Result<Target, String> {
    let (object, permission) =
        text.split_once('#').ok_or("write an object and its permission, as in document:7#view")?;
    let object = object.parse().map_err(|error| format!("{error}"))?;
    Ok(Target { object, permission: permission.to_owned() })
}

impl Expand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let graph = self.sources.graph()?;
        let expansion = graph.expand(&self.target.permission, &self.target.object)?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&expansion)?),
            false => print_text(&expansion.to_string()),
        }
        Ok(())
    }
}
