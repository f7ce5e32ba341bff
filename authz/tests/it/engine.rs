//! Single questions to the engine, with the cases that other systems got wrong.

use std::sync::Arc;

use formwork_authz::{Change, CheckError, Context, Decision, Graph, Object, Relationship, Schema, Subject};

fn graph(schema: &str, facts: &[&str]) -> Graph {
    let facts = facts.iter().map(|fact| fact.parse::<Relationship>().unwrap());
    Graph::load(Arc::new(Schema::parse(schema).unwrap()), facts)
}

/// Asks `object#permission@subject`.
#[track_caller]
fn ask(graph: &Graph, question: &str) -> bool {
    let asked: Relationship = question.parse().unwrap();
    graph.check(asked.subject(), asked.relation(), asked.object()).unwrap() == Decision::Allowed
}

#[track_caller]
fn check(graph: &Graph, allowed: &[&str], denied: &[&str]) {
    for question in allowed {
        assert!(ask(graph, question), "{question} should be allowed");
    }
    for question in denied {
        assert!(!ask(graph, question), "{question} should be denied");
    }
}

#[test]
fn union_binds_tightest_then_intersection_then_exclusion() {
    let schema = "
        definition user {}
        definition doc {
            relation a: user
            relation b: user
            relation c: user
            relation d: user
            permission mixed = a + b & c - d
            permission grouped = a + (b & (c - d))
            permission twice = a - b - c
        }";
    let mut facts = Vec::new();
    for who in 0..16_u32 {
        for (bit, relation) in ["a", "b", "c", "d"].iter().enumerate() {
            if who & (1 << bit) != 0 {
                facts.push(format!("doc:1#{relation}@user:{who}"));
            }
        }
    }
    let graph = graph(schema, &facts.iter().map(String::as_str).collect::<Vec<_>>());
    for who in 0..16_u32 {
        let [a, b, c, d] = [1, 2, 4, 8].map(|bit| who & bit != 0);
        assert_eq!(ask(&graph, &format!("doc:1#mixed@user:{who}")), ((a || b) && c) && !d, "{who}");
        assert_eq!(ask(&graph, &format!("doc:1#grouped@user:{who}")), a || (b && c && !d), "{who}");
        assert_eq!(ask(&graph, &format!("doc:1#twice@user:{who}")), a && !b && !c, "{who}");
    }
}

const GROUPS: &str = "
    definition user {}
    definition group {
        relation member: user | user:* | group#member
        relation banned: group#member
        permission active = member
        permission joined = member - banned
    }";

#[test]
fn cycles_of_groups_have_an_answer() {
    let graph = graph(
        GROUPS,
        &[
            "group:a#member@group:b#member",
            "group:b#member@group:c#member",
            "group:c#member@group:a#member",
            "group:c#member@user:anna",
            "group:self#member@group:self#member",
        ],
    );
    check(
        &graph,
        &["group:a#member@user:anna", "group:b#active@user:anna", "group:a#joined@user:anna"],
        &["group:a#member@user:bob", "group:self#member@user:anna", "group:self#joined@user:anna"],
    );
}

#[test]
fn a_cycle_under_an_exclusion_excludes_only_who_is_in_it() {
    let graph = graph(
        GROUPS,
        &[
            "group:a#member@user:anna",
            "group:a#member@user:bob",
            "group:a#banned@group:x#member",
            "group:x#member@group:y#member",
            "group:y#member@group:x#member",
            "group:y#member@user:bob",
        ],
    );
    check(&graph, &["group:a#joined@user:anna"], &["group:a#joined@user:bob"]);
}

#[test]
fn a_cycle_through_an_intersection_has_the_least_answer() {
    // The "no" that is assumed of a node on its own way must not stay with the others.
    let schema = "
        definition user {}
        definition folder {
            relation parent: folder
            relation reader: user
            relation staff: user
            permission read = (reader + parent->read) & (staff + parent->staff)
        }";
    let graph = graph(
        schema,
        &[
            "folder:a#parent@folder:b",
            "folder:b#parent@folder:a",
            "folder:a#reader@user:anna",
            "folder:b#staff@user:anna",
            "folder:b#reader@user:bob",
            "folder:a#parent@folder:c",
            "folder:c#staff@user:bob",
        ],
    );
    check(
        &graph,
        &["folder:a#read@user:anna", "folder:b#read@user:anna"],
        &["folder:a#read@user:bob", "folder:b#read@user:bob", "folder:c#read@user:anna"],
    );
    for user in ["anna", "bob"] {
        let listed = graph.lookup_objects(&Subject::new("user", user), "read", "folder").unwrap();
        let expected = if user == "anna" {
            vec![Object::new("folder", "a"), Object::new("folder", "b")]
        } else {
            vec![]
        };
        assert_eq!(listed, expected);
    }
}

#[test]
fn a_hundred_thousand_nested_groups_need_no_stack() {
    const DEPTH: u32 = 100_000;
    let schema = Arc::new(
        Schema::parse(
            "definition user {}
            definition group {
                relation member: user | group#member
                relation barred: user
                relation parent: group
                permission inherited = member + parent->inherited
                permission both = (member & member) + (parent->both & parent->both)
                permission allowed = (member + parent->allowed) - barred
            }",
        )
        .unwrap(),
    );
    let chain = (0..DEPTH).flat_map(|i| {
        let (group, next) = (Object::new("group", i), i + 1);
        [
            Relationship::new(group.clone(), "member", Subject::userset("group", next, "member")),
            Relationship::new(group, "parent", Subject::new("group", next)),
        ]
    });
    let last = Relationship::new(Object::new("group", DEPTH), "member", Subject::new("user", "anna"));
    let graph = Graph::load(schema, chain.chain([last]));
    for permission in ["member", "inherited", "both", "allowed"] {
        check(
            &graph,
            &[&format!("group:0#{permission}@user:anna")],
            &[&format!("group:0#{permission}@user:bob"), &format!("group:0#{permission}@group:x#member")],
        );
    }
    let first = Object::new("group", 0);
    let proof = graph
        .explain(&Context::new(), &Subject::new("user", "anna"), "member", &first)
        .unwrap()
        .relationships;
    assert_eq!(proof.len(), DEPTH as usize + 1);
    assert_eq!(
        graph.lookup_objects(&Subject::new("user", "anna"), "member", "group").unwrap().len(),
        100_001
    );
}

#[test]
fn wildcards_hold_for_everyone_of_their_type() {
    let schema = "
        definition user {}
        definition robot {}
        definition doc {
            relation viewer: user | user:* | robot
            relation blocked: user
            permission view = viewer - blocked
        }";
    let graph = graph(schema, &["doc:1#viewer@user:*", "doc:1#blocked@user:eve", "doc:2#viewer@user:anna"]);
    check(
        &graph,
        &["doc:1#view@user:anna", "doc:1#view@user:nobody_knows", "doc:1#viewer@user:*", "doc:1#view@user:*"],
        &["doc:1#view@user:eve", "doc:1#view@robot:r", "doc:2#viewer@user:*", "doc:2#view@user:bob"],
    );
}

#[test]
fn a_userset_can_ask() {
    let schema = "
        definition user {}
        definition group {
            relation member: user | group#member
            permission active = member
        }
        definition doc {
            relation viewer: user | group#active
            relation parent: doc
            permission view = viewer + parent->view
        }";
    let graph = graph(
        schema,
        &["doc:1#viewer@group:all#active", "group:all#member@group:eng#member", "doc:2#parent@doc:1"],
    );
    check(
        &graph,
        &[
            "doc:1#view@group:all#active",
            "doc:1#view@group:eng#member",
            "doc:2#view@group:eng#member",
            "doc:2#view@doc:1#viewer",
            "group:new#member@group:new#member",
            "group:new#active@group:new#member",
        ],
        &["doc:1#view@group:eng#active", "group:new#member@group:new#active", "doc:1#view@group:ops#member"],
    );
}

#[test]
fn nil_is_nobody() {
    let schema = "
        definition user {}
        definition doc {
            relation viewer: user
            permission never = nil
            permission view = viewer + nil
            permission none = viewer & nil
            permission all = viewer - nil
        }";
    let graph = graph(schema, &["doc:1#viewer@user:anna"]);
    check(
        &graph,
        &["doc:1#view@user:anna", "doc:1#all@user:anna"],
        &["doc:1#never@user:anna", "doc:1#none@user:anna"],
    );
}

#[test]
fn repeated_relationships_count_once() {
    let fact = "group:a#member@user:anna";
    let once = graph(GROUPS, &[fact, fact, fact]);
    assert_eq!(once.len(), 1);
    let touched = once.apply(&[Change::Touch(fact.parse().unwrap()), Change::Touch(fact.parse().unwrap())]);
    assert_eq!(touched.len(), 1);
    let deleted =
        touched.apply(&[Change::Delete(fact.parse().unwrap()), Change::Delete(fact.parse().unwrap())]);
    assert_eq!(deleted.len(), 0);
    check(&once, &[fact], &[]);
    check(&touched, &[fact], &[]);
    check(&deleted, &[], &[fact]);
}

#[test]
fn what_the_schema_has_no_place_for_is_ignored_and_counted() {
    let graph =
        graph(GROUPS, &["group:a#member@user:anna", "group:a#owner@user:bob", "robot:a#member@user:bob"]);
    assert_eq!((graph.len(), graph.ignored()), (1, 2));
    let later = graph.apply(&[Change::Touch("group:a#banned@user:bob".parse().unwrap())]);
    assert_eq!((later.len(), later.ignored()), (1, 3));
}

#[test]
fn many_changes_become_a_new_base_with_the_same_answers() {
    let schema = Arc::new(Schema::parse(GROUPS).unwrap());
    let fact =
        |i: u32| Relationship::new(Object::new("group", i % 700), "member", Subject::new("user", i % 1_100));
    let mut graph = Graph::load(Arc::clone(&schema), (0..1_000).map(fact));
    let mut stored: std::collections::BTreeSet<Relationship> = (0..1_000).map(fact).collect();
    for i in 0..9_000_u32 {
        let change = if i % 3 == 0 { Change::Delete(fact(i / 2)) } else { Change::Touch(fact(i * 7)) };
        match &change {
            Change::Touch(fact) => stored.insert(fact.clone()),
            Change::Delete(fact) => stored.remove(fact),
        };
        graph = graph.apply(&[change]);
    }
    assert_eq!(graph.len(), stored.len());
    for i in 0..9_000 {
        let fact = fact(i);
        assert_eq!(ask(&graph, &fact.to_string()), stored.contains(&fact), "{fact}");
    }
    assert!(graph.memory_bytes() > stored.len() * 4);
}

#[test]
fn a_small_tenant_is_small() {
    let facts: Vec<Relationship> = (0..100)
        .map(|i| Relationship::new(Object::new("group", i % 10), "member", Subject::new("user", i)))
        .collect();
    let graph = Graph::load(Arc::new(Schema::parse(GROUPS).unwrap()), facts);
    assert!(graph.memory_bytes() < 16 * 1_024, "{} bytes", graph.memory_bytes());
}

#[test]
fn a_question_that_makes_no_sense_is_an_error() {
    let graph = graph(GROUPS, &["group:a#member@user:anna"]);
    let (anna, group) = (Subject::new("user", "anna"), Object::new("group", "a"));
    let error = |subject: &Subject, permission: &str, object: &Object| {
        graph.check(subject, permission, object).unwrap_err().to_string()
    };
    assert_eq!(
        error(&anna, "member", &Object::new("grup", "a")),
        "unknown type `grup`, did you mean `group`?"
    );
    assert_eq!(error(&anna, "member", &Object::new("spaceship", "a")), "unknown type `spaceship`");
    assert_eq!(
        error(&Subject::new("usr", "anna"), "member", &group),
        "unknown type `usr`, did you mean `user`?"
    );
    assert_eq!(
        error(&anna, "activ", &group),
        "`group` has no relation or permission `activ`, did you mean `active`?"
    );
    assert_eq!(
        error(&Subject::userset("group", "a", "membr"), "member", &group),
        "`group` has no relation or permission `membr`, did you mean `member`?"
    );
    assert_eq!(
        error(&anna, "member", &Object::new("group", "a b")),
        "`group:a b`: the object id cannot contain ` `, at column 8"
    );
    assert_eq!(
        error(&Subject::new("user", ""), "member", &group),
        "`user:`: the subject id is empty, at column 6"
    );
    assert!(matches!(
        graph.check(&anna, "member", &Object::new("group", "*")),
        Err(CheckError::Malformed(_))
    ));
}
