//! Faults that other systems had, each a test named after it, and the cases that are easy to get wrong.

mod openfga;
mod spicedb;

use std::sync::Arc;

use formwork_authz::{
    Change, CheckError, Context, Decision, Graph, Object, Relationship, Schema, Subject, rel,
};

fn graph(schema: &str, facts: &[&str]) -> Graph {
    let facts = facts.iter().map(|fact| fact.parse::<Relationship>().unwrap());
    Graph::load(Schema::parse(schema).unwrap(), facts)
}

fn openfga(model: &str, facts: &[&str]) -> Graph {
    let facts = facts.iter().map(|fact| fact.parse::<Relationship>().unwrap());
    Graph::load(Schema::parse_openfga(model).unwrap(), facts)
}

#[track_caller]
fn ask_in(graph: &Graph, context: &Context, question: &str) -> Decision {
    let asked: Relationship = question.parse().unwrap();
    graph.check_in(context, asked.subject(), asked.relation(), asked.object()).unwrap()
}

#[track_caller]
fn ask(graph: &Graph, question: &str) -> Decision {
    ask_in(graph, &Context::new(), question)
}

fn conditional(missing: &[&str]) -> Decision {
    Decision::Conditional { missing: missing.iter().map(|name| Box::from(*name)).collect() }
}

fn listed(graph: &Graph, subject: &str, permission: &str, object_type: &str) -> Vec<String> {
    let found = graph.lookup_objects(&subject.parse().unwrap(), permission, object_type).unwrap();
    found.iter().map(ToString::to_string).collect()
}

const CYCLE: &str = "
    definition user {}
    definition doc {
        relation editor: user | doc#viewer
        relation viewer: user | doc#editor
        permission read = viewer + editor
    }";

#[test]
fn cve_2025_46331_cycle_result_is_not_reused() {
    // While `doc:1#viewer` is being decided, `doc:1#editor` is "no" for that way only.
    let graph =
        graph(CYCLE, &["doc:1#viewer@doc:1#editor", "doc:1#editor@doc:1#viewer", "doc:1#viewer@user:anna"]);
    let objects = [Object::new("doc", 1), Object::new("doc", 1)];
    let anna = Subject::new("user", "anna");
    for permission in ["editor", "viewer", "read"] {
        let answers = graph.check_many(&anna, permission, &objects).unwrap();
        assert_eq!(answers, [Decision::Allowed, Decision::Allowed], "{permission}");
    }
    let every = graph.permissions(&Context::new(), &anna, &objects[0]).unwrap();
    assert!(every.iter().all(|(_, decision)| decision.is_allowed()), "{every:?}");
}

#[test]
fn cve_2026_34972_the_same_item_twice_in_a_batch() {
    let graph = graph(CYCLE, &["doc:1#viewer@user:anna"]);
    let (one, two) = (Object::new("doc", 1), Object::new("doc", 2));
    let batch = [one.clone(), two.clone(), one.clone(), two, one];
    let answers = graph.check_many(&Subject::new("user", "anna"), "read", &batch).unwrap();
    let allowed: Vec<bool> = answers.iter().map(Decision::is_allowed).collect();
    assert_eq!(allowed, [true, false, true, false, true]);
}

const HOURS: &str = "
    use expiration
    definition user {}
    caveat by_day(hour int) { hour >= 8 && hour < 18 }
    definition doc {
        relation viewer: user | user with by_day | user:* with by_day | user with expiration
        relation banned: user | user with by_day
        permission read = viewer - banned
    }";

#[test]
fn cve_2026_33729_conditions_are_not_answered_from_another_context() {
    let graph = graph(HOURS, &["doc:1#viewer@user:anna[by_day]", "doc:2#viewer@user:anna[by_day]"]);
    let day = Context::new().with("hour", 12);
    let night = Context::new().with("hour", 23);
    for _ in 0..2 {
        assert_eq!(ask_in(&graph, &day, "doc:1#read@user:anna"), Decision::Allowed);
        assert_eq!(ask_in(&graph, &night, "doc:1#read@user:anna"), Decision::Denied);
        assert_eq!(ask(&graph, "doc:1#read@user:anna"), conditional(&["hour"]));
    }
    let both = [Object::new("doc", 1), Object::new("doc", 2)];
    let answers = graph.check_many(&Subject::new("user", "anna"), "read", &both).unwrap();
    assert_eq!(answers, [conditional(&["hour"]), conditional(&["hour"])]);
}

#[test]
fn cve_2025_64751_a_wildcard_with_a_condition() {
    let graph = graph(HOURS, &["doc:1#viewer@user:*[by_day]"]);
    let at = |hour: i64| Context::new().with("hour", hour);
    for (context, expected) in
        [(at(12), Decision::Allowed), (at(23), Decision::Denied), (Context::new(), conditional(&["hour"]))]
    {
        for who in ["user:anna", "user:*"] {
            assert_eq!(ask_in(&graph, &context, &format!("doc:1#read@{who}")), expected, "{who}");
        }
    }
}

#[test]
fn cve_2025_49011_conditions_give_no_wrong_no() {
    // One way is conditional, the other is not; either order of the ways.
    let schema = "
        definition user {}
        caveat flag(on bool) { on }
        definition group { relation member: user | user with flag }
        definition doc {
            relation viewer: group#member | group#member with flag
            permission read = viewer
        }";
    let graph = graph(
        schema,
        &[
            "doc:1#viewer@group:a#member[flag]",
            "doc:1#viewer@group:b#member",
            "group:a#member@user:anna",
            "group:b#member@user:anna",
            "group:a#member@user:bob[flag]",
            "group:b#member@user:bob[flag:{\"on\":false}]",
        ],
    );
    assert_eq!(ask(&graph, "doc:1#read@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:1#read@user:bob"), conditional(&["on"]));
    assert_eq!(ask_in(&graph, &Context::new().with("on", true), "doc:1#read@user:bob"), Decision::Allowed);
    assert_eq!(ask_in(&graph, &Context::new().with("on", false), "doc:1#read@user:bob"), Decision::Denied);
}

#[test]
fn cve_2026_55170_ids_differ_by_the_case_of_letters() {
    let graph = graph(CYCLE, &["doc:Plan#viewer@user:Anna"]);
    assert_eq!(ask(&graph, "doc:Plan#read@user:Anna"), Decision::Allowed);
    for question in ["doc:plan#read@user:Anna", "doc:Plan#read@user:anna"] {
        assert_eq!(ask(&graph, question), Decision::Denied, "{question}");
    }
}

#[test]
fn ghsa_9m7r_g8hg_x3vr_lookup_misses_nothing_whatever_the_page() {
    let facts: Vec<String> = (0..50)
        .flat_map(|n| {
            [
                format!("doc:{n:02}#viewer@user:anna"),
                format!("doc:{n:02}#editor@doc:{:02}#viewer", (n + 7) % 50),
            ]
        })
        .collect();
    let graph = graph(CYCLE, &facts.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = listed(&graph, "user:anna", "read", "doc");
    assert_eq!(whole.len(), 50);
    for limit in [1, 2, 7, 50, 51] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let anna = Subject::new("user", "anna");
            let page = graph
                .lookup_objects_in(&Context::new(), &anna, "read", "doc", after.as_ref(), limit)
                .unwrap();
            found.extend(page.items.iter().map(ToString::to_string));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, whole, "pages of {limit}");
    }
}

#[test]
fn ghsa_4vrg_r928_h5vv_an_answer_on_one_way_is_no_hint_for_another() {
    // `read` through the excluded way must not be remembered as `read` itself.
    let graph = graph(HOURS, &["doc:1#viewer@user:anna", "doc:1#banned@user:anna", "doc:2#viewer@user:anna"]);
    let both = [Object::new("doc", 1), Object::new("doc", 2), Object::new("doc", 1)];
    let anna = Subject::new("user", "anna");
    let read = graph.check_many(&anna, "read", &both).unwrap();
    assert_eq!(read, [Decision::Denied, Decision::Allowed, Decision::Denied]);
    let viewer = graph.check_many(&anna, "viewer", &both).unwrap();
    assert!(viewer.iter().all(Decision::is_allowed));
}

#[test]
fn ghsa_w278_32qg_48q5_an_expired_relationship_takes_no_sibling_with_it() {
    let graph = graph(
        HOURS,
        &[
            "doc:1#viewer@user:anna[expiration:2026-01-01T00:00:00Z]",
            "doc:1#viewer@user:bob[expiration:2026-02-01T00:00:00Z]",
            "doc:1#viewer@user:eve",
        ],
    );
    let at = |time: &str| Context::new().at(time.parse().unwrap());
    let allowed = |context: &Context| -> Vec<&str> {
        let holds = |who: &&str| ask_in(&graph, context, &format!("doc:1#read@user:{who}")).is_allowed();
        ["anna", "bob", "eve"].into_iter().filter(holds).collect()
    };
    assert_eq!(allowed(&at("2025-12-31T23:59:59.999999Z")), ["anna", "bob", "eve"]);
    // From the instant on.
    assert_eq!(allowed(&at("2026-01-01T00:00:00Z")), ["bob", "eve"]);
    assert_eq!(allowed(&at("2026-03-01T00:00:00Z")), ["eve"]);
}

#[test]
fn a_condition_and_an_expiry_are_no_part_of_which_relationship_it_is() {
    let first = graph(HOURS, &["doc:1#viewer@user:anna[by_day]"]);
    let plain = first.apply(&[Change::Touch(rel!("doc:1#viewer@user:anna"))]);
    assert_eq!((plain.len(), ask(&plain, "doc:1#read@user:anna")), (1, Decision::Allowed));
    let back = plain.apply(&[Change::Touch("doc:1#viewer@user:anna[by_day:{\"hour\":3}]".parse().unwrap())]);
    assert_eq!((back.len(), ask(&back, "doc:1#read@user:anna")), (1, Decision::Denied));
    let gone = back.apply(&[Change::Delete(rel!("doc:1#viewer@user:anna"))]);
    assert_eq!((gone.len(), ask(&gone, "doc:1#read@user:anna")), (0, Decision::Denied));
}

#[test]
fn a_true_sibling_wins_over_a_condition_that_fails() {
    let schema = "
        definition user {}
        caveat broken(x int) { 1 / x > 0 }
        definition doc {
            relation viewer: user with broken
            relation owner: user
            permission read = viewer + owner
        }";
    let graph = graph(
        schema,
        &["doc:1#viewer@user:anna[broken]", "doc:1#owner@user:anna", "doc:2#viewer@user:anna[broken]"],
    );
    let zero = Context::new().with("x", 0);
    assert_eq!(ask_in(&graph, &zero, "doc:1#read@user:anna"), Decision::Allowed);
    let anna = Subject::new("user", "anna");
    let error = graph.check_in(&zero, &anna, "read", &Object::new("doc", 2)).unwrap_err();
    assert!(matches!(error, CheckError::Condition(_)), "{error}");
}

#[test]
fn a_condition_under_an_exclusion_fails_closed() {
    let graph = graph(HOURS, &["doc:1#viewer@user:anna", "doc:1#banned@user:anna[by_day]"]);
    let unknown = ask(&graph, "doc:1#read@user:anna");
    assert_eq!(unknown, conditional(&["hour"]));
    assert!(!unknown.is_allowed());
    assert_eq!(ask_in(&graph, &Context::new().with("hour", 23), "doc:1#read@user:anna"), Decision::Allowed);
}

#[test]
fn an_unconditional_relationship_needs_a_place_without_a_condition() {
    let schema = "
        definition user {}
        caveat flag(on bool) { on }
        definition doc { relation viewer: user with flag }";
    let graph = graph(schema, &["doc:1#viewer@user:anna", "doc:1#viewer@user:bob[flag:{\"on\":true}]"]);
    assert_eq!((graph.len(), graph.ignored()), (1, 1));
    assert_eq!(ask(&graph, "doc:1#viewer@user:anna"), Decision::Denied);
    assert_eq!(ask(&graph, "doc:1#viewer@user:bob"), Decision::Allowed);
}

#[test]
fn all_of_no_parents_is_no_access() {
    let schema = "
        definition user {}
        definition team { relation member: user }
        definition doc {
            relation team: team
            permission read = team.all(member)
        }";
    let graph = graph(
        schema,
        &[
            "doc:2#team@team:a",
            "doc:3#team@team:a",
            "doc:3#team@team:b",
            "team:a#member@user:anna",
            "team:b#member@user:bob",
        ],
    );
    assert_eq!(ask(&graph, "doc:1#read@user:anna"), Decision::Denied);
    assert_eq!(ask(&graph, "doc:2#read@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:3#read@user:anna"), Decision::Denied);
    assert_eq!(listed(&graph, "user:anna", "read", "doc"), ["doc:2"]);
}

#[test]
fn a_banned_reader_does_not_come_back_through_an_intersection() {
    let schema = "
        definition user {}
        definition doc {
            relation reader: user | user:*
            relation banned: user
            relation writer: user | user:*
            permission open = reader - banned
            permission both = open & writer
        }";
    let graph = graph(
        schema,
        &["doc:1#reader@user:*", "doc:1#writer@user:*", "doc:1#banned@user:eve", "doc:1#writer@user:eve"],
    );
    assert_eq!(ask(&graph, "doc:1#both@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:1#both@user:eve"), Decision::Denied);
    let found = graph
        .lookup_subjects(&Context::new(), &Object::new("doc", 1), "both", ("user", None), None, usize::MAX)
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_eq!(found.items[0].subject, Subject::wildcard("user"));
    assert_eq!(found.items[0].except, [Subject::new("user", "eve")]);
}

#[test]
fn a_cycle_under_a_subtrahend_denies_in_an_openfga_model() {
    let model = "model
  schema 1.1
type user
type document
  relations
    define restricted: [user, document#viewer]
    define viewer: [user] but not restricted
";
    let graph = openfga(
        model,
        &[
            "document:1#viewer@user:jon",
            "document:1#restricted@document:1#viewer",
            "document:2#viewer@user:jon",
        ],
    );
    assert_eq!(ask(&graph, "document:1#viewer@user:jon"), Decision::Denied);
    assert_eq!(ask(&graph, "document:1#restricted@user:jon"), Decision::Denied);
    assert_eq!(ask(&graph, "document:2#viewer@user:jon"), Decision::Allowed);
    assert_eq!(listed(&graph, "user:jon", "viewer", "document"), ["document:2"]);
}

#[test]
fn a_cycle_in_an_openfga_model_is_no_in_or_and_and() {
    let model = "model
  schema 1.1
type user
type document
  relations
    define allowed: [user, document#viewer]
    define viewer: [user, document#allowed] and allowed
    define editor: [user, document#reader]
    define reader: [document#editor] or editor
";
    let graph = openfga(
        model,
        &[
            "document:1#viewer@user:jon",
            "document:1#allowed@document:1#viewer",
            "document:1#viewer@document:1#allowed",
            "document:1#editor@document:1#reader",
            "document:1#reader@document:1#editor",
        ],
    );
    for relation in ["viewer", "reader"] {
        assert_eq!(ask(&graph, &format!("document:1#{relation}@user:jon")), Decision::Denied, "{relation}");
    }
}

#[test]
fn exclusions_that_nest_too_deep_are_an_error_and_no_crash() {
    let model = "model
  schema 1.1
type user
type folder
  relations
    define parent: [folder]
    define viewer: [user] but not viewer from parent
";
    let mut facts: Vec<Relationship> = (0..5_000)
        .map(|n| Relationship::new(Object::new("folder", n), "parent", Subject::new("folder", n + 1)))
        .collect();
    facts.extend(
        (0..5_000)
            .map(|n| Relationship::new(Object::new("folder", n), "viewer", Subject::new("user", "anna"))),
    );
    let graph = Graph::load(Arc::new(Schema::parse_openfga(model).unwrap()), facts);
    let error = graph.check(&Subject::new("user", "anna"), "viewer", &Object::new("folder", 0)).unwrap_err();
    assert!(matches!(error, CheckError::TooComplex(_)), "{error}");
}

#[test]
fn ids_of_another_graph_are_refused() {
    let (one, two) = (graph(CYCLE, &["doc:1#viewer@user:anna"]), graph(CYCLE, &["doc:1#viewer@user:eve"]));
    let subject = one.subject(&Subject::new("user", "anna")).unwrap();
    let (permission, object) =
        (two.permission("doc", "read").unwrap(), two.object(&Object::new("doc", 1)).unwrap());
    let answer = two.check_ids(subject, permission, object, &Context::new());
    assert!(matches!(answer, Err(CheckError::ForeignId)), "{answer:?}");
    let later = one.apply(&[Change::Touch(rel!("doc:2#viewer@user:anna"))]);
    let (permission, object) =
        (later.permission("doc", "read").unwrap(), later.object(&Object::new("doc", 2)).unwrap());
    assert_eq!(later.check_ids(subject, permission, object, &Context::new()).unwrap(), Decision::Allowed);
}

#[test]
fn contextual_relationships_count_for_one_question() {
    let graph = graph(CYCLE, &[]);
    let with = graph.apply(&[Change::Touch(rel!("doc:1#viewer@user:anna"))]);
    assert_eq!(ask(&with, "doc:1#read@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:1#read@user:anna"), Decision::Denied);
}
