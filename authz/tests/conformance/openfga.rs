//! OpenFGA's matrix: stages of a test share their tuples, each has its own model.

use std::{collections::BTreeSet, sync::Arc};

use formwork_authz::{Change, CheckError, Context, Decision, Graph, Object, Relationship, Schema, Subject};

use crate::cases::{FgaStage, FgaTest, FgaTuple};
use crate::place::{Place, Stored};
use crate::report::Report;

/// Of OpenFGA's interface: what each refusal is numbered.
pub(crate) const INVALID: u32 = 2000;
const TOO_COMPLEX: u32 = 2002;
const UNKNOWN_TYPE: u32 = 2021;
const UNKNOWN_RELATION: u32 = 2022;
const INVALID_TUPLE: u32 = 2027;

/// An answer, or the number of its refusal.
pub(crate) type Answer<T> = Result<T, u32>;

pub(crate) fn run(test: &FgaTest, place: &Place, report: &mut Report) {
    let mut tuples: Vec<&FgaTuple> = Vec::new();
    for (number, stage) in test.stages.iter().enumerate() {
        let case = &test.name;
        let at = format!("stage {number}");
        let schema = match Schema::parse_openfga(&stage.model) {
            Ok(schema) => Arc::new(schema),
            Err(error) => {
                report.fail(case, format!("{at}: the model is refused: {error}"));
                return;
            }
        };
        tuples.extend(&stage.tuples);
        let stored = match tuples.iter().map(|tuple| relationship(tuple)).collect::<Answer<Vec<_>>>() {
            Ok(stored) => stored,
            Err(_) => {
                report.fail(case, format!("{at}: a tuple cannot be read"));
                return;
            }
        };
        let there = place.store(&schema, stored.clone());
        ask(case, &at, stage, there.graph(), &[], report);
        ask_postgres(case, stage, &there, report);
        if test.stages.len() == 1 {
            let empty = Graph::load(schema, []);
            ask(case, "all tuples contextual", stage, &empty, &stored, report);
        }
    }
}

fn ask(case: &str, at: &str, stage: &FgaStage, graph: &Graph, besides: &[Relationship], report: &mut Report) {
    for one in &stage.check_assertions {
        let FgaTuple { user, relation, object, .. } = &one.tuple;
        let expected = one.error_code.map_or(Ok(one.expectation), Err);
        let given = with(graph, besides, &one.contextual_tuples)
            .and_then(|graph| check(&graph, user, relation, object, &one.context.clone().into()));
        report.expect(case, &format!("{at}: check {user} {relation} {object}"), &expected, &given);
    }
    for one in &stage.list_objects_assertions {
        let request = &one.request;
        let expected = one.error_code.map_or_else(|| Ok(one.expectation.iter().cloned().collect()), Err);
        let given = with(graph, besides, &one.contextual_tuples).and_then(|graph| {
            list_objects(
                &graph,
                &request.user,
                &request.relation,
                &request.object_type,
                &one.context.clone().into(),
            )
        });
        let what = format!("{at}: objects {} {} {}", request.user, request.relation, request.object_type);
        report.expect(case, &what, &expected, &given);
    }
    for one in &stage.list_users_assertions {
        let request = &one.request;
        let expected = one.error_code.map_or_else(|| Ok(one.expectation.iter().cloned().collect()), Err);
        let given = with(graph, besides, &one.contextual_tuples).and_then(|graph| {
            list_users(
                &graph,
                &request.object,
                &request.relation,
                &request.filters,
                &one.context.clone().into(),
            )
        });
        let what = format!("{at}: users {} {} {:?}", request.object, request.relation, request.filters);
        report.expect(case, &what, &expected, &given);
    }
}

/// What has no tuples of its own: those are asked of the graph alone.
fn ask_postgres(case: &str, stage: &FgaStage, there: &Stored<'_>, report: &mut Report) {
    for one in stage.check_assertions.iter().filter(|one| one.contextual_tuples.is_empty()) {
        let FgaTuple { user, relation, object, .. } = &one.tuple;
        if let (Ok(subject), Ok(object)) = (user.parse(), object.parse()) {
            there.check(case, &one.context.clone().into(), &subject, relation, &object, report);
        }
    }
    for one in stage.list_objects_assertions.iter().filter(|one| one.contextual_tuples.is_empty()) {
        if let Ok(subject) = one.request.user.parse() {
            there.objects(case, &subject, &one.request.relation, &one.request.object_type, report);
        }
    }
}

pub(crate) fn relationship(tuple: &FgaTuple) -> Answer<Relationship> {
    let text = format!("{}#{}@{}", tuple.object, tuple.relation, tuple.user);
    let relationship: Relationship = text.parse().map_err(|_| INVALID_TUPLE)?;
    Ok(match &tuple.condition {
        None => relationship,
        Some(condition) => relationship.with_condition(condition.name.clone(), condition.context.clone()),
    })
}

/// The graph with the contextual tuples over it, each of which the model must have a place for.
fn with(graph: &Graph, besides: &[Relationship], tuples: &[FgaTuple]) -> Answer<Graph> {
    let mut changes: Vec<Change> = besides.iter().cloned().map(Change::Touch).collect();
    let graph = graph.apply(&changes);
    changes.clear();
    for tuple in tuples {
        changes.push(Change::Touch(relationship(tuple)?));
    }
    let before = graph.ignored();
    let graph = graph.apply(&changes);
    if graph.ignored() > before { Err(INVALID_TUPLE) } else { Ok(graph) }
}

pub(crate) fn check(
    graph: &Graph,
    user: &str,
    relation: &str,
    object: &str,
    context: &Context,
) -> Answer<bool> {
    let subject: Subject = user.parse().map_err(|_| INVALID)?;
    let object: Object = object.parse().map_err(|_| INVALID)?;
    match graph.check_in(context, &subject, relation, &object) {
        Ok(Decision::Allowed) => Ok(true),
        Ok(Decision::Denied) => Ok(false),
        Ok(Decision::Conditional { .. }) => Err(INVALID),
        Err(error) => Err(code(&error, false)),
    }
}

pub(crate) fn list_objects(
    graph: &Graph,
    user: &str,
    relation: &str,
    object_type: &str,
    context: &Context,
) -> Answer<BTreeSet<String>> {
    let subject: Subject = user.parse().map_err(|_| INVALID)?;
    let mut found = BTreeSet::new();
    let mut after = None;
    loop {
        let page = graph
            .lookup_objects_in(context, &subject, relation, object_type, after.as_ref(), 3)
            .map_err(|error| list_code(graph, &error, object_type, relation))?;
        if !page.conditional.is_empty() {
            return Err(INVALID);
        }
        found.extend(page.items.iter().map(ToString::to_string));
        match page.next {
            None => return Ok(found),
            next => after = next,
        }
    }
}

pub(crate) fn list_users(
    graph: &Graph,
    object: &str,
    relation: &str,
    filters: &[String],
    context: &Context,
) -> Answer<BTreeSet<String>> {
    let object: Object = object.parse().map_err(|_| INVALID)?;
    let mut found = BTreeSet::new();
    for filter in filters {
        let wanted = filter.split_once('#').map_or((filter.as_str(), None), |(kind, of)| (kind, Some(of)));
        let mut after = None;
        loop {
            let page = graph
                .lookup_subjects(context, &object, relation, wanted, after.as_ref(), 3)
                .map_err(|error| code(&error, true))?;
            if !page.conditional.is_empty() {
                return Err(INVALID);
            }
            found.extend(page.items.iter().map(|found| found.subject.to_string()));
            match page.next {
                None => break,
                next => after = next,
            }
        }
    }
    Ok(found)
}

/// Of the listed type and relation the refusal has a number of its own; of the asking user it has not.
fn list_code(graph: &Graph, error: &CheckError, object_type: &str, relation: &str) -> u32 {
    let schema = graph.schema();
    let known = schema.object_types().any(|name| name == object_type);
    let related =
        schema.relations(object_type).chain(schema.permissions(object_type)).any(|name| name == relation);
    match error {
        CheckError::UnknownType(_) | CheckError::UnknownPermission(_) if known && related => INVALID,
        _ => code(error, true),
    }
}

fn code(error: &CheckError, list: bool) -> u32 {
    match error {
        CheckError::UnknownType(_) if list => UNKNOWN_TYPE,
        CheckError::UnknownPermission(_) if list => UNKNOWN_RELATION,
        CheckError::TooComplex(_) => TOO_COMPLEX,
        _ => INVALID,
    }
}
