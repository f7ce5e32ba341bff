//! Explanations: the tree says what the answer says, and a remedy does what it says.

use std::collections::BTreeSet;
use std::sync::Arc;

use formwork_authz::{
    Change, Claim, Context, Decision, Explanation, Graph, Object, Relationship, Schema, Step, Subject,
};
use formwork_tenancy::testing::LongRound;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::naive::{Body, Facts, Form, Model, World, YES};
use crate::random::{Choices, IDS, TYPES};

const SCHEMA: &str = "
    use expiration
    caveat in_hours(hour int) { hour >= 8 && hour < 18 }
    definition user {}
    definition team { relation member: user | team#member }
    definition folder {
        relation parent: folder
        relation owner: user
        permission view = owner + parent->view
    }
    definition document {
        relation folder: folder
        relation viewer: user | user with in_hours | team#member | user with expiration
        relation signer: user
        relation banned: user
        permission edit = viewer & signer
        permission read = edit + folder->view - banned
        permission all_folders = folder.all(view)
    }";

const FACTS: [&str; 10] = [
    "document:7#folder@folder:plans",
    "document:7#viewer@team:eng#member",
    "document:7#viewer@user:guest[in_hours]",
    "document:7#viewer@user:gone[expiration:2020-01-01T00:00:00Z]",
    "document:7#banned@user:eve",
    "folder:plans#parent@folder:root",
    "folder:root#owner@user:anna",
    "folder:root#owner@user:eve",
    "team:eng#member@team:core#member",
    "team:core#member@user:carl",
];

fn graph() -> Graph {
    let schema = Schema::parse(SCHEMA).unwrap();
    Graph::load(schema, FACTS.iter().map(|fact| fact.parse::<Relationship>().unwrap()))
}

fn explain(graph: &Graph, question: &str) -> Explanation {
    let question: Relationship = question.parse().unwrap();
    graph.explain(&Context::new(), question.subject(), question.relation(), question.object()).unwrap()
}

#[track_caller]
fn check(question: &str, expected: &str) {
    assert_eq!(explain(&graph(), question).to_string().trim_end(), expected.trim(), "\n{question}");
}

#[test]
fn an_arrow_is_told_relationship_by_relationship() {
    check(
        "document:7#read@user:anna",
        "
allowed: user:anna has `read` on document:7

yes  document:7#read = (edit + folder->view) - banned
     ├─ yes  edit + folder->view
     │       └─ yes  document:7#folder@folder:plans
     │               └─ yes  folder:plans#view = owner + parent->view
     │                       └─ yes  folder:plans#parent@folder:root
     │                               └─ yes  folder:root#view = owner + parent->view
     │                                       └─ yes  folder:root#owner, 2 stored
     │                                               └─ yes  folder:root#owner@user:anna
     └─ but not
        └─ no   document:7#banned, 1 stored",
    );
}

#[test]
fn a_denial_tells_every_way_and_what_stands_in_it() {
    check(
        "document:7#read@user:eve",
        "
denied: user:eve does not have `read` on document:7

no   document:7#read = (edit + folder->view) - banned
     ├─ yes  edit + folder->view
     └─ but not
        └─ yes  document:7#banned, 1 stored
                └─ yes  document:7#banned@user:eve",
    );
    check(
        "document:7#edit@user:carl",
        "
denied: user:carl does not have `edit` on document:7

no   document:7#edit = viewer & signer
     ├─ yes  document:7#viewer, 3 stored
     └─ no   document:7#signer, nothing stored",
    );
}

#[test]
fn what_does_not_count_says_why() {
    check(
        "document:7#viewer@user:gone",
        "
denied: user:gone does not have `viewer` on document:7

no   document:7#viewer, 3 stored
     ├─ no   document:7#viewer@user:gone[expiration:2020-01-01T00:00:00Z], which has expired
     └─ no   document:7#viewer@team:eng#member
             └─ no   team:eng#member, 1 stored
                     └─ no   team:eng#member@team:core#member
                             └─ no   team:core#member, 1 stored",
    );
    check(
        "document:7#viewer@user:guest",
        "
conditional: user:guest may have `viewer` on document:7; it depends on `hour`

open document:7#viewer, 3 stored
     └─ open document:7#viewer@user:guest[in_hours], which depends on `hour`",
    );
    let late = Context::new().with("hour", 22);
    let (guest, document) = (Subject::new("user", "guest"), Object::new("document", 7));
    let text = graph().explain(&late, &guest, "viewer", &document).unwrap().to_string();
    assert!(text.contains("[in_hours], whose condition is not met"), "{text}");
}

#[test]
fn an_object_that_nobody_knows_is_told_by_its_name() {
    check(
        "document:new#all_folders@user:anna",
        "
denied: user:anna does not have `all_folders` on document:new

no   document:new#all_folders = folder.all(view)
     └─ no   document:new#folder, nothing stored",
    );
}

#[test]
fn programs_read_it_as_json() {
    let json = serde_json::to_value(explain(&graph(), "document:7#edit@user:carl")).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "decision": "denied",
            "subject": "user:carl", "permission": "edit", "object": "document:7",
            "relationships": [],
            "tree": {
                "permission": "edit", "object": "document:7", "rule": "viewer & signer", "holds": false,
                "below": [
                    {"permission": "viewer", "object": "document:7", "stored": 3, "holds": true},
                    {"permission": "signer", "object": "document:7", "stored": 0, "holds": false},
                ],
            },
        })
    );
}

#[test]
fn a_picture_has_a_box_for_each_step_and_a_dashed_line_to_what_is_taken_away() {
    let why = explain(&graph(), "document:7#read@user:eve");
    assert_eq!(
        why.to_mermaid(),
        "flowchart TD
  n0[\"document:7#35;read = (edit + folder-#gt;view) - banned\"]:::no
  n1[\"edit + folder-#gt;view\"]:::yes
  n0 --> n1
  n2[\"document:7#35;banned, 1 stored\"]:::yes
  n0 -. but not .-> n2
  n3[\"document:7#35;banned@user:eve\"]:::yes
  n2 --> n3
  classDef yes fill:#d5f0d5,stroke:#4a4;
  classDef no fill:#f8d7d4,stroke:#a44;
  classDef open fill:#fdf3c4,stroke:#aa4;
"
    );
    let dot = why.to_dot();
    assert!(
        dot.contains(
            "n0 [label=\"document:7#read = (edit + folder->view) - banned\", fillcolor=\"#f8d7d4\"]"
        ),
        "{dot}"
    );
    assert!(dot.contains("n0 -> n2 [style=dashed, label=\"but not\"]"), "{dot}");
}

#[test]
fn a_long_chain_and_a_long_list_are_cut_and_say_so() {
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let chain = (0..5_000).map(|n| {
        let (below, above) = (Object::new("folder", n), Object::new("folder", n + 1));
        Relationship::new(below, "parent", &above)
    });
    let graph =
        Graph::load(Arc::clone(&schema), chain.chain(["folder:5000#owner@user:anna".parse().unwrap()]));
    let why = explain(&graph, "folder:0#view@user:anna");
    assert_eq!((why.decision.clone(), why.relationships.len()), (Decision::Allowed, 5_001));
    assert!(depth(&why.tree) < 400, "{}", depth(&why.tree));
    assert!(depth(&explain(&graph, "folder:0#view@user:bob").tree) < 400);
    let teams = (0..500).map(|n| {
        Relationship::new(Object::new("document", 7), "viewer", Subject::userset("team", n, "member"))
    });
    let text = explain(&Graph::load(schema, teams), "document:7#viewer@user:bob").to_string();
    assert!(text.contains("… and 480 more"), "{text}");
}

fn depth(step: &Step) -> usize {
    1 + step.below.iter().map(depth).max().unwrap_or(0)
}

#[test]
fn remedies_name_what_suffices_nearest_first() {
    let graph = graph();
    let told = |question: &str| {
        let question: Relationship = question.parse().unwrap();
        let context = Context::new();
        graph.remedies(&context, question.subject(), question.relation(), question.object()).unwrap()
    };
    let bob = told("document:7#read@user:bob");
    assert_eq!(
        bob.to_string(),
        "each of these alone would allow it:
  touch  folder:plans#owner@user:bob
  touch  folder:root#owner@user:bob
"
    );
    // Carl is a viewer, and only a signature is missing.
    assert_eq!(
        told("document:7#edit@user:carl").to_string(),
        "each of these alone would allow it:\n  touch  document:7#signer@user:carl\n"
    );
    assert_eq!(
        told("document:7#read@user:eve").to_string(),
        "each of these alone would allow it:\n  delete document:7#banned@user:eve\n"
    );
    assert_eq!(told("document:7#edit@user:bob").to_string(), "no single relationship would allow it\n");
    // The form in which it may be stored, and what is there is replaced.
    let guest = told("document:7#viewer@user:guest");
    assert_eq!(guest.changes[0], Change::Touch("document:7#viewer@user:guest".parse().unwrap()));
    assert!(told("document:7#read@user:anna").changes.is_empty());
    let json = serde_json::to_value(&bob).unwrap();
    let touch = ["folder:plans#owner@user:bob", "folder:root#owner@user:bob"];
    assert_eq!(json, serde_json::json!({"touch": touch, "delete": [], "more": false}));
}

/// Of every step: below what holds, something holds; nothing below a "no" would have made it hold.
fn is_sound(step: &Step) -> Result<(), TestCaseError> {
    let positive = |step: &&Step| !matches!(step.claim, Claim::Except | Claim::More(_));
    match (&step.claim, step.holds) {
        (Claim::Permission { again: false, .. }, Some(true)) if !step.below.is_empty() => {
            prop_assert!(
                step.below.iter().filter(positive).all(|below| below.holds == Some(true)),
                "{}",
                step
            );
        }
        (Claim::Relationship { .. }, Some(false)) => {
            prop_assert!(
                step.below.iter().all(|below| below.holds != Some(true))
                    || step.below.is_empty()
                    || !counts(step)
            );
        }
        _ => {}
    }
    step.below.iter().try_for_each(is_sound)
}

fn counts(step: &Step) -> bool {
    matches!(&step.claim, Claim::Relationship { standing: formwork_authz::Standing::Counts, .. })
}

fn identity(fact: &Relationship) -> String {
    Relationship::new(fact.object(), fact.relation().to_owned(), fact.subject()).to_string()
}

struct Case {
    model: Model,
    facts: Facts,
    graph: Graph,
    world: World,
}

impl Case {
    fn holds(&self, facts: &Facts, question: &(Object, String, Subject)) -> bool {
        let objects: Vec<String> =
            TYPES.iter().flat_map(|name| IDS.iter().map(move |id| format!("{name}:{id}"))).collect();
        let (object, permission, subject) = question;
        let held = self.model.held(facts, &self.world, &subject.to_string(), &objects);
        held.get(&(object.to_string(), permission.clone())) == Some(&YES)
    }

    fn after(&self, change: &Change) -> Facts {
        let mut facts = self.facts.clone();
        match change {
            Change::Touch(fact) => facts.insert(identity(fact), fact.clone()),
            Change::Delete(fact) => facts.remove(&identity(fact)),
        };
        facts
    }

    /// The oracle says that each remedy is one, and that none which gives the subject itself something is left out.
    fn ask(&self, question: (Object, String, Subject), count: &mut Count) -> Result<(), TestCaseError> {
        let (object, permission, subject) = &question;
        let context = Context::from(self.world.values.clone()).at(self.world.now);
        let explained = self.graph.explain(&context, subject, permission, object).unwrap();
        let holds = match explained.decision {
            Decision::Allowed => Some(true),
            Decision::Denied => Some(false),
            Decision::Conditional { .. } => None,
        };
        prop_assert_eq!(explained.tree.holds, holds, "{}\n{}", explained, self.model);
        is_sound(&explained.tree)?;
        let remedies = self.graph.remedies(&context, subject, permission, object).unwrap();
        count.asked += 1;
        if holds == Some(true) {
            prop_assert!(remedies.changes.is_empty());
            return Ok(());
        }
        for change in &remedies.changes {
            let is_one = self.holds(&self.after(change), &question);
            prop_assert!(is_one, "{:?} for {:?}\n{}\n{:?}", change, question, self.model, self.facts);
            count.touched += usize::from(matches!(change, Change::Touch(_)));
            count.deleted += usize::from(matches!(change, Change::Delete(_)));
        }
        if remedies.more {
            return Ok(());
        }
        let told: BTreeSet<String> =
            remedies.changes.iter().map(|change| identity(change.relationship())).collect();
        // The oracle is slow: some of them.
        for fact in self.bare(subject).into_iter().skip(count.asked % 7).step_by(7) {
            if !told.contains(&identity(&fact)) {
                let change = Change::Touch(fact);
                let is_one = self.holds(&self.after(&change), &question);
                prop_assert!(
                    !is_one,
                    "not told: {:?} for {:?}\n{}\n{:?}",
                    change,
                    question,
                    self.model,
                    self.facts
                );
            }
        }
        let others = self.facts.values().filter(|fact| !told.contains(&identity(fact)));
        for fact in others.skip(count.asked % 7).step_by(7) {
            let change = Change::Delete(fact.clone());
            count.deletions += 1;
            count.untold += usize::from(self.holds(&self.after(&change), &question));
        }
        Ok(())
    }

    /// Every relationship that gives the subject a relation without more ado.
    fn bare(&self, subject: &Subject) -> Vec<Relationship> {
        let mut all = Vec::new();
        for (object_type, items) in &self.model.types {
            for item in items {
                let Body::Relation(forms) = &item.body else { continue };
                let bare = |form: &Form| {
                    form.subject == subject.subject_type() && form.condition.is_none() && !form.expiration
                };
                if forms.iter().any(bare) {
                    all.extend(IDS.iter().map(|id| {
                        let object = Object::new(object_type.clone(), id);
                        Relationship::new(object, item.name.clone(), subject)
                    }));
                }
            }
        }
        all
    }
}

#[derive(Default)]
struct Count {
    asked: usize,
    touched: usize,
    deleted: usize,
    deletions: usize,
    untold: usize,
}

fn compare(numbers: &[u16], count: &mut Count) -> Result<(), TestCaseError> {
    let mut choices = Choices(numbers.iter());
    let model = choices.model();
    let parsed = Schema::parse(&model.to_string());
    let schema = Arc::new(parsed.map_err(|error| TestCaseError::fail(format!("{error}\n{model}")))?);
    let loaded: Vec<Relationship> = (0..choices.below(25)).map(|_| choices.fact(&model)).collect();
    let facts: Facts = loaded
        .iter()
        .filter(|fact| model.has_place_for(fact))
        .map(|fact| (identity(fact), fact.clone()))
        .collect();
    let graph = Graph::load(schema, loaded);
    let world = choices.world();
    let case = Case { model, facts, graph, world };
    for subject in [Subject::new("user", "a"), Subject::new("user", "new")] {
        for (object_type, items) in &case.model.types {
            for item in items {
                let object = Object::new(object_type.clone(), choices.one_of(&IDS));
                case.ask((object, item.name.clone(), subject.clone()), count)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_remedy_is_one_and_none_for_the_subject_itself_is_left_out() {
    let round =
        LongRound::begin("remedies and the oracle", 12, if cfg!(debug_assertions) { 500 } else { 3_000 });
    let config = ProptestConfig {
        cases: round.count() as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let count = std::cell::RefCell::new(Count::default());
    let strategy = prop::collection::vec(any::<u16>(), 700);
    TestRunner::new(config).run(&strategy, |numbers| compare(&numbers, &mut count.borrow_mut())).unwrap();
    let Count { asked, touched, deleted, deletions, untold } = count.into_inner();
    println!(
        "{asked} questions, {touched} to touch, {deleted} to delete; {untold} of {deletions} deletions not told"
    );
    assert!(touched > asked / 10, "{touched} remedies of {asked} questions");
}
