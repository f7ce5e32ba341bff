//! Mutations of relationships: what is read says what it read, and what is refused has its place in the text.

use std::str::FromStr;
use std::sync::LazyLock;

use formwork_authz::{Graph, Object, ParseError, Relationship, Schema, Subject};

use super::mutate;

const WORDS: [&str; 24] = [
    ":",
    "#",
    "@",
    "*",
    "[",
    "]",
    "{}",
    "[only:{",
    "\"}",
    "[expiration:",
    "2026-01-31T12:00:00Z",
    "+99:99",
    "#...",
    "user:",
    "document",
    " ",
    "\n",
    "\t",
    "é",
    "\u{0}",
    "\\u0041",
    "1e999",
    "{\"a\":[[[[",
    "/",
];

static SEEDS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let text = include_str!("../../corpus/relationships.txt");
    text.lines().filter(|line| !line.is_empty()).collect()
});

/// A graph that has a place for many of them.
static GRAPH: LazyLock<Graph> = LazyLock::new(|| {
    let schema = Schema::parse(
        "use expiration
        definition user {}
        caveat only(a any, at int, list list<string>) { at > 0 && list.size() > 1 && a != null }
        definition group { relation member: user | group#member }
        definition document {
            relation viewer: user | user:* | group#member | user with only | user with expiration
                | user:* with only | group#member with only and expiration
            permission view = viewer
        }",
    );
    Graph::load(schema.unwrap(), [])
});

/// Tells whether it is a relationship.
pub(super) fn execute(text: &str) -> bool {
    comes_back::<Object>(text);
    comes_back::<Subject>(text);
    let Some(fact) = comes_back::<Relationship>(text) else { return false };
    fact.validate().unwrap();
    assert_eq!(serde_json::from_str::<Relationship>(&serde_json::to_string(&fact).unwrap()).unwrap(), fact);
    let graph = GRAPH.apply(&[formwork_authz::Change::Touch(fact.clone())]);
    assert_eq!((graph.len(), graph.ignored()), if graph.is_empty() { (0, 1) } else { (1, 0) });
    if let Ok(answer) = graph.check(fact.subject(), fact.relation(), fact.object()) {
        // Without terms it holds, and with them it can.
        let plain = fact.condition().is_none() && fact.expires_at().is_none();
        assert!(!plain || graph.is_empty() || answer.is_allowed(), "{fact}");
    }
    true
}

fn comes_back<T>(text: &str) -> Option<T>
where
    T: FromStr<Err = ParseError> + ToString + PartialEq + std::fmt::Debug,
{
    match text.parse::<T>() {
        Ok(read) => {
            let written = read.to_string();
            assert_eq!(written.parse::<T>().as_ref(), Ok(&read), "{written:?}");
            Some(read)
        }
        Err(error) => {
            assert!(error.text() == text && error.column() <= text.chars().count() + 1, "{error}");
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

#[test]
fn mutated_relationships_break_nothing() {
    let mut readable = 0;
    let executions = super::round("mutated relationships", |state, last| {
        let seed = SEEDS[super::next(state) as usize % SEEDS.len()];
        let mutant = mutate::text(seed, &SEEDS, &WORDS, state);
        last.is(&mutant);
        readable += usize::from(last.survives(|| execute(&mutant)));
    });
    assert!(
        executions < 100 || readable > executions / 50,
        "mutants are hardly ever read: {readable} of {executions}"
    );
    println!("relationships: {executions} executions, {readable} of them could be read");
}
