//! The program of `docs/model-your-app.md`.
//!
//! Needs no database: `cargo run -p formwork-examples --bin ten_minutes`.

use access::{Document, User, rel};
use formwork_authz::Graph;

mod access {
    formwork_authz::schema!(
        "definition user {}

         definition team {
             relation member: user
         }

         definition document {
             relation owner: user
             relation reader: user | team#member
             permission edit = owner
             permission view = reader + edit
         }"
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let graph = Graph::load(
        access::schema()?,
        [
            rel!("document:plan#owner@user:anna"),
            rel!("document:plan#reader@team:site#member"),
            rel!("team:site#member@user:bob"),
        ],
    );
    let plan = Document::new("plan");
    for name in ["anna", "bob", "eve"] {
        let asker = graph.for_subject(&User::new(name))?;
        let may_view = asker.check(Document::CAN.view, &plan)?.is_allowed();
        let may_edit = asker.check(Document::CAN.edit, &plan)?.is_allowed();
        println!("{name}: view {may_view}, edit {may_edit}");
    }

    let bob = graph.for_subject(&User::new("bob"))?;
    println!("bob may view it, because");
    for fact in bob.explain(Document::CAN.view, &plan)?.relationships {
        println!("  {fact}");
    }
    Ok(())
}
