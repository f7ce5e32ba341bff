//! SpiceDB's advisories and issues, as far as they are about answers. CVE-2026-40091 (a password in a log), #2958,
//! #3243 and #486 (the order of revisions, a replica without a schema, a generic plan) are about its stores.

use super::{ask_in, graph};
use formwork_authz::{Change, Context, Cursor, Decision, Object, Subject, rel};
use serde_json::json;

const LISTS: &str = "
    definition user {}
    caveat allowed(allowed list<list<string>>, wanted list<list<string>>) { allowed == wanted }
    definition doc { relation viewer: user with allowed permission view = viewer }";

#[test]
fn spicedb_3065_nested_lists_are_told_apart() {
    let graph = graph(LISTS, &["doc:1#viewer@user:anna[allowed:{\"allowed\":[[\"a\",\"b\"],[\"c\"]]}]"]);
    for (wanted, expected) in [
        (json!([["a", "b"], ["c"]]), Decision::Allowed),
        (json!([["a"], ["b", "c"]]), Decision::Denied),
        (json!([["a", "b", "c"]]), Decision::Denied),
        (json!([["a,b"], ["c"]]), Decision::Denied),
        (json!([["a", "b"], ["c"]]), Decision::Allowed),
    ] {
        let context = Context::new().with("wanted", wanted.clone());
        assert_eq!(ask_in(&graph, &context, "doc:1#view@user:anna"), expected, "{wanted}");
    }
}

#[test]
fn spicedb_3239_a_snapshot_stays_what_it_was() {
    let schema = "definition user {} definition doc { relation viewer: user permission view = viewer }";
    let first = graph(schema, &["doc:1#viewer@user:anna"]);
    let second = first.apply(&[Change::Delete(rel!("doc:1#viewer@user:anna"))]);
    let third = second.apply(&[Change::Touch(rel!("doc:1#viewer@user:bob"))]);
    let none = Context::new();
    let allowed = |graph: &_, who: &str| ask_in(graph, &none, &format!("doc:1#view@user:{who}")).is_allowed();
    let answers = [&first, &second, &third].map(|graph| (allowed(graph, "anna"), allowed(graph, "bob")));
    assert_eq!(answers, [(true, false), (false, false), (false, true)]);
    assert_eq!([first.len(), second.len(), third.len()], [1, 0, 1]);
}

/// A cursor comes back from clients, who may write into it what they like.
#[test]
fn ghsa_vhvq_fv9f_wh4q_a_cursor_that_was_tampered_with_breaks_nothing() {
    let schema = "
        definition user {}
        definition doc { relation viewer: user | user:* permission view = viewer }";
    let graph = graph(schema, &["doc:1#viewer@user:anna", "doc:2#viewer@user:anna", "doc:2#viewer@user:*"]);
    let anna = Subject::new("user", "anna");
    for text in ["", "1", "doc:1", "doc:1#viewer", "\u{0}", "é", "*", "9999999999999999999999", "[]", "a:b:c"]
    {
        let cursor: Cursor = serde_json::from_value(json!(text)).unwrap();
        // Whatever it says, no more comes than the list has.
        let page = graph.lookup_objects_in(&Context::new(), &anna, "view", "doc", Some(&cursor), 10).unwrap();
        assert!(page.items.iter().all(|object| ["1", "2"].contains(&object.id())), "{text:?}");
        let page = graph
            .lookup_subjects(
                &Context::new(),
                &Object::new("doc", 2),
                "view",
                ("user", None),
                Some(&cursor),
                10,
            )
            .unwrap();
        assert!(page.items.len() <= 2, "{text:?}");
    }
}
