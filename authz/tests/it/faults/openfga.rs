//! OpenFGA's advisories, as far as they are about answers. CVE-2022-39340 (a list without a token) and
//! CVE-2026-55689 (the audience of a token) are about HTTP and have no place in this crate.

use std::sync::Arc;

use super::{ask, ask_in, listed, openfga};
use formwork_authz::{Change, Context, Decision, Graph, Object, Relationship, Schema, Subject, rel};

fn change(text: &str) -> Change {
    Change::Touch(text.parse().unwrap())
}

#[track_caller]
fn refused(model: &str) -> Vec<String> {
    let error = Schema::parse_openfga(model).unwrap_err();
    error.diagnostics().iter().map(|fault| fault.code().to_owned()).collect()
}

#[test]
fn cve_2025_48371_a_userset_is_not_one_of_everybody() {
    let model = "model
  schema 1.1
type employee
  relations
    define manager: [employee]
type doc
  relations
    define viewer: [employee, employee:*, employee#manager]
";
    let graph = openfga(model, &["doc:1#viewer@employee:*", "employee:1#manager@employee:2"]);
    assert_eq!(ask(&graph, "doc:1#viewer@employee:2"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:1#viewer@employee:1#manager"), Decision::Denied);
    assert!(listed(&graph, "employee:1#manager", "viewer", "doc").is_empty());
}

#[test]
fn cve_2024_56323_a_contextual_tuple_with_a_condition_counts_for_one_question() {
    let model = "model
  schema 1.1
type user
type doc
  relations
    define viewer: [user with flag]
condition flag(on: bool) {
  on
}
";
    let graph = openfga(model, &[]);
    let (on, off) = (Context::new().with("on", true), Context::new().with("on", false));
    let question = "doc:1#viewer@user:anna";
    let asked = graph.apply(&[change("doc:1#viewer@user:anna[flag]")]);
    let stored_off = graph.apply(&[change("doc:1#viewer@user:anna[flag:{\"on\":false}]")]);
    for _ in 0..2 {
        assert_eq!(ask_in(&asked, &on, question), Decision::Allowed);
        assert_eq!(ask_in(&asked, &off, question), Decision::Denied);
        assert_eq!(ask_in(&stored_off, &on, question), Decision::Denied);
        assert_eq!(ask_in(&graph, &on, question), Decision::Denied);
    }
}

#[test]
fn cve_2024_42473_an_exclusion_over_a_parent_takes_members_of_usersets_away() {
    let model = "model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
type folder
  relations
    define viewer: [user, group#member]
    define blocked: [user, group#member]
type document
  relations
    define parent: [folder]
    define viewer: viewer from parent but not blocked from parent
";
    let graph = openfga(
        model,
        &[
            "document:1#parent@folder:1",
            "folder:1#viewer@group:all#member",
            "folder:1#blocked@group:out#member",
            "group:all#member@group:inner#member",
            "group:inner#member@user:anna",
            "group:inner#member@user:bob",
            "group:out#member@user:anna",
        ],
    );
    assert_eq!(ask(&graph, "document:1#viewer@user:anna"), Decision::Denied);
    assert_eq!(ask(&graph, "document:1#viewer@user:bob"), Decision::Allowed);
    assert_eq!(listed(&graph, "user:bob", "viewer", "document"), ["document:1"]);
    assert!(listed(&graph, "user:anna", "viewer", "document").is_empty());
}

#[test]
fn cve_2024_31452_intersections_and_exclusions_hold_over_cycles() {
    let model = "model
  schema 1.1
type user
type group
  relations
    define member: [user, group#member]
    define banned: [user, group#banned]
    define paying: [user]
    define active: member but not banned
    define full: member and paying
";
    let graph = openfga(
        model,
        &[
            "group:1#member@group:2#member",
            "group:2#member@group:3#member",
            "group:3#member@group:1#member",
            "group:3#member@user:anna",
            "group:3#member@user:bob",
            "group:1#banned@group:2#banned",
            "group:2#banned@group:1#banned",
            "group:2#banned@user:bob",
            "group:1#paying@user:bob",
        ],
    );
    for (question, expected) in [
        ("group:1#active@user:anna", Decision::Allowed),
        ("group:1#active@user:bob", Decision::Denied),
        ("group:3#active@user:bob", Decision::Allowed),
        ("group:1#full@user:anna", Decision::Denied),
        ("group:1#full@user:bob", Decision::Allowed),
        ("group:2#full@user:bob", Decision::Denied),
    ] {
        assert_eq!(ask(&graph, question), expected, "{question}");
    }
    assert_eq!(listed(&graph, "user:bob", "active", "group"), ["group:3"]);
}

const FOLDERS: &str = "model
  schema 1.1
type user
type folder
  relations
    define parent: [folder]
    define viewer: [user] or viewer from parent
";

/// A deep chain that ends in a cycle, and everybody a viewer of it.
fn folders() -> Graph {
    let chain = (0..2_000).map(|number| {
        let above = Subject::new("folder", (number + 1) % 2_000);
        Relationship::new(Object::new("folder", number), "parent", above)
    });
    let facts = chain.chain([rel!("folder:1999#viewer@user:anna")]);
    Graph::load(Arc::new(Schema::parse_openfga(FOLDERS).unwrap()), facts)
}

#[test]
fn cve_2023_45810_and_cve_2024_23820_a_list_leaves_nothing_behind() {
    let graph = folders();
    let before = graph.memory_bytes();
    for _ in 0..50 {
        assert_eq!(listed(&graph, "user:anna", "viewer", "folder").len(), 2_000);
    }
    assert_eq!(graph.memory_bytes(), before);
}

#[test]
fn cve_2023_35933_and_cve_2023_43645_circular_definitions_and_tuples_come_to_an_end() {
    let graph = folders();
    assert_eq!(ask(&graph, "folder:0#viewer@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "folder:0#viewer@user:eve"), Decision::Denied);
    let model = "model
  schema 1.1
type user
type doc
  relations
    define a: [user] or b
    define b: [user] or c
    define c: [user] or a
";
    let graph = openfga(model, &["doc:1#c@user:anna"]);
    for relation in ["a", "b", "c"] {
        assert_eq!(ask(&graph, &format!("doc:1#{relation}@user:anna")), Decision::Allowed);
        assert_eq!(ask(&graph, &format!("doc:1#{relation}@user:eve")), Decision::Denied);
    }
    assert_eq!(listed(&graph, "user:anna", "a", "doc"), ["doc:1"]);
}

#[test]
fn cve_2023_40579_a_list_over_a_parent_names_no_more_than_the_checks() {
    let model = "model
  schema 1.1
type user
type org
  relations
    define member: [user]
    define viewer: [user]
type doc
  relations
    define org: [org]
    define owner: [user]
    define viewer: owner or viewer from org
";
    // A member of the organisation is no viewer of it, and an owner of one document none of another.
    let graph = openfga(
        model,
        &[
            "doc:1#org@org:1",
            "doc:2#org@org:1",
            "doc:3#org@org:2",
            "org:1#member@user:anna",
            "org:2#viewer@user:anna",
            "doc:2#owner@user:anna",
        ],
    );
    assert_eq!(listed(&graph, "user:anna", "viewer", "doc"), ["doc:2", "doc:3"]);
    for (question, expected) in [("1", Decision::Denied), ("2", Decision::Allowed), ("3", Decision::Allowed)]
    {
        assert_eq!(ask(&graph, &format!("doc:{question}#viewer@user:anna")), expected);
    }
}

#[test]
fn cve_2022_39341_and_cve_2022_39352_a_wildcard_is_no_parent() {
    let wildcard = FOLDERS.replace("parent: [folder]", "parent: [folder, folder:*]");
    assert_eq!(refused(&wildcard), ["F0301"]);
    let graph = openfga(FOLDERS, &["folder:2#viewer@user:anna", "folder:1#parent@folder:*"]);
    assert_eq!((graph.len(), graph.ignored()), (1, 1));
    assert_eq!(ask(&graph, "folder:1#viewer@user:anna"), Decision::Denied);
    let wild = "folder:1#parent@folder:*".parse().unwrap();
    assert!(graph.schema().verify(&wild).is_err());
}

#[test]
fn cve_2022_39342_a_parent_is_stored_and_not_computed() {
    for parent in ["other", "[folder] or other", "[folder#viewer]", "other from other"] {
        let model =
            FOLDERS.replace("parent: [folder]", &format!("other: [folder]\n    define parent: {parent}"));
        assert!(refused(&model).contains(&"F0301".to_owned()), "{parent}");
    }
}

#[test]
fn cve_2022_23542_what_an_older_model_allowed_does_not_count() {
    let older = "model
  schema 1.1
type user
type bot
type doc
  relations
    define viewer: [user, bot, user:*]
";
    let facts = ["doc:1#viewer@user:anna", "doc:1#viewer@bot:1", "doc:2#viewer@user:*"];
    let newer = older.replace("[user, bot, user:*]", "[user]");
    assert_eq!(listed(&openfga(older, &facts), "bot:1", "viewer", "doc"), ["doc:1"]);
    let graph = openfga(&newer, &facts);
    assert_eq!((graph.len(), graph.ignored()), (1, 2));
    assert_eq!(ask(&graph, "doc:1#viewer@user:anna"), Decision::Allowed);
    assert_eq!(ask(&graph, "doc:1#viewer@bot:1"), Decision::Denied);
    assert_eq!(ask(&graph, "doc:2#viewer@user:anna"), Decision::Denied);
}
