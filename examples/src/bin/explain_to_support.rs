//! "Why can Eve see this, and why can I not?" What does support answer?
//!
//! For a yes: the relationships on one way there, each of which somebody has stored and can take back. For a no:
//! everything that was asked on the way, and what they hold on the thing itself: where something on the way holds, that is
//! what takes it away.
//!
//! Needs no database; in a service `authz.graph(&mut tx)` gives the tenant's own graph.
//!
//! `cargo run -p formwork-examples --bin explain_to_support`, or with a question:
//! `.. -- user:eve view document:plan`.

use formwork_authz::{Context, Decision, Explanation, Graph, Object, Schema, Subject};

type Failure = Box<dyn std::error::Error>;

const SCHEMA: &str = "
  use expiration
  definition user {}
  definition team { relation member: user | team#member }
  definition folder {
    relation parent: folder
    relation reader: user | team#member
    permission view = reader + parent->view
  }
  definition document {
    relation folder: folder
    relation owner: user
    relation guest: user with expiration
    relation barred: user
    permission view = (owner + guest + folder->view) - barred
  }";

const FACTS: &str = "
  team:site#member@team:steel#member
  team:steel#member@user:eve
  team:steel#member@user:mallory
  folder:north#reader@team:site#member
  folder:plans#parent@folder:north
  document:plan#folder@folder:plans
  document:plan#owner@user:anna
  document:plan#barred@user:mallory
  document:plan#guest@user:carol[expiration:2026-01-01T00:00:00Z]";

fn main() -> Result<(), Failure> {
    let facts = FACTS.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    let graph = Graph::load(Schema::parse(SCHEMA)?, facts);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [subject, permission, object] = arguments.as_slice() {
        return answer(&graph, &subject.parse()?, permission, &object.parse()?);
    }
    for name in ["eve", "mallory", "carol", "dora"] {
        answer(&graph, &Subject::new("user", name), "view", &Object::new("document", "plan"))?;
    }
    Ok(())
}

fn answer(graph: &Graph, subject: &Subject, permission: &str, object: &Object) -> Result<(), Failure> {
    let explanation = graph.explain(&Context::new(), subject, permission, object)?;
    println!("May {subject} {permission} {object}?");
    match &explanation.decision {
        Decision::Allowed => because(&explanation),
        Decision::Denied => {
            tried(&explanation);
            let held = graph.permissions(&Context::new(), subject, object)?;
            let held: Vec<&str> =
                held.iter().filter(|(_, held)| held.is_allowed()).map(|(name, _)| *name).collect();
            println!(
                "  On {object} itself: {}",
                if held.is_empty() { "nothing".to_owned() } else { held.join(", ") }
            );
        }
        Decision::Conditional { missing } => println!("  That depends on {}.", missing.join(", ")),
    }
    Ok(())
}

/// Any of these, deleted, takes this way away.
fn because(explanation: &Explanation) {
    println!("  Yes, because somebody has stored:");
    for fact in &explanation.relationships {
        println!("    {fact}");
    }
}

/// What was asked, and what of it holds.
fn tried(explanation: &Explanation) {
    println!("  No. What was asked:");
    for attempt in &explanation.tried {
        let holds = match attempt.holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "depends",
        };
        println!("    {}#{}: {holds}", attempt.object, attempt.permission);
    }
}
