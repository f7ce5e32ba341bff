//! The engine and the oracle agree on random schemas, relationships and changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use formwork_authz::{Change, Context, Decision, Graph, Object, Relationship, Schema, Subject};
use proptest::prelude::*;

use crate::naive::{Body, Expr, Item, Model};

/// Names, and the layer of exclusion on which each stands in every type.
const RELATIONS: [(&str, usize); 4] = [("parent", 0), ("r0", 0), ("r1", 0), ("r2", 1)];
const PERMISSIONS: [(&str, usize); 5] = [("p0", 0), ("p1", 0), ("p2", 1), ("p3", 1), ("p4", 2)];
const TYPES: [&str; 3] = ["t0", "t1", "t2"];
const IDS: [&str; 3] = ["a", "b", "c"];

/// Decisions taken one after the other from random numbers, so that a failure shrinks with them.
struct Choices<'a>(std::slice::Iter<'a, u16>);

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.0.next().map_or(0, |&n| n as usize % limit)
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn model(&mut self) -> Model {
        // Which names each type has is settled first: arrows and usersets refer to it.
        let names: Vec<(String, Vec<(&str, usize)>)> = TYPES
            .iter()
            .map(|name| {
                let all = RELATIONS.iter().chain(&PERMISSIONS).copied();
                let kept = all.filter(|(name, _)| *name == "parent" || self.below(5) > 0).collect();
                ((*name).to_owned(), kept)
            })
            .collect();
        let mut types = vec![("user".to_owned(), Vec::new())];
        for (name, items) in &names {
            let parents = self.parents();
            let items = items.iter().map(|&(item, layer)| {
                let body = if item == "parent" {
                    Body::Relation(parents.clone())
                } else if RELATIONS.contains(&(item, layer)) {
                    Body::Relation(self.subject_types(&names, layer))
                } else {
                    let own: Vec<(&str, usize)> = items.clone();
                    Body::Permission(self.expr(&own, &names, &parents, layer, 3))
                };
                Item { name: item.to_owned(), layer, body }
            });
            types.push((name.clone(), items.collect()));
        }
        Model { types }
    }

    fn parents(&mut self) -> Vec<String> {
        let first = self.below(TYPES.len());
        let mut parents = vec![TYPES[first].to_owned()];
        if self.below(2) == 0 {
            parents.push(TYPES[(first + 1) % TYPES.len()].to_owned());
        }
        parents
    }

    fn subject_types(&mut self, names: &[(String, Vec<(&str, usize)>)], layer: usize) -> Vec<String> {
        let mut types = BTreeSet::from(["user".to_owned()]);
        for _ in 0..self.below(4) {
            let (name, items) = &names[self.below(names.len())];
            let below: Vec<&str> = items.iter().filter(|item| item.1 <= layer).map(|item| item.0).collect();
            types.insert(match self.below(5) {
                0 => "user:*".to_owned(),
                1 => name.clone(),
                _ => format!("{name}#{}", self.one_of(&below)),
            });
        }
        types.into_iter().collect()
    }

    fn expr(
        &mut self,
        own: &[(&str, usize)],
        names: &[(String, Vec<(&str, usize)>)],
        parents: &[String],
        layer: usize,
        depth: usize,
    ) -> Expr {
        let choice = if depth == 0 { self.below(3) } else { self.below(8) };
        let inner = |choices: &mut Self| choices.expr(own, names, parents, layer, depth - 1);
        match choice {
            0 | 1 => {
                let below: Vec<&str> = own.iter().filter(|item| item.1 <= layer).map(|item| item.0).collect();
                Expr::Name(self.one_of(&below).to_owned())
            }
            2 => {
                let of_parents =
                    names.iter().filter(|(name, _)| parents.contains(name)).flat_map(|(_, items)| items);
                let below: Vec<&str> = of_parents.filter(|item| item.1 <= layer).map(|item| item.0).collect();
                Expr::Arrow("parent".to_owned(), self.one_of(&below).to_owned())
            }
            3 | 4 => Expr::Union(vec![inner(self), inner(self)]),
            5 => Expr::Intersection(vec![inner(self), inner(self)]),
            6 if layer > 0 => {
                let base = inner(self);
                let taken = self.expr(own, names, parents, layer - 1, depth - 1);
                Expr::Exclusion(Box::new(base), Box::new(taken))
            }
            6 => Expr::Intersection(vec![inner(self), inner(self), inner(self)]),
            _ if self.below(4) == 0 => Expr::Nil,
            _ => Expr::Union(vec![inner(self), inner(self), inner(self)]),
        }
    }

    /// Mostly what the schema has a place for, now and then what it has none for.
    fn fact(&mut self, model: &Model) -> Relationship {
        let (object_type, items) = &model.types[1 + self.below(TYPES.len())];
        let relations: Vec<&Item> =
            items.iter().filter(|item| matches!(item.body, Body::Relation(_))).collect();
        let item = self.one_of(&relations);
        let Body::Relation(types) = &item.body else { unreachable!() };
        let form = if self.below(20) == 0 { "user:*".to_owned() } else { self.one_of(types) };
        let subject = match form.split_once('#') {
            Some((name, relation)) => {
                Subject::userset(name.to_owned(), self.one_of(&IDS), relation.to_owned())
            }
            None if form == "user:*" => Subject::wildcard("user"),
            None => Subject::new(form, self.one_of(&IDS)),
        };
        Relationship::new(Object::new(object_type.clone(), self.one_of(&IDS)), item.name.clone(), subject)
    }
}

fn objects() -> Vec<String> {
    TYPES.iter().flat_map(|name| IDS.iter().map(move |id| format!("{name}:{id}"))).collect()
}

/// Asks everything there is to ask, and says how much that was.
fn agree(model: &Model, facts: &BTreeSet<Relationship>, graph: &Graph) -> Result<usize, TestCaseError> {
    let objects = objects();
    let mut subjects: Vec<String> =
        ["user:a", "user:b", "user:new", "user:*", "t1:a"].map(String::from).into();
    for name in ["r0", "r2", "p1", "p3"] {
        let types = TYPES.iter().filter(|object_type| model.item(object_type, name).is_some());
        subjects.extend(types.map(|object_type| format!("{object_type}:b#{name}")));
    }
    let mut asked = 0;
    let shown = || {
        let facts: Vec<String> = facts.iter().map(ToString::to_string).collect();
        format!("\n{model}\n{}", facts.join("\n"))
    };
    for subject in &subjects {
        let held = model.held(facts, subject, &objects);
        let parsed: Subject = subject.parse().unwrap();
        for (object_type, items) in &model.types {
            for item in items {
                let mut listed = Vec::new();
                for id in IDS {
                    let object = Object::new(object_type.clone(), id);
                    let expected = held.contains(&(object.to_string(), item.name.clone()));
                    let answer = graph.check(&parsed, &item.name, &object).unwrap();
                    prop_assert_eq!(
                        answer.is_allowed(),
                        expected,
                        "{}#{}@{}{}",
                        object,
                        item.name,
                        subject,
                        shown()
                    );
                    asked += 1;
                    if expected {
                        proves(facts, graph, &parsed, item, &object)?;
                        listed.push(object);
                    }
                }
                let found = graph.lookup_objects(&parsed, &item.name, object_type).unwrap();
                prop_assert_eq!(found, listed, "{}#{}@{}{}", object_type, item.name, subject, shown());
            }
        }
    }
    Ok(asked)
}

/// What explains an answer is stored, and gives the answer without the rest; an exclusion from an
/// exclusion, which the last layer has, can need what is not in the explanation.
fn proves(
    facts: &BTreeSet<Relationship>,
    graph: &Graph,
    subject: &Subject,
    item: &Item,
    object: &Object,
) -> Result<(), TestCaseError> {
    let permission = item.name.as_str();
    let explanation = graph.explain(&Context::new(), subject, permission, object).unwrap();
    prop_assert_eq!(&explanation.decision, &Decision::Allowed);
    let proof = explanation.relationships;
    prop_assert!(proof.iter().all(|fact| facts.contains(fact)), "{:?}", proof);
    if item.layer > 1 {
        return Ok(());
    }
    let alone = Graph::load(Arc::clone(graph.schema()), proof.clone());
    let answer = alone.check(subject, permission, object).unwrap();
    prop_assert_eq!(answer, Decision::Allowed, "{}#{}@{} by {:?}", object, permission, subject, proof);
    Ok(())
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

fn compare(numbers: &[u16]) -> Result<(), TestCaseError> {
    let mut choices = Choices(numbers.iter());
    let model = choices.model();
    let schema =
        Arc::new(Schema::parse(&model.to_string()).map_err(|error| TestCaseError::fail(error.to_string()))?);
    let mut facts = BTreeSet::new();
    let loaded: Vec<Relationship> = (0..choices.below(30)).map(|_| choices.fact(&model)).collect();
    facts.extend(loaded.iter().cloned());
    let mut graph = Graph::load(Arc::clone(&schema), loaded);
    let mut asked = agree(&model, &facts, &graph)?;
    for _ in 0..choices.below(4) {
        let stored: Vec<Relationship> = facts.iter().cloned().collect();
        let changes: Vec<Change> = (0..1 + choices.below(6))
            .map(|_| match choices.below(3) {
                0 if !stored.is_empty() => Change::Delete(choices.one_of(&stored)),
                1 => Change::Delete(choices.fact(&model)),
                _ => Change::Touch(choices.fact(&model)),
            })
            .collect();
        for change in &changes {
            match change {
                Change::Touch(fact) => facts.insert(fact.clone()),
                Change::Delete(fact) => facts.remove(fact),
            };
        }
        graph = graph.apply(&changes);
        let placed = facts.iter().filter(|fact| model.has_place_for(fact)).count();
        prop_assert_eq!(graph.len(), placed);
    }
    asked += agree(&model, &facts, &graph)?;
    ASKED.fetch_add(asked, Ordering::Relaxed);
    Ok(())
}

#[test]
fn engine_and_oracle_agree() {
    let strategy = prop::collection::vec(any::<u16>(), 500);
    let mut runner = prop::test_runner::TestRunner::new(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner.run(&strategy, |numbers| compare(&numbers)).unwrap();
    let asked = ASKED.load(Ordering::Relaxed);
    assert!(asked > 50_000, "only {asked} questions were asked");
}
