//! How does the cost of a check grow? With the depth of a hierarchy, with the groups of a user and with
//! the grants of a document; and what a change costs in a long list.

use std::hint::black_box;
use std::sync::Arc;

use cpu_time::ThreadTime;
use formwork_authz::{Change, Context, Decision, Graph, Object, Relationship, Schema, Subject, rel};

const SCHEMA: &str = "
  definition user {}
  definition team { relation member: user | team#member }
  definition folder {
    relation parent: folder
    relation viewer: user
    permission view = viewer + parent->view
  }
  definition document { relation viewer: user | team#member }";

fn graph(relationships: impl Iterator<Item = Relationship>) -> Graph {
    Graph::load(Arc::new(Schema::parse(SCHEMA).unwrap()), relationships)
}

fn hot(graph: &Graph, subject: &str, permission: &str, object: &Object) -> f64 {
    let context = Context::new();
    let asked = graph.permission(object.object_type(), permission).unwrap();
    let subject = graph.subject(&Subject::new("user", subject)).unwrap();
    let object = graph.object(object).unwrap();
    assert_eq!(graph.check_ids(subject, asked, object, &context).unwrap(), Decision::Allowed);
    let rounds = 50_000;
    let took = super::best(5, || {
        let start = ThreadTime::now();
        for _ in 0..rounds {
            let _ = black_box(graph.check_ids(black_box(subject), asked, object, &context).unwrap());
        }
        start.elapsed()
    });
    took.as_nanos() as f64 / f64::from(rounds)
}

pub(super) fn run() {
    println!("\nhot, ns a check, by");
    let depths = [1, 2, 4, 8, 16, 32].map(|depth| {
        let parents = (1..depth).zip(0..).map(|(f, above)| rel!("folder:f{f}#parent@folder:f{above}"));
        let graph = graph(parents.chain([rel!("folder:f0#viewer@user:anna")]));
        (depth, hot(&graph, "anna", "view", &Object::new("folder", format!("f{}", depth - 1))))
    });
    println!("  folders over each other: {}", row(&depths));
    let groups = [1, 10, 100, 1_000, 10_000].map(|count| {
        let member = (0..count).map(|t| rel!("team:t{t}#member@user:anna"));
        let middle = count / 2;
        let graph = graph(member.chain([rel!("document:d#viewer@team:t{middle}#member")]));
        (count, hot(&graph, "anna", "viewer", &Object::new("document", "d")))
    });
    println!("  groups of the user: {}", row(&groups));
    let grants = [1, 10, 100, 1_000, 10_000, 100_000].map(|count| {
        let graph = graph((0..count).map(|u| rel!("document:d#viewer@user:u{u}")));
        (count, hot(&graph, &format!("u{}", count / 2), "viewer", &Object::new("document", "d")))
    });
    println!("  grants of the document: {}", row(&grants));
    let changes = [100, 10_000, 100_000].map(|count| {
        let graph = graph((0..count).map(|u| rel!("document:d#viewer@user:u{u}")));
        let named = graph.apply(&[Change::Touch(rel!("document:other#viewer@user:new"))]);
        let took = super::best(50, || {
            let start = ThreadTime::now();
            let _ = black_box(named.apply(&[Change::Touch(rel!("document:d#viewer@user:new"))]));
            start.elapsed()
        });
        (count, took.as_nanos() as f64)
    });
    println!("  ns a change, grants of the document: {}", row(&changes));
}

fn row(points: &[(i32, f64)]) -> String {
    points.iter().map(|(at, took)| format!("{at}: {took:.0}")).collect::<Vec<_>>().join(", ")
}
