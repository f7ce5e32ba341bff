//! The schema language: what it takes, and how it says what is wrong.

use formwork_authz::{Schema, Source};
use proptest::prelude::*;

#[track_caller]
fn error(text: &str) -> String {
    Schema::parse(text).unwrap_err().to_string()
}

/// Message and help of each fault, one a line.
#[track_caller]
fn faults(text: &str) -> Vec<String> {
    let error = Schema::parse(text).unwrap_err();
    let told = error.diagnostics().iter().map(|fault| {
        let help = fault.help().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{}:{} {}{help}", fault.line(), fault.column(), fault.message())
    });
    told.collect()
}

#[test]
fn it_takes_what_spicedb_takes() {
    let schema = Schema::parse(
        "/** people */
        definition user {}

        definition organization {
            relation admin: user
            relation member: user
            permission is_member = admin + member; // with a semicolon
        }
        /* a comment
           of two lines */
        definition document {
            /// who made it
            relation owner: user
            relation org: organization
            relation viewer: user | user:* | organization#is_member
            permission edit = owner + org->admin
            /**
             * everyone
             * who may look
             */
            permission view = (viewer + edit) - (nil & owner)
        }",
    )
    .unwrap();
    assert_eq!(schema.object_types().collect::<Vec<_>>(), ["user", "organization", "document"]);
    assert_eq!(schema.relations("document").collect::<Vec<_>>(), ["owner", "org", "viewer"]);
    assert_eq!(schema.permissions("document").collect::<Vec<_>>(), ["edit", "view"]);
    assert_eq!(schema.subject_types("document", "viewer"), ["user", "user:*", "organization#is_member"]);
    assert_eq!(schema.doc("user", None), Some("people"));
    assert_eq!(schema.doc("document", Some("owner")), Some("who made it"));
    assert_eq!(schema.doc("document", Some("view")), Some("everyone\nwho may look"));
    assert_eq!(schema.relations("nothing").count(), 0);
}

#[test]
fn an_error_reads_as_a_compilers() {
    assert_eq!(
        error(
            "definition user {}\n\ndefinition document {\n    relation viewer: user | usr\n    permission view = viewr\n}\n"
        ),
        "\
error[F0201]: unknown type `usr`
 --> schema:4:29
  |
4 |     relation viewer: user | usr
  |                             ^^^
  = help: did you mean `user`?

error[F0202]: `document` has no relation or permission `viewr`
 --> schema:5:23
  |
5 |     permission view = viewr
  |                       ^^^^^
  = help: did you mean `viewer`?"
    );
}

#[test]
fn modules_contribute_parts_and_errors_name_them() {
    let people =
        Source { name: "people", text: "definition user {}\ndefinition team { relation member: user }" };
    let rfis = Source { name: "rfis", text: "definition rfi {\n  relation assignee: user | team#membr\n}" };
    let error = Schema::compose(&[people, rfis]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "\
error[F0202]: `team` has no relation or permission `membr`
 --> rfis:2:34
  |
2 |   relation assignee: user | team#membr
  |                                  ^^^^^
  = help: did you mean `member`?"
    );
    assert_eq!(error.diagnostics()[0].source(), "rfis");
    let again = Source { name: "again", text: "\ndefinition user {}" };
    let error = Schema::compose(&[people, again]).unwrap_err();
    assert_eq!(error.diagnostics()[0].source(), "again");
    assert_eq!(error.diagnostics()[0].message(), "`user` is defined twice, first at people:1");
}

#[test]
fn every_fault_is_told_in_one_run() {
    assert_eq!(
        faults(
            "definition user {}
definition User {}
definition a {
  relation r user
  relation s: user |
  relation s2: user user
  relation t: user
  relation t: user | user
  relation u: user | user:* | user
  permission p = t +
  permission q = (t
  permission v = t -> 
  what is this
  permission w = t § t
}
definition b
definition c { relation d: user }"
        ),
        [
            "2:12 a name cannot contain `U` (names are lower case: `[a-z][a-z0-9_]*`, at most 64 bytes)",
            "4:14 expected `:`, found `user`",
            "6:3 expected a type of subjects, found `relation`",
            "6:21 expected `|`, `relation`, `permission` or `}`, found `user`",
            "8:12 `t` is declared twice, first at schema:7",
            "9:31 this type of subjects is named twice in the relation",
            "11:3 expected a relation, a permission, `nil` or `(`, found `permission`",
            "12:3 expected `)`, found `permission`",
            "13:8 expected `+`, `&`, `-`, `relation`, `permission` or `}`, found `is`",
            "14:20 unexpected character `§`",
            "14:22 expected `+`, `&`, `-`, `relation`, `permission` or `}`, found `t`",
            "17:1 expected `{`, found `definition`",
        ]
    );
    assert_eq!(
        faults("definition user { relation"),
        [
            "1:27 expected the name of a relation, found the end",
            "1:27 expected `relation`, `permission` or `}`, found the end",
        ]
    );
    assert_eq!(faults("definition a {} /* open"), ["1:17 the comment is not closed, expected `*/`"]);
    assert_eq!(faults("caveat c(x int) { y }"), ["1:19 `c` has no parameter `y` (did you mean `x`?)"]);
}

#[test]
fn arrows_start_at_relations_of_objects() {
    let text = |arrow: &str| {
        format!(
            "definition user {{}}
definition team {{ relation member: user }}
definition doc {{
  relation parent: doc | team
  relation anyone: user:*
  relation group: team#member
  relation viewer: user
  permission view = viewer
  permission x = {arrow}
}}"
        )
    };
    assert!(Schema::parse(&text("parent->view + parent->member")).is_ok());
    assert_eq!(
        faults(&text("view->view")),
        ["9:18 the left side of an arrow must be a relation, and `view` is a permission"]
    );
    assert_eq!(
        faults(&text("anyone->view")),
        ["9:18 the left side of an arrow holds objects, and `anyone` may hold a wildcard"]
    );
    // As in SpiceDB: of a userset the object counts.
    let schema = Schema::parse(&text("group->member")).unwrap();
    let warnings: Vec<&str> = schema.warnings().iter().map(|warning| warning.code()).collect();
    assert_eq!(warnings, ["F0908"]);
    // Nobody holds what nobody can: a warning, but not where it would be taken away.
    for (arrow, near) in [("parent->vieww", " (did you mean `view`?)"), ("viewer->view", "")] {
        let (relation, target) = arrow.split_once("->").unwrap();
        let told = format!("no type of `{relation}` has a relation or permission `{target}`{near}");
        let schema = Schema::parse(&text(arrow)).unwrap();
        assert!(schema.warnings().iter().any(|warning| warning.code() == "F0912"), "{arrow}");
        assert_eq!(faults(&text(&format!("parent->view - {arrow}"))), [format!("9:41 {told}")]);
    }
}

#[test]
fn a_permission_cannot_exclude_itself() {
    assert_eq!(
        faults(
            "definition user {}
definition folder {
  relation parent: folder
  relation reader: user | folder#seen
  permission hidden = parent->seen
  permission seen = reader - hidden
}"
        ),
        [
            "6:14 permission `seen` excludes itself through a cycle (folder#seen -> folder#hidden -> folder#seen)"
        ]
    );
    assert_eq!(
        faults("definition user {} definition a { relation r: user permission p = (r - (r & p)) + r }"),
        ["1:63 permission `p` excludes itself through a cycle (a#p -> a#p)"]
    );
    // Recursion beside the exclusion is no cycle through it.
    let fine = "definition user {} definition folder {
        relation parent: folder relation reader: user relation banned: user | folder#banned
        permission read = (reader + parent->read) - banned }";
    assert!(Schema::parse(fine).is_ok());
}

#[test]
fn bounds_are_told() {
    let nested = |depth| {
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        format!("definition user {{}} definition a {{ relation r: user permission p = {open}r{close} }}")
    };
    assert!(Schema::parse(&nested(64)).is_ok());
    assert_eq!(faults(&nested(65))[0], "1:131 parentheses are nested more than 64 deep");
    assert!(Schema::parse(&nested(50_000)).is_err());
    let layers = |count: usize| {
        let permissions: Vec<String> =
            (1..=count).map(|i| format!("permission p{i} = r - p{}", i - 1)).collect();
        format!(
            "definition user {{}} definition a {{ relation r: user permission p0 = r {} }}",
            permissions.join(" ")
        )
    };
    assert!(Schema::parse(&layers(64)).is_ok());
    let told = faults(&layers(65));
    assert!(
        told[0]
            .ends_with("permission `p65` excludes too deep (at most 64 exclusions may build on each other)"),
        "{told:?}"
    );
    let long = format!("definition {} {{}}", "a".repeat(65));
    assert_eq!(
        faults(&long)[0],
        "1:12 a name is longer than 64 bytes (names are lower case: `[a-z][a-z0-9_]*`, at most 64 bytes)"
    );
    let many: String = (0..501).map(|i| format!("relation r{i}: a ")).collect();
    assert_eq!(
        faults(&format!("definition a {{ {many} }}")),
        ["1:12 `a` has more than 500 relations and permissions"]
    );
    assert!(error(&"x ".repeat(1_000_000)).contains("longer than 1048576 bytes"));
    assert!(error(&"§".repeat(10_000)).ends_with("and 9950 more"));
    // A chain of operands is no depth.
    let chain = format!(
        "definition user {{}} definition a {{ relation r: user permission p = r{} }}",
        " + r".repeat(50_000)
    );
    assert!(Schema::parse(&chain).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,200}") {
        if let Err(error) = Schema::parse(&text) {
            prop_assert!(!error.diagnostics().is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_tokens_break_the_parser(words in prop::collection::vec(prop::sample::select(vec![
        "definition", "relation", "permission", "nil", "user", "doc", "a", "b", "{", "}", "(", ")", ":", "*", "#",
        "|", "=", "+", "&", "-", "->", ";", "//", "/*", "*/", "/// d\n", "\n", "é", "A", "1",
    ]), 0..80)) {
        let text = words.join(" ");
        if let Err(error) = Schema::parse(&text) {
            prop_assert!(!error.diagnostics().is_empty());
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
