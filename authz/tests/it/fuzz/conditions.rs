//! Mutations of conditions: what compiles is evaluated over random contexts, and ends with an answer or a typed error.

use std::sync::LazyLock;

use formwork_authz::{Context, Decision, Graph, Object, Schema, Subject};
use serde_json::{Map, Value, json};

use super::{mutate, next};

/// Every expression is tried with these.
const PARAMETERS: [(&str, &str); 10] = [
    ("a", "any"),
    ("b", "bool"),
    ("s", "string"),
    ("i", "int"),
    ("u", "uint"),
    ("d", "double"),
    ("h", "duration"),
    ("t", "timestamp"),
    ("l", "list<string>"),
    ("m", "map<list<int>>"),
];

const WORDS: [&str; 56] = [
    " && ",
    " || ",
    "!",
    " ? ",
    " : ",
    " == ",
    " != ",
    " < ",
    " in ",
    " + ",
    " - ",
    " * ",
    " / ",
    " % ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "'",
    "\"",
    "r'",
    "b'",
    "'''",
    "\\",
    "a",
    "b",
    "s",
    "i",
    "u",
    "d",
    "h",
    "t",
    "l",
    "m",
    "0",
    "1u",
    "-9223372036854775808",
    "1e308",
    "0x7f",
    "true",
    "null",
    ".size()",
    ".all(x, ",
    ".exists(x, ",
    ".map(x, ",
    ".filter(x, ",
    ".matches(",
    "duration(",
    "timestamp(",
    "int(",
    "string(",
    "has(m.x)",
];

static SEEDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let text = include_str!("../../corpus/expressions.txt");
    text.lines().filter(|line| !line.is_empty()).collect()
});

/// Tells whether the condition compiles, and is then evaluated.
pub(super) fn execute(expression: &str, state: &mut u64) -> bool {
    let parameters =
        |between: &str| PARAMETERS.map(|(name, kind)| format!("{name}{between}{kind}")).join(", ");
    let native = format!(
        "definition user {{}} definition doc {{ relation viewer: user with c permission view = viewer }}
caveat c({}) {{\n{expression}\n}}",
        parameters(" ")
    );
    // The DSL has neither `any` nor lists in maps: those two are said otherwise.
    let openfga = format!(
        "model\n  schema 1.1\ntype user\ntype doc\n  relations\n    define viewer: [user with c]\n    define view: viewer
condition c({}) {{\n{expression}\n}}",
        parameters(": ").replace("any", "string").replace("map<list<int>>", "map<int>")
    );
    let parsed = [Schema::parse(&native), Schema::parse_openfga(&openfga)];
    let compiled = parsed[0].is_ok();
    for schema in parsed {
        match schema {
            Ok(schema) => evaluate(schema, state),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    compiled
}

fn evaluate(schema: Schema, state: &mut u64) {
    let stored: Vec<String> = (0..2).map(|_| Value::Object(values(state, 4)).to_string()).collect();
    let facts = stored.iter().map(|context| format!("doc:1#viewer@user:anna[c:{context}]").parse().unwrap());
    let empty = Graph::load(schema, []);
    for fact in facts {
        let graph = empty.apply(&[formwork_authz::Change::Touch(fact)]);
        if graph.is_empty() {
            continue;
        }
        let few = values(state, 2);
        let mut more = values(state, 1);
        more.extend(few.clone());
        let ask = |given: Map<String, Value>| {
            graph.check_in(
                &Context::from(given),
                &Subject::new("user", "anna"),
                "view",
                &Object::new("doc", 1),
            )
        };
        let (first, again, later) = (ask(few.clone()), ask(few), ask(more));
        assert_eq!(format!("{first:?}"), format!("{again:?}"), "with the same values");
        if let Ok(Decision::Conditional { missing }) = &first {
            assert!(!missing.is_empty());
            assert!(missing.iter().all(|name| PARAMETERS.iter().any(|(known, _)| **known == **name)));
        }
        // What is settled stays so, whatever else comes to be known; but that can be no value of its type.
        if let (Ok(first @ (Decision::Allowed | Decision::Denied)), Ok(later)) = (&first, &later) {
            assert_eq!(first, later);
        }
    }
}

/// One of `out_of` parameters is left out; some values are of the wrong type.
fn values(state: &mut u64, out_of: u64) -> Map<String, Value> {
    let mut all = Map::new();
    for (name, _) in PARAMETERS {
        if next(state).is_multiple_of(out_of) && out_of > 1 {
            continue;
        }
        let one = next(state) as i64;
        let value = match name {
            _ if one % 97 == 0 => json!([null, {"x": one}]),
            "a" => json!([one % 3, "x", {"k": [one]}]),
            "b" => json!(one % 2 == 0),
            "s" => json!(["", "x", "10.0.0.1", "(a+)+$", "2026-01-01T00:00:00Z"][one as usize % 5]),
            "i" => json!([0, 1, -1, i64::MAX, i64::MIN, one][one as usize % 6]),
            "u" => json!([0, 1, 4_294_967_296_u64][one as usize % 3]),
            "d" => json!([0.0, -1.5, 1e300][one as usize % 3]),
            "h" => json!(["1h", "0s", "-10ms", "9999999h"][one as usize % 4]),
            "t" => json!(
                ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"][one as usize % 3]
            ),
            "l" => json!(vec!["x"; one as usize % 7]),
            // Of one key: the order of several is nobody's promise.
            _ => json!({"x": [one % 5, 2]}),
        };
        all.insert(name.to_owned(), value);
    }
    all
}

#[test]
fn mutated_conditions_break_nothing() {
    let mut compiled = 0;
    let executions = super::round("mutated conditions", |state, last| {
        let seed = SEEDS[next(state) as usize % SEEDS.len()];
        let mutant = mutate::text(seed, &SEEDS, &WORDS, state);
        last.is(&mutant);
        compiled += usize::from(last.survives(|| execute(&mutant, state)));
    });
    assert!(
        executions < 100 || compiled > executions / 50,
        "mutants hardly ever compile: {compiled} of {executions}"
    );
    println!("conditions: {executions} executions, {compiled} of them were evaluated");
}
