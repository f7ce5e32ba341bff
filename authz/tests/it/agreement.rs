//! The engine and the oracle agree on random schemas, relationships, contexts and changes, in every
//! way in which the engine can be asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use formwork_authz::{
    Change, Context, Cursor, Decision, Expansion, FoundSubject, Graph, Object, Page, Relationship, Schema,
    Subject, Tree,
};
use formwork_tenancy::testing::LongRound;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::naive::{Facts, Held, Holds, Item, MAYBE, Model, NO, World, YES};
use crate::random::{Choices, IDS, TYPES};

/// One round of questions: everything that there is to ask in one world.
struct Round<'a> {
    model: &'a Model,
    facts: &'a Facts,
    graph: &'a Graph,
    world: World,
    context: Context,
    objects: Vec<String>,
    asked: usize,
}

fn holds(decision: &Decision) -> Holds {
    match decision {
        Decision::Denied => NO,
        Decision::Conditional { .. } => MAYBE,
        Decision::Allowed => YES,
    }
}

impl<'a> Round<'a> {
    fn new(model: &'a Model, facts: &'a Facts, graph: &'a Graph, world: World) -> Self {
        let context = Context::from(world.values.clone()).at(world.now);
        let objects =
            TYPES.iter().flat_map(|name| IDS.iter().map(move |id| format!("{name}:{id}"))).collect();
        Self { model, facts, graph, world, context, objects, asked: 0 }
    }

    fn shown(&self) -> String {
        let facts: Vec<String> = self.facts.values().map(ToString::to_string).collect();
        format!("\n{:?}\n{}\n{}", self.world, self.model, facts.join("\n"))
    }

    fn held(&self, subject: &str) -> Held {
        self.model.held(self.facts, &self.world, subject, &self.objects)
    }

    fn run(&mut self) -> Result<(), TestCaseError> {
        let mut subjects: Vec<String> =
            ["user:a", "user:b", "user:c", "user:new", "user:*", "t1:a", "t0:new"].map(String::from).into();
        for name in ["r0", "r2", "p1", "p3"] {
            let types = TYPES.iter().filter(|object_type| self.model.item(object_type, name).is_some());
            subjects.extend(types.map(|object_type| format!("{object_type}:b#{name}")));
        }
        let mut all = BTreeMap::new();
        for subject in &subjects {
            let held = self.held(subject);
            self.ask_about(subject, &held)?;
            all.insert(subject.clone(), held);
        }
        self.subjects_of_objects(&all)?;
        self.usersets_of_objects()?;
        self.trees(&all)
    }

    fn ask_about(&mut self, subject: &str, held: &Held) -> Result<(), TestCaseError> {
        let parsed: Subject = subject.parse().unwrap();
        for (object_type, items) in &self.model.types {
            for item in items {
                let objects: Vec<Object> =
                    IDS.iter().map(|id| Object::new(object_type.clone(), id)).collect();
                let expected: Vec<Holds> = objects
                    .iter()
                    .map(|object| held.get(&(object.to_string(), item.name.clone())).copied().unwrap_or(NO))
                    .collect();
                let many = self.graph.check_many_in(&self.context, &parsed, &item.name, &objects).unwrap();
                for ((object, &expected), many) in objects.iter().zip(&expected).zip(&many) {
                    let question = format!("{object}#{}@{subject}", item.name);
                    self.check(&parsed, item, object, expected, &question)?;
                    prop_assert_eq!(holds(many), expected, "among many: {}{}", question, self.shown());
                }
                self.list(&parsed, item, &objects, &expected)?;
                self.filter(&parsed, item, &objects, &expected)?;
            }
        }
        for object in ["t0:a", "t1:b"].map(|text| text.parse::<Object>().unwrap()) {
            for (name, decision) in self.graph.permissions(&self.context, &parsed, &object).unwrap() {
                let expected = held.get(&(object.to_string(), name.to_owned())).copied().unwrap_or(NO);
                prop_assert_eq!(
                    holds(&decision),
                    expected,
                    "{}#{}@{}{}",
                    object,
                    name,
                    subject,
                    self.shown()
                );
            }
        }
        Ok(())
    }

    fn check(
        &mut self,
        subject: &Subject,
        item: &Item,
        object: &Object,
        expected: Holds,
        question: &str,
    ) -> Result<(), TestCaseError> {
        let decision = self.graph.check_in(&self.context, subject, &item.name, object).unwrap();
        self.asked += 1;
        prop_assert_eq!(holds(&decision), expected, "{}{}", question, self.shown());
        if let Decision::Conditional { missing } = &decision {
            prop_assert!(!missing.is_empty(), "{}{}", question, self.shown());
            prop_assert!(missing.iter().all(|name| !self.world.values.contains_key(&**name)));
        }
        let explained = self.graph.explain(&self.context, subject, &item.name, object).unwrap();
        prop_assert_eq!(holds(&explained.decision), expected, "explained: {}{}", question, self.shown());
        if expected == YES {
            self.proves(subject, item, object, explained.relationships, question)?;
        } else {
            prop_assert!(explained.tried.iter().any(|tried| tried.holds != Some(true)));
        }
        let ids = (self.graph.subject(subject).unwrap(), self.graph.object(object).unwrap());
        if self.graph.object_of(ids.1).is_some() {
            let permission = self.graph.permission(object.object_type(), &item.name).unwrap();
            let decision = self.graph.check_ids(ids.0, permission, ids.1, &self.context).unwrap();
            prop_assert_eq!(holds(&decision), expected, "by ids: {}{}", question, self.shown());
        }
        Ok(())
    }

    /// What explains an answer is stored, and gives the answer without the rest. Where relationships can
    /// take away by being absent, the explanation is not enough: under an exclusion from an exclusion,
    /// which the last layer has, and under one from `.all()`, which fewer objects make easier to hold.
    fn proves(
        &self,
        subject: &Subject,
        item: &Item,
        object: &Object,
        proof: Vec<Relationship>,
        question: &str,
    ) -> Result<(), TestCaseError> {
        prop_assert!(
            proof.iter().all(|fact| self.facts.values().any(|stored| stored == fact)),
            "{:?}",
            proof
        );
        let all = self.model.to_string().contains(".all(");
        if item.layer > 1 || (item.layer == 1 && all) {
            return Ok(());
        }
        let alone = Graph::load(Arc::clone(self.graph.schema()), proof.clone());
        let answer = alone.check_in(&self.context, subject, &item.name, object).unwrap();
        prop_assert_eq!(answer, Decision::Allowed, "{} by {:?}{}", question, proof, self.shown());
        Ok(())
    }

    fn list(
        &self,
        subject: &Subject,
        item: &Item,
        objects: &[Object],
        expected: &[Holds],
    ) -> Result<(), TestCaseError> {
        let object_type = objects[0].object_type();
        let ask = |after: Option<&Cursor>, limit| -> Page {
            self.graph
                .lookup_objects_in(&self.context, subject, &item.name, object_type, after, limit)
                .unwrap()
        };
        // What is asked about holds its own even when nobody knows it: then it is listed as well.
        let known = |found: Vec<Object>| -> Vec<Object> {
            found.into_iter().filter(|object| objects.contains(object)).collect()
        };
        let wanted = |value: Holds| -> Vec<Object> {
            let those = objects.iter().zip(expected).filter(move |(_, holds)| **holds == value);
            those.map(|(object, _)| object.clone()).collect()
        };
        let whole = ask(None, usize::MAX);
        prop_assert_eq!(&whole.next, &None);
        let shown = || format!("{object_type}#{}@{subject}{}", item.name, self.shown());
        prop_assert_eq!(known(whole.items.clone()), wanted(YES), "{}", shown());
        prop_assert_eq!(known(whole.conditional.clone()), wanted(MAYBE), "{}", shown());
        let (mut pages, mut after) = ((Vec::new(), Vec::new()), None);
        loop {
            let page = ask(after.as_ref(), 1);
            pages.0.extend(page.items);
            pages.1.extend(page.conditional);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(pages, (whole.items, whole.conditional), "in pages: {}", shown());
        Ok(())
    }

    /// A page of a list, filtered by ids.
    fn filter(
        &self,
        subject: &Subject,
        item: &Item,
        objects: &[Object],
        expected: &[Holds],
    ) -> Result<(), TestCaseError> {
        let subject_id = self.graph.subject(subject).unwrap();
        let permission = self.graph.permission(objects[0].object_type(), &item.name).unwrap();
        let known = objects.iter().zip(expected).filter_map(|(object, &holds)| {
            let id = self.graph.object(object).unwrap();
            self.graph.object_of(id).map(|_| (id, holds))
        });
        let known: Vec<_> = known.collect();
        let ids: Vec<_> = known.iter().map(|(id, _)| *id).collect();
        let kept = self.graph.filter_ids(subject_id, permission, &ids, &self.context).unwrap();
        let wanted: Vec<_> = known.iter().filter(|(_, holds)| *holds == YES).map(|(id, _)| *id).collect();
        prop_assert_eq!(kept, wanted, "filtered: {}@{}{}", item.name, subject, self.shown());
        Ok(())
    }

    /// One subject a page, and all of them at once.
    fn paged(&self, object: &Object, item: &Item, whole: &Page<FoundSubject>) -> Result<(), TestCaseError> {
        let (mut items, mut conditional, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = self
                .graph
                .lookup_subjects(&self.context, object, &item.name, ("user", None), after.as_ref(), 1)
                .unwrap();
            items.extend(page.items);
            conditional.extend(page.conditional);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let texts = |found: &[FoundSubject]| format!("{found:?}");
        prop_assert_eq!(texts(&items), texts(&whole.items), "in pages: {}#{}", object, item.name);
        prop_assert_eq!(texts(&conditional), texts(&whole.conditional), "in pages: {}#{}", object, item.name);
        Ok(())
    }

    /// Who is listed holds it, who is not does not, and everyone of a wildcard but its exceptions.
    fn subjects_of_objects(&mut self, all: &BTreeMap<String, Held>) -> Result<(), TestCaseError> {
        for object in self.objects.clone() {
            let parsed: Object = object.parse().unwrap();
            let items = self.model.types.iter().filter(|(name, _)| name == parsed.object_type());
            for item in items.flat_map(|(_, items)| items) {
                let found = self.graph.lookup_subjects(
                    &self.context,
                    &parsed,
                    &item.name,
                    ("user", None),
                    None,
                    usize::MAX,
                );
                let found = found.unwrap();
                self.paged(&parsed, item, &found)?;
                let named = |subject: &str| {
                    let is = |found: &&FoundSubject| found.subject.to_string() == subject;
                    let yes = found.items.iter().find(is).map(|found| (YES, found));
                    yes.or_else(|| found.conditional.iter().find(is).map(|found| (MAYBE, found)))
                };
                let everyone = named("user:*");
                for subject in ["user:a", "user:b", "user:c", "user:new", "user:*"] {
                    let expected =
                        all[subject].get(&(object.clone(), item.name.clone())).copied().unwrap_or(NO);
                    let listed = match (named(subject), everyone) {
                        (Some((value, _)), _) => value,
                        (None, Some((_, found)))
                            if found.except.iter().any(|one| one.to_string() == subject) =>
                        {
                            NO
                        }
                        (None, Some((value, _))) => value,
                        (None, None) => NO,
                    };
                    let shown = || format!("{object}#{}@{subject}{}", item.name, self.shown());
                    prop_assert_eq!(listed, expected, "subjects: {}", shown());
                }
                self.asked += 1;
            }
        }
        Ok(())
    }

    fn usersets_of_objects(&mut self) -> Result<(), TestCaseError> {
        for (userset_type, name) in [("t0", "r0"), ("t1", "p1")] {
            if self.model.item(userset_type, name).is_none() {
                continue;
            }
            let helds: Vec<(Subject, Held)> = IDS
                .iter()
                .map(|id| Subject::userset(userset_type, id, name))
                .map(|subject| (subject.clone(), self.held(&subject.to_string())))
                .collect();
            for object in self.objects.clone() {
                let parsed: Object = object.parse().unwrap();
                let items = self.model.types.iter().filter(|(name, _)| name == parsed.object_type());
                for item in items.flat_map(|(_, items)| items) {
                    let found = self.graph.lookup_subjects(
                        &self.context,
                        &parsed,
                        &item.name,
                        (userset_type, Some(name)),
                        None,
                        usize::MAX,
                    );
                    let found = found.unwrap();
                    let listed = |found: Vec<FoundSubject>| -> Vec<Subject> {
                        found.into_iter().map(|found| found.subject).collect()
                    };
                    let wanted = |value: Holds| -> Vec<Subject> {
                        let holds = |held: &Held| {
                            held.get(&(object.clone(), item.name.clone())).copied() == Some(value)
                        };
                        helds
                            .iter()
                            .filter(|(_, held)| holds(held))
                            .map(|(subject, _)| subject.clone())
                            .collect()
                    };
                    let shown = || format!("{object}#{}@{userset_type}#{name}{}", item.name, self.shown());
                    prop_assert_eq!(listed(found.items), wanted(YES), "usersets: {}", shown());
                    prop_assert_eq!(listed(found.conditional), wanted(MAYBE), "usersets: {}", shown());
                    self.asked += 1;
                }
            }
        }
        Ok(())
    }

    /// A tree, evaluated by itself, gives the answer.
    fn trees(&mut self, all: &BTreeMap<String, Held>) -> Result<(), TestCaseError> {
        for object in ["t0:a", "t1:a", "t2:a"].map(|text| text.parse::<Object>().unwrap()) {
            let items = self.model.types.iter().filter(|(name, _)| name == object.object_type());
            for item in items.flat_map(|(_, items)| items) {
                let expansion = self.graph.expand(&item.name, &object).unwrap();
                let mut open = BTreeMap::new();
                collect(&expansion, &mut open);
                for subject in ["user:a", "user:new", "t1:a"] {
                    let found = self.evaluate(&open, subject);
                    let key = (object.to_string(), item.name.clone());
                    let expected = all[subject].get(&key).copied().unwrap_or(NO);
                    let value = found.get(&key).copied().unwrap_or(NO);
                    prop_assert_eq!(
                        value,
                        expected,
                        "tree of {:?} for {}{}",
                        expansion,
                        subject,
                        self.shown()
                    );
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, open: &BTreeMap<(String, String), &Tree>, subject: &str) -> Held {
        let mut held = Held::new();
        for layer in 0..=self.model.layers() {
            let mut changed = true;
            while std::mem::take(&mut changed) {
                for (key, tree) in open {
                    let object_type = key.0.split(':').next().unwrap();
                    if self.model.item(object_type, &key.1).unwrap().layer == layer {
                        let value = self.value(tree, &key.0, subject, &held);
                        changed |= held.insert(key.clone(), value).unwrap_or(NO) != value;
                    }
                }
            }
        }
        held
    }

    fn value(&self, tree: &Tree, object: &str, subject: &str, held: &Held) -> Holds {
        let of = |expansion: &Expansion| {
            held.get(&(expansion.object.to_string(), expansion.permission.clone())).copied().unwrap_or(NO)
        };
        let each = |tree: &Tree| self.value(tree, object, subject, held);
        match tree {
            Tree::Nobody => NO,
            Tree::Itself => YES * Holds::from(object == subject),
            Tree::Stored { relationships, .. } => {
                let each = relationships.iter().map(|fact| {
                    let named = fact.subject();
                    let hit = named.to_string() == subject
                        || (named.is_wildcard()
                            && subject.starts_with(&format!("{}:", named.subject_type())));
                    let userset = named.relation().map_or(NO, |relation| {
                        held.get(&(named.object().to_string(), relation.to_owned())).copied().unwrap_or(NO)
                    });
                    self.world.counts(fact).min(if hit { YES } else { userset })
                });
                each.max().unwrap_or(NO)
            }
            Tree::Computed(expansion) => of(expansion),
            Tree::Any(over) => {
                let each = over
                    .iter()
                    .map(|(fact, expansion)| self.world.counts(fact).min(expansion.as_ref().map_or(NO, of)));
                each.max().unwrap_or(NO)
            }
            Tree::All(over) => {
                let each = over
                    .iter()
                    .map(|(fact, expansion)| self.world.counts(fact).min(expansion.as_ref().map_or(NO, of)));
                let exists = each.max().unwrap_or(NO);
                let all = over.iter().map(|(fact, expansion)| {
                    expansion.as_ref().map_or(NO, of).max(YES - self.world.counts(fact))
                });
                all.fold(exists, Holds::min)
            }
            Tree::Union(trees) => trees.iter().map(each).max().unwrap_or(NO),
            Tree::Intersection(trees) => trees.iter().map(each).min().unwrap_or(NO),
            Tree::Exclusion(base, taken) => each(base).min(YES - each(taken)),
            Tree::Conditional(tree, name) => each(tree).min(self.world.condition(name)),
        }
    }
}

/// The open parts of a tree, by object and permission.
fn collect<'t>(expansion: &'t Expansion, open: &mut BTreeMap<(String, String), &'t Tree>) {
    let Some(tree) = &expansion.tree else { return };
    open.insert((expansion.object.to_string(), expansion.permission.clone()), tree);
    let mut todo = vec![tree];
    while let Some(tree) = todo.pop() {
        match tree {
            Tree::Nobody | Tree::Itself => {}
            Tree::Stored { usersets, .. } => usersets.iter().for_each(|userset| collect(userset, open)),
            Tree::Computed(expansion) => collect(expansion, open),
            Tree::Any(over) | Tree::All(over) => {
                over.iter()
                    .filter_map(|(_, expansion)| expansion.as_ref())
                    .for_each(|part| collect(part, open));
            }
            Tree::Union(trees) | Tree::Intersection(trees) => todo.extend(trees),
            Tree::Exclusion(base, taken) => todo.extend([&**base, &**taken]),
            Tree::Conditional(tree, _) => todo.push(tree),
        }
    }
}

/// Without condition and expiry: which relationship it is.
fn identity(fact: &Relationship) -> String {
    Relationship::new(fact.object(), fact.relation().to_owned(), fact.subject()).to_string()
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

fn compare(numbers: &[u16]) -> Result<(), TestCaseError> {
    let mut choices = Choices(numbers.iter());
    let model = choices.model();
    let parsed = Schema::parse(&model.to_string());
    let schema = Arc::new(parsed.map_err(|error| TestCaseError::fail(format!("{error}\n{model}")))?);
    let loaded: Vec<Relationship> = (0..choices.below(30)).map(|_| choices.fact(&model)).collect();
    // Of one relationship the last one counts that there is a place for.
    let mut facts: Facts = loaded
        .iter()
        .filter(|fact| model.has_place_for(fact))
        .map(|fact| (identity(fact), fact.clone()))
        .collect();
    let mut graph = Graph::load(Arc::clone(&schema), loaded);
    let mut round = Round::new(&model, &facts, &graph, choices.world());
    round.run()?;
    let mut asked = round.asked;
    for _ in 0..choices.below(4) {
        let stored: Vec<Relationship> = facts.values().cloned().collect();
        let changes: Vec<Change> = (0..1 + choices.below(6))
            .map(|_| match choices.below(3) {
                0 if !stored.is_empty() => Change::Delete(choices.one_of(&stored)),
                1 => Change::Delete(choices.fact(&model)),
                _ => Change::Touch(choices.fact(&model)),
            })
            .collect();
        for change in &changes {
            match change {
                Change::Touch(fact) => facts.insert(identity(fact), fact.clone()),
                Change::Delete(fact) => facts.remove(&identity(fact)),
            };
        }
        graph = graph.apply(&changes);
        let placed = facts.values().filter(|fact| model.has_place_for(fact)).count();
        prop_assert_eq!(graph.len(), placed);
    }
    let mut round = Round::new(&model, &facts, &graph, choices.world());
    round.run()?;
    asked += round.asked;
    // For one question only: what the last one knew is as it was.
    let besides: Vec<Relationship> = (0..choices.below(4)).map(|_| choices.fact(&model)).collect();
    let mut with = facts.clone();
    with.extend(besides.iter().map(|fact| (identity(fact), fact.clone())));
    let contextual = graph.apply(&besides.into_iter().map(Change::Touch).collect::<Vec<_>>());
    let world = choices.world();
    for (facts, graph) in [(&with, &contextual), (&facts, &graph)] {
        let mut round = Round::new(&model, facts, graph, world.clone());
        round.ask_about("user:a", &round.held("user:a"))?;
        asked += round.asked;
    }
    ASKED.fetch_add(asked, Ordering::Relaxed);
    Ok(())
}

#[test]
fn engine_and_oracle_agree() {
    let long = if cfg!(debug_assertions) { 2_000 } else { 6_000 };
    let round = LongRound::begin("random questions to engine and oracle", 160, long);
    let seed = std::env::var("FORMWORK_SEED").ok().and_then(|seed| seed.parse().ok());
    let strategy = prop::collection::vec(any::<u16>(), 800);
    let config = ProptestConfig {
        cases: round.count() as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = match seed {
        // The same questions again.
        Some(seed) => TestRunner::new_with_rng(
            config,
            TestRng::from_seed(RngAlgorithm::XorShift, &u128::to_le_bytes(seed)),
        ),
        None => TestRunner::new(config),
    };
    runner.run(&strategy, |numbers| compare(&numbers)).unwrap();
    let asked = ASKED.load(Ordering::Relaxed);
    println!("{asked} questions, each asked in several ways");
    assert!(asked > 200_000, "only {asked} questions were asked");
}
