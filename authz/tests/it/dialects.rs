//! What each language says in its own way: conditions, partials, imports, modules, and what one cannot say.

use formwork_authz::{Schema, Source};

#[track_caller]
fn openfga(text: &str) -> Vec<String> {
    let error = Schema::parse_openfga(&format!("model\n  schema 1.1\ntype user\n{text}")).unwrap_err();
    told(error.diagnostics())
}

#[track_caller]
fn native(text: &str) -> Vec<String> {
    told(Schema::parse(text).unwrap_err().diagnostics())
}

fn told(diagnostics: &[formwork_authz::Diagnostic]) -> Vec<String> {
    let lines = diagnostics.iter().map(|found| {
        let help = found.help().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{} {}:{} {}{help}", found.code(), found.line(), found.column(), found.message())
    });
    lines.collect()
}

#[test]
fn an_error_in_an_expression_stands_at_its_place() {
    let error = Schema::parse(
        "definition user {}\n\ncaveat c(hour int) {\n    hour > 8 &&\n        huor < 18\n}\n\ndefinition doc { relation r: user with c }",
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "\
error[F0402]: `c` has no parameter `huor`
 --> schema:5:9
  |
5 |         huor < 18
  |         ^^^^
  = help: did you mean `hour`?"
    );
    let error = Schema::parse(
        "definition user {}\ncaveat c(hour int) {\n    hour > 8 &&\n  hour < < 18\n}\ndefinition doc { relation r: user with c }",
    )
    .unwrap_err();
    let place = &error.diagnostics()[0];
    assert_eq!((place.code(), place.line(), place.column()), ("F0401", 4, 10), "{error}");
}

#[test]
fn names_that_macros_bind_are_no_parameters() {
    let text = |expression: &str| {
        format!(
            "definition user {{}} caveat c(list list<string>, m map<int>) {{ {expression} }} definition doc {{ relation r: user with c }}"
        )
    };
    let codes = |expression: &str| match Schema::parse(&text(expression)) {
        Ok(schema) => schema.warnings().iter().map(|warning| warning.code()).collect::<Vec<_>>(),
        Err(error) => error.diagnostics().iter().map(|fault| fault.code()).collect(),
    };
    assert_eq!(codes("list.exists(x, x in m) && list.all(y, y != '}')"), [""; 0]);
    assert_eq!(codes("list.exists(x, x in m) && x == 'a'"), ["F0402"]);
    assert_eq!(codes("list.map(x, size(x)).exists(n, n > 1)"), ["F0902"]);
    assert_eq!(codes("has(m.a) && m.a > 1 && size(list) > 0"), [""; 0]);
    assert_eq!(codes("type(list) == list && m == {} && duration('1h') > duration('1m')"), [""; 0]);
}

#[test]
fn a_permission_can_carry_a_condition() {
    let text = "caveat amount_at_most(amount int, limit int) {
    amount <= limit
}

definition user {}

definition change {
    relation owner: user
    relation finance: user | user with amount_at_most
    permission approve = owner + finance with amount_at_most
    permission part = (owner with amount_at_most) + finance
}
";
    let schema = Schema::parse(text).unwrap();
    assert_eq!(schema.to_native().unwrap(), text);
    assert_eq!(
        schema.to_openfga().unwrap_err().reasons(),
        [
            "the permission `change#approve` carries a condition",
            "the permission `change#part` carries a condition"
        ]
    );
    // In SpiceDB `with` is a reserved word, so that no schema of theirs can mean something else by it.
    assert_eq!(
        native("definition user {} definition a { relation with: user }")[0],
        "F0103 1:44 expected the name of a relation, found `with`"
    );
}

#[test]
fn partials_are_put_in_where_they_are_named() {
    let schema = Schema::parse(
        "use partial
partial viewed { relation viewer: user permission view = viewer }
definition user {}
definition a { relation owner: user ...viewed permission edit = owner & view }
definition b { ...viewed }",
    )
    .unwrap();
    assert_eq!(schema.relations("a").collect::<Vec<_>>(), ["owner", "viewer"]);
    assert_eq!(schema.permissions("a").collect::<Vec<_>>(), ["view", "edit"]);
    assert_eq!(schema.permissions("b").collect::<Vec<_>>(), ["view"]);
    // Each level would double what is put in.
    let doubling: String =
        (1..60).map(|n| format!("partial p{n} {{ ...p{} ...p{} }}\n", n - 1, n - 1)).collect();
    let told = native(&format!("partial p0 {{}} {doubling} definition user {{ ...p59 }}"));
    assert!(told.iter().all(|line| line.starts_with("F0212")), "{told:?}");
}

#[test]
fn imports_are_asked_for_by_the_path_from_the_root() {
    let sources = [
        ("parts/people.zed", "use import\nimport \"./more/../teams.zed\"\ndefinition user {}"),
        (
            "parts/teams.zed",
            "use import\nimport \"people/base.zed\"\ndefinition team { relation member: user | robot }",
        ),
        ("parts/people/base.zed", "definition robot {}"),
    ];
    let root = Source {
        name: "root.zed",
        text: "use import\nimport \"parts/people.zed\"\nimport \"parts/teams.zed\"\ndefinition doc { relation team: team }",
    };
    let mut asked = Vec::new();
    let schema = Schema::parse_with_imports(root, |path| {
        asked.push(path.to_owned());
        sources.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
    })
    .unwrap();
    assert_eq!(asked, ["parts/people.zed", "parts/teams.zed", "parts/people/base.zed"]);
    assert_eq!(schema.object_types().collect::<Vec<_>>(), ["doc", "user", "team", "robot"]);

    let root = Source {
        name: "root.zed",
        text: "import \"../secrets.zed\"\nimport \"/etc/passwd\"\nimport \"a.zed\"\ndefinition user {}",
    };
    let mut asked = Vec::new();
    let error = Schema::parse_with_imports(root, |path| {
        asked.push(path.to_owned());
        None
    });
    assert_eq!(asked, ["a.zed"], "a path that leaves the root is not asked for");
    assert_eq!(
        told(error.unwrap_err().diagnostics()),
        [
            "F0501 1:8 cannot import `../secrets.zed`: there is no such source",
            "F0501 2:8 cannot import `/etc/passwd`: there is no such source",
            "F0501 3:8 cannot import `a.zed`: there is no such source",
        ]
    );
    // Sources that are composed can import one another.
    let parts = [
        Source { name: "a.zed", text: "import \"b.zed\"\ndefinition a { relation b: b }" },
        Source { name: "b.zed", text: "definition b {}" },
    ];
    assert!(Schema::compose(&parts).is_ok());
}

#[test]
fn a_deprecated_thing_warns_where_it_is_used() {
    let schema = Schema::parse(
        "use deprecation
@deprecated(\"people have accounts\")
definition person {}
definition account {}
definition doc {
  @deprecated(level: error, comment: 'use viewer')
  relation reader: person
  relation viewer: account
  permission view = viewer + reader
}",
    )
    .unwrap();
    assert_eq!(
        told(schema.warnings()),
        [
            "F0907 7:20 `person` is deprecated (people have accounts)",
            "F0907 9:30 `reader` is deprecated (use viewer)"
        ]
    );
}

#[test]
fn words_are_names_until_a_feature_is_used() {
    let schema = Schema::parse(
        "definition user { relation self: user relation expiration: user permission all = self + expiration }
caveat expiration(now int) { now > 1 }
definition doc { relation any: user with expiration relation use: doc permission partial = use.any(any) }",
    )
    .unwrap();
    assert_eq!(schema.relations("user").collect::<Vec<_>>(), ["self", "expiration"]);
    assert_eq!(
        native("definition user { permission me = self }"),
        [
            "F0202 1:35 `user` has no relation or permission `self` (write `use self` at the top to name the object itself)"
        ]
    );
    assert_eq!(
        native("definition user {} definition doc { relation r: user with expiration }"),
        [
            "F0203 1:59 unknown condition `expiration` (write `use expiration` at the top to let relationships expire)"
        ]
    );
}

#[test]
fn openfga_mixes_no_operators() {
    let doc = "type doc\n  relations\n    define a: [user]\n    define b: [user]\n    define c: ";
    let rule = |rule: &str| openfga(&format!("{doc}{rule}"));
    let help = "(write parentheses around what belongs together)";
    assert_eq!(
        rule("a or b and a"),
        [format!("F0107 8:22 `or` and `and` are mixed without parentheses {help}")]
    );
    assert_eq!(
        rule("a and b but not a"),
        [format!("F0107 8:23 `and` and `but not` are mixed without parentheses {help}")]
    );
    assert_eq!(
        rule("a but not b but not a"),
        [format!("F0107 8:27 `but not` stands twice without parentheses {help}")]
    );
    assert_eq!(rule("a or b from"), ["F0103 8:26 expected the name of a relation, found the end"]);
    assert_eq!(
        rule("a b"),
        ["F0103 8:17 expected `or`, `and`, `but not`, `from` or the end of the line, found `b`"]
    );
    assert_eq!(rule("(a or b"), ["F0103 8:22 expected `)`, `or`, `and` or `but not`, found the end"]);
    assert_eq!(rule("[user:*#a]"), ["F0103 8:22 expected `,` or `]`, found `#`"]);
    assert_eq!(rule("[usr, doc#d]")[0], "F0201 8:16 unknown type `usr` (did you mean `user`?)");
    for fine in
        ["(a or b) and (a but not b)", "((a))", "([user] and a) or b", "(\n a or\n b)", "[user,\n  doc#a\n]"]
    {
        let text = format!("model\n  schema 1.1\ntype user\n{doc}{fine}\n");
        assert!(Schema::parse_openfga(&text).is_ok(), "{fine}");
    }
}

#[test]
fn what_openfga_models_are_refused_for() {
    assert_eq!(
        openfga("type doc\n  relations\n    define a: b\n    define b: a\n"),
        [
            "F0306 6:12 `a` has no entry point (somewhere on its way a type must be allowed to be stored, such as `[user]`)",
            "F0306 7:12 `b` has no entry point (somewhere on its way a type must be allowed to be stored, such as `[user]`)",
        ]
    );
    for (tupleset, what) in [("[doc, doc#viewer]", "more"), ("[doc:*]", "more")] {
        assert_eq!(
            openfga(&format!(
                "type doc\n  relations\n    define parent: {tupleset}\n    define viewer: [user] or viewer from parent\n"
            )),
            [format!(
                "F0301 7:42 the relation behind `from` must hold objects only, and `parent` holds {what}"
            )]
        );
    }
    assert_eq!(
        openfga(
            "type doc\n  relations\n    define parent: [doc] or up\n    define up: [doc]\n    define viewer: [user] or viewer from parent\n"
        ),
        ["F0301 8:42 the relation behind `from` must be stored only, and `parent` is computed"]
    );
    assert_eq!(
        openfga(
            "type doc\n  relations\n    define parent: [doc]\n    define viewer: [user] or veiwer from parent\n"
        ),
        ["F0209 7:30 no type of `parent` has a relation or permission `veiwer` (did you mean `viewer`?)"]
    );
    let schema = Schema::parse_openfga("model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define hidden: [user, doc#seen]\n    define seen: [user] but not hidden\n").unwrap();
    assert_eq!(
        told(schema.warnings()),
        ["F0906 7:12 permission `seen` excludes itself through a cycle (doc#seen -> doc#hidden -> doc#seen)"]
    );
}

#[test]
fn modules_make_one_model() {
    let sources = [
        Source { name: "fga.mod", text: "schema: '1.2'\ncontents: ['core.fga', wiki/wiki.fga]\n" },
        Source {
            name: "wiki/wiki.fga",
            text: "module wiki\nextend type org\n  relations\n    define space_creator: admin\ntype space\n  relations\n    define org: [org]\n    define view: member from org\n",
        },
        Source {
            name: "core.fga",
            text: "module core\ntype user\ntype org\n  relations\n    define admin: [user]\n    define member: [user] or admin\n",
        },
    ];
    let schema = Schema::compose_openfga(&sources).unwrap();
    assert_eq!(schema.object_types().collect::<Vec<_>>(), ["user", "org", "space"]);
    assert_eq!(schema.permissions("org").collect::<Vec<_>>(), ["space_creator"]);
    let json = schema.to_openfga_json().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let org = &json["type_definitions"][1]["metadata"];
    assert_eq!(org["module"], "core");
    assert_eq!(org["source_info"]["file"], "core.fga");
    assert_eq!(org["relations"]["space_creator"]["module"], "wiki");
    assert_eq!(org["relations"]["admin"].get("module"), None);
    assert!(schema.to_openfga().unwrap().starts_with("model\n  schema 1.2\n"));

    let with = |name: &'static str, text: &'static str| {
        let mut sources = sources.to_vec();
        sources.push(Source { name, text });
        told(Schema::compose_openfga(&sources).unwrap_err().diagnostics())
    };
    assert_eq!(with("more.fga", "module more\n"), ["F0505 1:1 `fga.mod` does not list `more.fga`"]);
    let twice = [
        sources[1],
        sources[2],
        Source { name: "x.fga", text: "module x\nextend type org\n  relations\n    define admin: [user]\n" },
    ];
    assert_eq!(
        told(Schema::compose_openfga(&twice).unwrap_err().diagnostics()),
        ["F0205 4:12 `admin` is declared twice, first at core.fga:5"]
    );
}

#[test]
fn comments_above_are_kept_as_docs() {
    let schema = Schema::parse_openfga(
        "# a licence\n\nmodel\n  schema 1.1\n\n# people\ntype user\n\n# far away\n\ntype doc # behind\n  relations\n    # who may\n    # look\n    define viewer: [user] # also behind\n# a limit\ncondition c(x: int) {\n  # not CEL\n  x > 1\n}\n",
    )
    .unwrap();
    assert_eq!(schema.doc("user", None), Some("people"));
    assert_eq!(schema.doc("doc", None), Some(""));
    assert_eq!(schema.doc("doc", Some("viewer")), Some("who may\nlook"));
    let native = schema.to_native().unwrap();
    assert!(native.contains("    /// who may\n    /// look\n    relation viewer: user\n"), "{native}");
    assert!(native.contains("/// a limit\ncaveat c(x int) {\n    x > 1\n}\n"), "{native}");
}

#[test]
fn what_the_other_language_cannot_say_is_listed() {
    let model = Schema::parse_openfga(
        "model\n  schema 1.1\ntype User\ntype doc\n  relations\n    define owner: [User]\n    define can-view: [User] or owner\n",
    )
    .unwrap();
    let error = model.to_native().unwrap_err();
    assert_eq!(
        error.reasons(),
        [
            "the type `User` is no native name",
            "the relation `doc#can-view` is no native name",
            "`doc#can-view` is stored and computed at once"
        ]
    );
    assert!(error.to_string().starts_with("the native language cannot say this schema: the type `User`"));
    let schema = Schema::parse(
        "use expiration use self use deprecation
definition user {}
@deprecated definition old {}
definition doc {
  relation viewer: user with expiration
  permission none = nil
  permission me = self
}",
    )
    .unwrap();
    let expected = [
        "`old` is marked as deprecated",
        "`doc#viewer` holds relationships that expire",
        "`doc#none` has `nil`",
        "`doc#me` has `self`",
    ];
    assert_eq!(schema.to_openfga().unwrap_err().reasons(), expected);
    assert_eq!(schema.to_openfga_json().unwrap_err().reasons(), expected);
    let never = Schema::parse("definition team { relation member: team#member }").unwrap();
    assert_eq!(never.to_openfga().unwrap_err().reasons(), ["`member` has no entry point (F0306)"]);
}

#[test]
fn a_misspelt_word_is_offered_aright() {
    assert_eq!(
        native("definition user {}\ndefinitoin doc {}\ndefinition team { relaton member: user }"),
        [
            "F0103 2:1 expected `definition`, `caveat`, `partial`, `import` or `use`, found `definitoin` (did you mean `definition`?)",
            "F0103 3:19 expected `relation`, `permission` or `}`, found `relaton` (did you mean `relation`?)",
        ]
    );
    assert_eq!(
        openfga("typ doc\n"),
        ["F0103 4:1 expected `type`, `extend type` or `condition`, found `typ` (did you mean `type`?)"]
    );
}

#[test]
fn spicedbs_way_of_writing_is_read() {
    let schema = Schema::parse(
        "use typechecking
use expiration
/* a head */
caveat ns/limit(some_map map<any>, n uint) { /* none of CEL's } */ some_map.isSubtreeOf({}) || n < 3u /* nor this */ }
definition ns/user {}
definition ns/group { relation member: ns/user#... with ns/limit and expiration; }
definition ns/doc {
  relation group: ns/group
  permission any_of = group.any(member); permission all_of: ns/user = group.all(member)
  permission view = group->member
    + any_of
}",
    );
    let text = schema.unwrap().to_native().unwrap();
    assert!(
        text.contains(
            "caveat ns/limit(some_map map<any>, n uint) {\n    some_map.isSubtreeOf({}) || n < 3u\n}\n"
        ),
        "{text}"
    );
    assert!(text.contains("    relation member: ns/user with ns/limit and expiration\n"), "{text}");
}

/// Relations are numbered type by type: a type that another module extends is printed whole, and read as the same.
#[test]
fn a_type_that_is_extended_later_is_printed_whole() {
    let core = "module core
type user
type org
  relations
    define member: [user]
type team
  relations
    define org: [org]
";
    let wiki = "module wiki
extend type org
  relations
    define editor: [user] or member
";
    let sources = [Source { name: "core.fga", text: core }, Source { name: "wiki.fga", text: wiki }];
    let schema = Schema::compose_openfga(&sources).unwrap();
    let text = schema.to_openfga().unwrap();
    assert_eq!(
        text,
        "model
  schema 1.2

type user

type org
  relations
    define member: [user]
    define editor: [user] or member

type team
  relations
    define org: [org]
"
    );
    assert_eq!(Schema::parse_openfga(&text).unwrap().to_openfga().unwrap(), text);
    assert!(Schema::parse_openfga_json(&schema.to_openfga_json().unwrap()).unwrap() == schema);
}

#[test]
fn names_have_any_number_of_namespaces() {
    let schema = Schema::parse(
        "definition a/b/user {}
        caveat a/b/c/at(hour int) { hour > 8 }
        definition a/b/c/doc { relation viewer: a/b/user with a/b/c/at permission view = viewer }",
    )
    .unwrap();
    assert!(Schema::parse(&schema.to_native().unwrap()).unwrap() == schema);
    let fact = "a/b/c/doc:1#viewer@a/b/user:anna[a/b/c/at:{\"hour\":9}]".parse().unwrap();
    let graph = formwork_authz::Graph::load(schema, [fact]);
    let (anna, doc) =
        (formwork_authz::Subject::new("a/b/user", "anna"), formwork_authz::Object::new("a/b/c/doc", 1));
    assert!(graph.check(&anna, "view", &doc).unwrap().is_allowed());
}
