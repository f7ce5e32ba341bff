//! Bad input of every kind: a typed error which names the place. All messages stand in one file, to be read.
//!
//! `BLESS=1 cargo test --workspace bad_input` writes the file anew.

use std::fmt::Write as _;
use std::sync::Arc;

use formwork_authz::{
    CheckError, Context, Graph, Object, Relationship, Schema, Source, Subject, WriteError, format_native,
    format_openfga,
};
use serde_json::json;

const SCHEMA: &str = "
use expiration
definition user {}
caveat by_day(hour int) { hour >= 8 && hour < 18 }
caveat slow(words list<string>) { words.exists(a, words.exists(b, words.exists(c, a + b + c == 'x'))) }
definition team { relation member: user | team#member }
definition document {
    relation parent: document
    relation viewer: user | team#member | user with by_day | user with slow
    relation guest: user with expiration
    permission view = viewer + guest + parent->view
}";

/// What was tried, and what is said of it.
struct Told(String);

impl Told {
    fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, "{}# {title}", if self.0.is_empty() { "" } else { "\n" });
    }

    /// Long inputs are shown by their ends.
    fn case(&mut self, what: &str, error: &dyn std::fmt::Display) {
        let short = |text: &str| match text.char_indices().nth(400) {
            None => text.to_owned(),
            Some(_) => {
                let chars: Vec<char> = text.chars().collect();
                let (head, tail) = (&chars[..60], &chars[chars.len() - 60..]);
                format!("{}<..>{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
            }
        };
        let error = error.to_string().lines().map(short).collect::<Vec<_>>().join("\n    ");
        let _ = write!(self.0, "\n{what}\n    {error}\n");
    }
}

fn question(graph: &Graph, context: &Context, subject: &str, name: &str, object: (&str, &str)) -> CheckError {
    let subject = subject.parse::<Subject>().unwrap();
    graph.check_in(context, &subject, name, &Object::new(object.0.to_owned(), object.1)).unwrap_err()
}

fn questions(told: &mut Told) {
    let graph = Graph::load(
        Schema::parse(SCHEMA).unwrap(),
        ["document:7#viewer@user:anna[by_day]", "document:7#viewer@user:bob[slow]"]
            .map(|fact| fact.parse::<Relationship>().unwrap()),
    );
    let none = Context::new();
    told.section("questions");
    let mut ask = |what: &str, context: &Context, subject: &str, name: &str, object: (&str, &str)| {
        told.case(what, &question(&graph, context, subject, name, object));
    };
    ask("an unknown type of object", &none, "user:anna", "view", ("documnet", "7"));
    ask("an unknown type of subject", &none, "usr:anna", "view", ("document", "7"));
    ask("an unknown permission", &none, "user:anna", "veiw", ("document", "7"));
    ask("an unknown relation of a userset", &none, "team:eng#membr", "view", ("document", "7"));
    ask("a type of 5,000 bytes", &none, "user:anna", "view", (&"t".repeat(5_000), "7"));
    ask("no id", &none, "user:anna", "view", ("document", ""));
    ask("an id with a separator", &none, "user:anna", "view", ("document", "7#owner@user:eve"));
    ask("a wildcard as object", &none, "user:anna", "view", ("document", "*"));
    ask("an id of 1,025 bytes", &none, "user:anna", "view", ("document", &"7".repeat(1025)));
    ask(
        "a value of another type",
        &none.clone().with("hour", "noon"),
        "user:anna",
        "view",
        ("document", "7"),
    );
    let words: Vec<String> = (0..500).map(|number| format!("word{number}")).collect();
    ask(
        "a condition that runs away",
        &none.clone().with("words", json!(words)),
        "user:bob",
        "view",
        ("document", "7"),
    );
    let batch = [Object::new("document", 7), Object::new("document", "a b")];
    told.case(
        "one bad id in a batch",
        &graph.check_many(&Subject::new("user", "anna"), "view", &batch).unwrap_err(),
    );
    told.case(
        "a list of an unknown type",
        &graph.lookup_objects(&Subject::new("user", "anna"), "view", "docs").unwrap_err(),
    );
}

fn branches(told: &mut Told) {
    told.section("too many branches");
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let members = (0..200_001).map(|number| {
        Relationship::new(Object::new("team", 1), "member", Subject::userset("team", number + 2, "member"))
    });
    let graph = Graph::load(schema, members);
    told.case("a tree of 200,001 branches", &graph.expand("member", &Object::new("team", 1)).unwrap_err());
    let model = "model
  schema 1.1
type user
type folder
  relations
    define parent: [folder]
    define viewer: [user] but not viewer from parent
";
    let facts = (0..200).flat_map(|number| {
        let (folder, above) = (Object::new("folder", number), Subject::new("folder", number + 1));
        [
            Relationship::new(folder.clone(), "parent", above),
            Relationship::new(folder, "viewer", Subject::new("user", "anna")),
        ]
    });
    let graph = Graph::load(Schema::parse_openfga(model).unwrap(), facts);
    let none = Context::new();
    told.case(
        "200 exclusions of exclusions",
        &question(&graph, &none, "user:anna", "viewer", ("folder", "0")),
    );
}

fn relationships(told: &mut Told) {
    told.section("relationships as text");
    for text in [
        "",
        "document:7",
        "document#viewer@user:anna",
        "document:7#viewer",
        "document:7#viewer@anna",
        "Document:#viewer@user:anna",
        "document:7#view er@user:anna",
        "document:7#viewer@user:anna#",
        "document:7#viewer@user:*#member",
        "document:7#viewer@user:anna[",
        "document:7#viewer@user:anna[by_day:{\"hour\":}]",
        "document:7#viewer@user:anna[by_day:[1]]",
        "document:7#viewer@user:anna[expiration:tomorrow]",
        "document:7#viewer@user:anna[by_day][by_night]",
        "dökument:7#viewer@user:anna",
    ] {
        told.case(&format!("`{text}`"), &text.parse::<Relationship>().unwrap_err());
    }
    for (what, part) in [("an object", "id"), ("a type", "type")] {
        let long = "x".repeat(if part == "id" { 1025 } else { 101 });
        let text = if part == "id" { format!("document:{long}") } else { format!("{long}:7") };
        told.case(&format!("{what} of {} bytes", long.len()), &text.parse::<Object>().unwrap_err());
    }
}

fn writes(told: &mut Told) {
    told.section("relationships to be stored");
    let schema = Schema::parse(SCHEMA).unwrap();
    let long = json!({ "words": ["x".repeat(25_000)] });
    for (what, text) in [
        ("an unknown type", "documnet:7#viewer@user:anna".to_owned()),
        ("an unknown relation", "document:7#viewr@user:anna".to_owned()),
        ("a permission", "document:7#view@user:anna".to_owned()),
        ("a subject without a place", "document:7#viewer@document:8".to_owned()),
        ("a wildcard without a place", "document:7#viewer@user:*".to_owned()),
        ("a relation of a subject without a place", "document:7#viewer@team:eng#membr".to_owned()),
        ("an unknown condition", "document:7#viewer@user:anna[by_dy]".to_owned()),
        ("a condition without a place", "document:7#parent@document:8[by_day]".to_owned()),
        ("no expiry where there must be one", "document:7#guest@user:anna".to_owned()),
        ("a value of another type", "document:7#viewer@user:anna[by_day:{\"hour\":\"noon\"}]".to_owned()),
        ("a name that is no parameter", "document:7#viewer@user:anna[by_day:{\"hours\":1}]".to_owned()),
        ("a context of more than 25,000 bytes", format!("document:7#viewer@user:anna[slow:{long}]")),
    ] {
        let error: WriteError = schema.verify(&text.parse().unwrap()).unwrap_err();
        told.case(what, &error);
    }
}

fn schemas(told: &mut Told) {
    told.section("schemas");
    let long = |text: &str| format!("definition user {{}} {text}");
    for (what, text) in [
        ("an unknown type", long("definition a { relation r: usr }")),
        ("an unknown permission", long("definition a { relation reader: user permission p = raeder }")),
        ("a text of more than a megabyte", "/".repeat((1 << 20) + 1)),
        (
            "an expression of more than 8,192 bytes",
            long(&format!("caveat c(x int) {{ {} }}", "x > 1 || ".repeat(1_000) + "x > 1")),
        ),
        (
            "an expression with 100 brackets",
            long(&format!("caveat c(x int) {{ {}x > 1{} }}", "(".repeat(100), ")".repeat(100))),
        ),
        (
            "200 parentheses",
            long(&format!(
                "definition a {{ relation r: user permission p = {}r{} }}",
                "(".repeat(200),
                ")".repeat(200)
            )),
        ),
        (
            "300 exclusions in each other",
            long(&format!("definition a {{ relation r: user permission p = r{} }}", " - r".repeat(300))),
        ),
        ("a name of 200 bytes", long(&format!("definition a {{ relation {}: user }}", "r".repeat(200)))),
        ("a character of no language", long("definition a { relation r§: user }")),
    ] {
        told.case(what, &Schema::parse(&text).unwrap_err());
        assert!(
            what.starts_with("an unknown")
                || format_native(&text).is_err()
                || what.contains("expression")
                || what.contains("exclusions")
        );
    }
    let fga = "model\n  schema 1.1\ntype user\ntype a\n  relations\n    define r: [usr] or x and r\n";
    told.case("an OpenFGA model", &Schema::parse_openfga(fga).unwrap_err());
    told.case("an OpenFGA model of version 2.0", &format_openfga("model\n  schema 2.0\n").unwrap_err());
    told.case(
        "JSON that is none",
        &Schema::parse_openfga_json("{\"schema_version\": \"1.1\", type").unwrap_err(),
    );
    let modules = [Source { name: "fga.mod", text: "schema: '1.2'\ncontents:\n  - gone.fga\n" }];
    told.case("a module that is not there", &Schema::compose_openfga(&modules).unwrap_err());
}

#[test]
fn bad_input_is_told_with_its_place() {
    let mut told = Told(String::new());
    questions(&mut told);
    branches(&mut told);
    relationships(&mut told);
    writes(&mut told);
    schemas(&mut told);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad_input.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &told.0).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(told.0, known, "BLESS=1 writes {path} anew");
}
