//! SpiceDB's scenarios: their assertions, and what its consistency suite derives from each file.

use std::collections::BTreeSet;

use formwork_authz::{
    CheckError, Context, Decision, Expansion, Graph, Object, Relationship, Subject, Tree,
    files::{Question, Scenario},
};

use crate::place::{Place, Stored};
use crate::report::Report;

pub(crate) fn run(case: &str, text: &str, place: &Place, report: &mut Report) {
    let scenario = match Scenario::read(case, text, &mut |_| None) {
        Ok(scenario) => scenario,
        Err(error) => return report.fail(case, format!("the file is refused: {error}")),
    };
    let stored = &scenario.relationships;
    for one in stored {
        let again = one.to_string().parse::<Relationship>();
        report.expect(case, &format!("`{one}` written and read back"), &Ok(one.clone()), &again);
    }
    let there = place.store(&scenario.schema, stored.clone());
    report.expect(case, "relationships without a place in the schema", &0, &there.graph().ignored());
    assertions(case, &scenario, &there, report);
    derived(case, &there, stored, report);
}

fn assertions(case: &str, scenario: &Scenario, there: &Stored<'_>, report: &mut Report) {
    for one in scenario.tests.iter().flat_map(|test| &test.expectations) {
        let Question::Check { object, permission, subject } = &one.question else {
            report.fail(case, format!("line {}: a list", one.line));
            continue;
        };
        let context = one.context.clone().into();
        let given = there.graph().check_in(&context, subject, permission, object);
        report.expect(case, &one.question.to_string(), &one.answer.to_string().as_str(), &word(&given));
        there.check(case, &context, subject, permission, object, report);
    }
}

fn word(given: &Result<Decision, CheckError>) -> &'static str {
    match given {
        Ok(Decision::Allowed) => "allowed",
        Ok(Decision::Conditional { .. }) => "conditional",
        Ok(Decision::Denied) => "denied",
        Err(_) => "an error",
    }
}

/// Every subject that is named anywhere, and one that is not, against every permission of every object.
fn derived(case: &str, there: &Stored<'_>, stored: &[Relationship], report: &mut Report) {
    let graph = &**there.graph();
    let schema = graph.schema();
    let mut subjects: BTreeSet<String> = stored.iter().map(|one| one.subject().to_string()).collect();
    let types: BTreeSet<String> = stored.iter().map(|one| one.subject().subject_type().to_owned()).collect();
    subjects.extend(types.iter().map(|name| format!("{name}:nobody_of_this_name")));
    let subjects: Vec<Subject> = subjects.iter().map(|text| text.parse().unwrap()).collect();
    let objects: BTreeSet<String> = stored.iter().map(|one| one.object().to_string()).collect();
    let objects: Vec<Object> = objects.iter().map(|text| text.parse().unwrap()).collect();
    for object_type in schema.object_types() {
        let of_type: Vec<Object> =
            objects.iter().filter(|object| object.object_type() == object_type).cloned().collect();
        for permission in schema.relations(object_type).chain(schema.permissions(object_type)) {
            for subject in &subjects {
                let checks: Vec<_> =
                    of_type.iter().map(|object| graph.check(subject, permission, object).unwrap()).collect();
                let many = graph.check_many(subject, permission, &of_type).unwrap();
                report.expect(
                    case,
                    &format!("{subject} {permission} {object_type}: one by one and together"),
                    &checks,
                    &many,
                );
                objects_of(case, graph, subject, permission, object_type, &of_type, &checks, report);
                there.objects(case, subject, permission, object_type, report);
                for object in &of_type {
                    there.check(case, &Context::new(), subject, permission, object, report);
                }
            }
            for object in &of_type {
                subjects_of(case, graph, object, permission, &subjects, &types, report);
                let reached = leaves(&graph.expand(permission, object).unwrap());
                for (subject, decision) in
                    subjects.iter().map(|one| (one, graph.check(one, permission, object)))
                {
                    let named = reached.contains(&subject.to_string())
                        || reached
                            .contains(&Subject::wildcard(subject.subject_type().to_owned()).to_string());
                    let itself = subject.object() == object || subject.relation().is_some();
                    if decision.unwrap() != Decision::Denied && !named && !itself {
                        report
                            .fail(case, format!("{object} {permission}: {subject} is not in the expansion"));
                    }
                }
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one question and its answers")]
fn objects_of(
    case: &str,
    graph: &Graph,
    subject: &Subject,
    permission: &str,
    object_type: &str,
    objects: &[Object],
    checks: &[Decision],
    report: &mut Report,
) {
    let having = |wanted: fn(&Decision) -> bool| -> BTreeSet<String> {
        let those = objects.iter().zip(checks).filter(|(_, decision)| wanted(decision));
        those.map(|(object, _)| object.to_string()).collect()
    };
    let expected = (having(Decision::is_allowed), having(Decision::is_conditional));
    for limit in [usize::MAX, 2, 1] {
        let (mut allowed, mut conditional, mut after) = (BTreeSet::new(), BTreeSet::new(), None);
        loop {
            let page = graph
                .lookup_objects_in(&Context::new(), subject, permission, object_type, after.as_ref(), limit)
                .unwrap();
            // What a subject is of itself may be on objects that nothing is stored about.
            let known = |found: &&Object| objects.contains(found);
            allowed.extend(page.items.iter().filter(known).map(ToString::to_string));
            conditional.extend(page.conditional.iter().filter(known).map(ToString::to_string));
            match page.next {
                None => break,
                next => after = next,
            }
        }
        let what = format!("objects of {subject} {permission} {object_type} in pages of {limit}");
        report.expect(case, &what, &expected, &(allowed, conditional));
    }
}

fn subjects_of(
    case: &str,
    graph: &Graph,
    object: &Object,
    permission: &str,
    subjects: &[Subject],
    types: &BTreeSet<String>,
    report: &mut Report,
) {
    for subject_type in types {
        for limit in [usize::MAX, 2] {
            let (mut found, mut maybe, mut except, mut after) =
                (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), None);
            loop {
                let wanted = (subject_type.as_str(), None);
                let page = graph
                    .lookup_subjects(&Context::new(), object, permission, wanted, after.as_ref(), limit)
                    .unwrap();
                for one in &page.items {
                    found.insert(one.subject.to_string());
                    except.extend(one.except.iter().map(ToString::to_string));
                }
                for one in &page.conditional {
                    maybe.insert(one.subject.to_string());
                    except.extend(one.except.iter().map(ToString::to_string));
                }
                match page.next {
                    None => break,
                    next => after = next,
                }
            }
            let everyone = Subject::wildcard(subject_type.clone()).to_string();
            for subject in subjects {
                if subject.subject_type() != subject_type
                    || subject.relation().is_some()
                    || subject.is_wildcard()
                {
                    continue;
                }
                let name = subject.to_string();
                let listed = if found.contains(&name) {
                    "allowed"
                } else if maybe.contains(&name) {
                    "conditional"
                } else if except.contains(&name) {
                    "denied"
                } else if found.contains(&everyone) {
                    "allowed"
                } else if maybe.contains(&everyone) {
                    "conditional"
                } else {
                    "denied"
                };
                let checked = graph.check(subject, permission, object);
                let what = format!("subjects of {object} {permission} in pages of {limit}: {subject}");
                report.expect(case, &what, &word(&checked), &listed);
            }
        }
    }
}

/// Every subject that stands anywhere in the tree.
fn leaves(expansion: &Expansion) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo: Vec<&Expansion> = vec![expansion];
    while let Some(expansion) = todo.pop() {
        let mut trees: Vec<&Tree> = expansion.tree.iter().collect();
        while let Some(tree) = trees.pop() {
            match tree {
                Tree::Nobody => {}
                Tree::Itself => {
                    found.insert(expansion.object.to_string());
                }
                Tree::Stored { relationships, usersets } => {
                    found.extend(relationships.iter().map(|one| one.subject().to_string()));
                    todo.extend(usersets);
                }
                Tree::Computed(inner) => todo.push(inner),
                Tree::Any(ways) | Tree::All(ways) => {
                    todo.extend(ways.iter().filter_map(|(_, way)| way.as_ref()))
                }
                Tree::Union(inner) | Tree::Intersection(inner) => trees.extend(inner),
                Tree::Exclusion(first, second) => trees.extend([&**first, &**second]),
                Tree::Conditional(inner, _) => trees.push(inner),
            }
        }
    }
    found
}
