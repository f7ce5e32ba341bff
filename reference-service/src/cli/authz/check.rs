//! `formwork authz check`

use clap::Args;
use formwork_authz::{Decision, Relationship};
use serde_json::json;

use super::{
    CONDITIONAL, DENIED, batch,
    input::{Given, Sources},
};
use crate::cli::{Failure, say};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// What is asked, as in document:7#view@user:anna.
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    question: Option<Relationship>,
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    given: Given,
    /// Questions {"object", "permission", "subject", "context"} as JSON lines; `-` is standard input. Answers are JSON
    /// lines in the same order.
    #[arg(long, value_name = "FILE")]
    batch: Option<String>,
    /// Say on standard error how long a batch took.
    #[arg(long, requires = "batch")]
    stats: bool,
    /// Print the answer as JSON.
    #[arg(long, conflicts_with = "batch")]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let graph = self.sources.graph()?;
        let context = self.given.context();
        let Some(question) = &self.question else {
            let from = self.batch.as_deref().unwrap_or("-");
            return batch::run(&graph, &context, from, self.stats);
        };
        let decision =
            graph.check_in(&context, question.subject(), question.relation(), question.object())?;
        let (word, missing) = match &decision {
            Decision::Allowed => ("allowed", Vec::new()),
            Decision::Denied => ("denied", Vec::new()),
            Decision::Conditional { missing } => ("conditional", missing.to_vec()),
        };
        match (self.json, missing.is_empty()) {
            (false, true) => say!("{word}"),
            (false, false) => {
                say!("{word}: it depends on `{}`; give it with --context", missing.join("`, `"))
            }
            (true, true) => say!("{}", json!({"decision": word})),
            (true, false) => say!("{}", json!({"decision": word, "missing": missing})),
        }
        match decision {
            Decision::Allowed => Ok(()),
            Decision::Denied => Err(DENIED.into()),
            Decision::Conditional { .. } => Err(CONDITIONAL.into()),
        }
    }
}
