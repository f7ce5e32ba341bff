//! How do teams in teams work, however deep, and what if they go in a circle?
//!
//! A team's members may be the members of another team. There is no limit of depth, and teams that contain each other
//! are no error: who is a member only because of the circle is none.
//!
//! Needs no database: `cargo run -p formwork-examples --bin nested_teams`.

use std::sync::Arc;

use access::{Project, Team, User, rel};
use formwork_authz::{Change, CheckError, Graph, Relationship, Subject};

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}
         definition team {
             relation lead: user
             relation member: user | team#member
             permission belong = member + lead
         }
         definition project {
             relation crew: team#belong | team#member
             permission enter = crew
         }"
    );
}

fn main() -> Result<(), Failure> {
    // Who builds: the company has two trades, one of them a crew, and so on.
    let facts = [
        rel!("team:company#member@team:concrete#member"),
        rel!("team:company#member@team:steel#member"),
        rel!("team:concrete#member@team:formwork#member"),
        rel!("team:formwork#member@user:anna"),
        rel!("team:steel#member@user:bob"),
        rel!("team:company#lead@user:carol"),
        rel!("project:bridge#crew@team:company#belong"),
    ];
    let graph = Graph::load(Arc::new(access::schema()?), facts);
    let (bridge, company) = (Project::new("bridge"), Team::new("company"));

    for name in ["anna", "bob", "carol", "dora"] {
        let user = graph.for_subject(&User::new(name))?;
        println!(
            "{name}: in the company {}, enters the bridge {}",
            user.check(Team::CAN.member, &company)?.is_allowed(),
            user.check(Project::CAN.enter, &bridge)?.is_allowed(),
        );
    }

    println!("anna enters because");
    for fact in graph.for_subject(&User::new("anna"))?.explain(Project::CAN.enter, &bridge)?.relationships {
        println!("  {fact}");
    }

    // A team can be asked about itself: are all of its members in?
    let formwork = Subject::userset("team", "formwork", "member");
    let enters = graph.for_subject(&formwork)?.check(Project::CAN.enter, &bridge)?;
    println!("everybody of team:formwork enters: {}", enters.is_allowed());

    circle(&graph)?;
    deep(&graph)?;
    Ok(())
}

/// The crew is made to contain the company: nobody gains, nothing hangs.
fn circle(graph: &Graph) -> Result<(), CheckError> {
    let graph = graph.apply(&[Change::Touch(rel!("team:formwork#member@team:company#member"))]);
    let member =
        |name: &str| graph.for_subject(&User::new(name))?.check(Team::CAN.member, &Team::new("formwork"));
    println!(
        "in a circle: bob is of team:formwork {}, dora {}",
        member("bob")?.is_allowed(),
        member("dora")?.is_allowed()
    );
    Ok(())
}

/// Ten thousand teams, each in the one before.
fn deep(graph: &Graph) -> Result<(), CheckError> {
    let chain = (1..10_000).map(|n| {
        let next = n + 1;
        rel!("team:t{n}#member@team:t{next}#member")
    });
    let facts: Vec<Relationship> = chain.chain([rel!("team:t10000#member@user:dora")]).collect();
    let changes: Vec<Change> = facts.into_iter().map(Change::Touch).collect();
    let graph = graph.apply(&changes);
    let dora = graph.for_subject(&User::new("dora"))?;
    println!("ten thousand deep: {}", dora.check(Team::CAN.member, &Team::new("t1"))?.is_allowed());
    Ok(())
}
