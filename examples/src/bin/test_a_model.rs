//! How does a team see what a change of its model means, before it is merged?
//!
//! The program prints who may do what, in a small world with one of each. The table is checked in, CI prints it again, and a
//! pull request shows what has become different: a permission that appears in a row is a permission that somebody
//! gains. What must never be stands below it, as a rule that is asked of everybody.
//!
//! Needs no database: `cargo run -p formwork-examples --bin test_a_model`.

use std::process::ExitCode;

use formwork_authz::{Context, Graph, Object, Schema, Subject};

type Failure = Box<dyn std::error::Error>;

const SCHEMA: &str = "
  definition user {}
  definition company {
    relation owner: user
    relation staff: user
    permission administer = owner
  }
  definition project {
    relation company: company
    relation manager: user
    relation worker: user
    relation guest: user:*
    permission administer = company->administer
    permission edit = manager + administer
    permission view = edit + worker + guest
  }
  definition payment {
    relation project: project
    relation requester: user
    permission approve = project->edit - requester
    permission view = approve + requester
  }";

/// One of each, named after what they are.
const WORLD: &str = "
  company:acme#owner@user:owner
  company:acme#staff@user:clerk
  project:bridge#company@company:acme
  project:bridge#manager@user:manager
  project:bridge#worker@user:worker
  project:open#company@company:acme
  project:open#guest@user:*
  payment:one#project@project:bridge
  payment:one#requester@user:manager";

const PEOPLE: [&str; 5] = ["owner", "clerk", "manager", "worker", "stranger"];
const THINGS: [(&str, &str); 4] =
    [("company", "acme"), ("project", "bridge"), ("project", "open"), ("payment", "one")];

fn main() -> Result<ExitCode, Failure> {
    let facts = WORLD.split_whitespace().map(str::parse).collect::<Result<Vec<_>, _>>()?;
    let graph = Graph::load(Schema::parse(SCHEMA)?, facts);
    for (object_type, id) in THINGS {
        table(&graph, &Object::new(object_type, id))?;
    }
    let broken = [uncovered(&graph), nobody_approves_their_own(&graph)?].concat();
    broken.iter().for_each(|rule| println!("BROKEN: {rule}"));
    println!("{} rules are broken", broken.len());
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every relation and permission of the object, by person.
fn table(graph: &Graph, object: &Object) -> Result<(), Failure> {
    println!("{object}");
    for name in PEOPLE {
        let answers = graph.permissions(&Context::new(), &Subject::new("user", name), object)?;
        let held: Vec<&str> =
            answers.iter().filter(|(_, decision)| decision.is_allowed()).map(|(held, _)| *held).collect();
        println!("  {name:8} {}", if held.is_empty() { "-".to_owned() } else { held.join(" ") });
    }
    Ok(())
}

/// A type that is not in the world is not tested.
fn uncovered(graph: &Graph) -> Vec<String> {
    let schema = graph.schema();
    let has_permissions = schema.object_types().filter(|name| schema.permissions(name).next().is_some());
    let missing = has_permissions.filter(|name| THINGS.iter().all(|(known, _)| known != name));
    missing.map(|name| format!("`{name}` stands in no table")).collect()
}

/// Four eyes: asked of everybody who requests.
fn nobody_approves_their_own(graph: &Graph) -> Result<Vec<String>, Failure> {
    let payment = Object::new("payment", "one");
    let mut broken = Vec::new();
    for name in PEOPLE {
        let subject = Subject::new("user", name);
        let requests = graph.check(&subject, "requester", &payment)?.is_allowed();
        if requests && graph.check(&subject, "approve", &payment)?.is_allowed() {
            broken.push(format!("{name} approves what they have requested"));
        }
    }
    Ok(broken)
}
