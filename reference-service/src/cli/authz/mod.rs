//! `formwork authz`: schemas, relationships and questions in files, without a database; and what tenants have of them.
//!
//! What is wrong with a file is told as compilers tell it, on standard error. Exit codes: 0 done, or yes; 1 something is
//! wrong, and said; 2 the command line cannot be read; 3 denied; 4 it depends on values that were not given.

mod batch;
mod check;
mod convert;
mod expand;
mod explain;
mod fmt;
mod graph;
mod import;
mod input;
mod lookup;
mod tenants;
mod test;
mod validate;

use std::path::PathBuf;

use clap::Subcommand;
use formwork_authz::files::FileError;

use super::{Exit, Failure};

/// The answer is no.
const DENIED: Exit = Exit(3);
/// The answer depends on what was not given.
const CONDITIONAL: Exit = Exit(4);

#[derive(Debug, Subcommand)]
pub(super) enum Authz {
    /// Look whether schemas, scenarios and relationships are right.
    Validate(validate::Validate),
    /// Lay out schemas.
    Fmt(fmt::Fmt),
    /// Write a schema in another language.
    Convert(convert::Convert),
    /// Run files of expectations: OpenFGA's `.fga.yaml` and the validation files of SpiceDB's `zed`.
    Test(test::Test),
    /// Does a subject hold a permission on an object? Or many such questions, as JSON lines.
    Check(check::Check),
    /// Why, or why not, and what would change it.
    Explain(explain::Explain),
    /// Who holds a permission, as a tree.
    Expand(expand::Expand),
    /// On which objects, or which subjects.
    Lookup(lookup::Lookup),
    /// Draw a schema, without a file that of this service.
    Graph(graph::Graph),
    /// Take over a model and tuples of another system.
    #[command(subcommand)]
    Import(import::Import),
    #[command(flatten)]
    Tenants(tenants::Permissions),
}

impl Authz {
    /// Files need no `state`.
    pub(super) async fn run(self, state: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<(), Failure> {
        match self {
            Self::Validate(validate) => validate.run(),
            Self::Fmt(fmt) => fmt.run(),
            Self::Convert(convert) => convert.run(),
            Self::Test(test) => test.run(),
            Self::Check(check) => check.run(),
            Self::Explain(explain) => explain.run(),
            Self::Expand(expand) => expand.run(),
            Self::Lookup(lookup) => lookup.run(),
            Self::Graph(graph) => graph.run(),
            Self::Import(import) => import.run(),
            Self::Tenants(tenants) => tenants.run(&state()?).await,
        }
    }
}

/// Tells what is wrong with a file, which has several lines and so no sentence.
fn refused(error: &FileError) -> Failure {
    eprintln!("{error}");
    Exit(1).into()
}
