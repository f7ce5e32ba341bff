//! What does a check cost in memory, from strings, on a million relationships?
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use formwork_authz::{Decision, Graph, Object, Relationship, Schema, Subject};

const SCHEMA: &str = "
  definition user {}
  definition team { relation member: user | team#member }
  definition folder {
    relation parent: folder
    relation viewer: user | team#member
    permission view = viewer + parent->view
  }
  definition document {
    relation parent: folder
    relation viewer: user | team#member
    relation banned: user
    permission view = viewer + parent->view - banned
  }";

const DOCUMENTS: usize = 300_000;
const FOLDERS: usize = 60_000;
const TEAMS: usize = 4_000;
const USERS: usize = 50_000;

/// Teams of teams to depth 4, folders to depth 6, documents with a folder and two viewers.
fn relationships() -> Vec<Relationship> {
    let mut all = Vec::with_capacity(1_000_000);
    let at = |object: Object, relation: &'static str, subject: &Subject| {
        Relationship::new(object, relation, subject)
    };
    for user in 0..USERS {
        all.push(at(Object::new("team", user % TEAMS), "member", &Subject::new("user", user)));
    }
    for team in (0..TEAMS).filter(|team| team % 4 != 0) {
        all.push(at(Object::new("team", team - 1), "member", &Subject::userset("team", team, "member")));
    }
    for folder in 0..FOLDERS {
        if folder % 6 != 0 {
            all.push(at(Object::new("folder", folder), "parent", &Subject::new("folder", folder - 1)));
        } else {
            let team = Subject::userset("team", folder / 6 * 4 % TEAMS, "member");
            all.push(at(Object::new("folder", folder), "viewer", &team));
        }
    }
    for document in 0..DOCUMENTS {
        let object = || Object::new("document", document);
        all.push(at(object(), "parent", &Subject::new("folder", document % FOLDERS)));
        all.push(at(object(), "viewer", &Subject::new("user", document * 7 % USERS)));
        all.push(at(object(), "viewer", &Subject::userset("team", document % TEAMS, "member")));
    }
    all
}

fn check(criterion: &mut Criterion) {
    let relationships = relationships();
    let count = relationships.len();
    let graph = Graph::load(Schema::parse(SCHEMA).unwrap(), relationships);
    println!("{count} relationships, {:.1} bytes each", graph.memory_bytes() as f64 / count as f64);
    let mut group = criterion.benchmark_group("check");
    // Its folder is the sixth of its tree, whose first one team 0 may view; team 3 is in it through two others.
    let document = 5;
    let questions = [
        ("direct_hit", document * 7, Decision::Allowed),
        ("folder_depth=6", TEAMS, Decision::Allowed),
        ("folder_depth=6_groups=4", TEAMS + 3, Decision::Allowed),
        ("full_miss", TEAMS / 2 + 1, Decision::Denied),
    ];
    for (name, user, expected) in questions {
        let (user, object) = (Subject::new("user", user), Object::new("document", document));
        assert_eq!(graph.check(&user, "view", &object).unwrap(), expected, "{name}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| graph.check(black_box(&user), "view", black_box(&object)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, check);
criterion_main!(benches);
