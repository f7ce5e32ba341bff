//! Who is asked what: loads every engine, asserts its answers, and makes its turns.

use std::{
    hint::black_box,
    rc::Rc,
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use formwork_benches::{
    peers::{ByIds, ByStrings, Casbin, Cedar, Engine, World, Zanzibar, graph},
    report::{BY_NAME, Cell, NO_LIST, NO_WILDCARD, OURS},
    workload::{KINDS, LISTED, Question},
};

use crate::{
    postgres::Database,
    turns::{Contestant, Turn},
    version, weigh,
};

/// Distinct questions of a kind: more than caches hold of what answers them.
pub(crate) const QUESTIONS: usize = 2_000;
/// Users that may view the crowded document, if there are so many.
pub(crate) const CROWD: usize = 4_000;

/// All engines, ours first.
pub(crate) fn all<'a>(world: &'a World, tuples: usize, database: &'a Database) -> Vec<Contestant<'a>> {
    let count = world.relationships.len();
    let (ours, load) = timed("Formwork", || graph(world));
    let bytes = weigh("formwork", tuples, count);
    let [by_ids, by_strings] = OURS.map(str::to_owned);
    let mut all = vec![
        contestant(by_ids, world, &Rc::new(ByIds::new(&ours)), &[], load, bytes),
        contestant(by_strings, world, &Rc::new(ByStrings::new(&ours)), &[], load, bytes),
    ];
    let (cedar, load) = timed("cedar-policy", || Cedar::load(world));
    let bytes = weigh("cedar-policy", tuples, count);
    all.push(contestant(version("cedar-policy"), world, &Rc::new(cedar), &[], load, bytes));
    let (zanzibar, load) = timed("simple-zanzibar", || Zanzibar::load(world));
    let bytes = weigh("simple-zanzibar", tuples, count);
    let wrong = &[("wildcard", NO_WILDCARD)];
    all.push(contestant(version("simple-zanzibar"), world, &Rc::new(zanzibar), wrong, load, bytes));
    let (casbin, load) = timed("casbin", || Casbin::load(world));
    let bytes = weigh("casbin", tuples, count);
    all.push(slow(version("casbin"), world, &casbin, load, bytes));
    all.extend(database.contestants(world));
    all
}

fn timed<T>(name: &str, load: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let loaded = load();
    let took = begun.elapsed();
    eprintln!("peers:   {name} loaded in {took:.1?}");
    (loaded, took)
}

pub(crate) fn questions(world: &World, kind: &str, count: usize) -> Vec<Question> {
    (0..count).map(|n| world.workload.question(kind, n)).collect()
}

fn contestant<'a, E: Engine + 'a>(
    name: String,
    world: &World,
    engine: &Rc<E>,
    wrong: &[(&str, &'static str)],
    load: Duration,
    bytes: f64,
) -> Contestant<'a> {
    let kinds = KINDS.into_iter().map(|kind| {
        let questions = questions(world, kind, QUESTIONS);
        let asked: Vec<E::Asked> = questions.iter().map(|question| engine.prepare(question)).collect();
        let is_right =
            |(question, asked): (&Question, &E::Asked)| engine.ask(asked) == question.answer.is_allowed();
        let right = questions.iter().zip(&asked).filter(|pair| is_right(*pair)).count();
        if let Some((_, reason)) = wrong.iter().find(|(of, _)| *of == kind) {
            assert_eq!(right, 0, "{name} answers {kind} rightly now: measure it");
            return Turn::Known(Cell::Empty(reason));
        }
        assert_eq!(right, QUESTIONS, "{name} answers {kind} wrongly");
        let engine = Rc::clone(engine);
        Turn::Timed(Box::new(move || {
            let begun = ThreadTime::now();
            for asked in &asked {
                let _ = black_box(engine.ask(black_box(asked)));
            }
            (asked.len(), begun.elapsed())
        }))
    });
    let mut turns: Vec<Turn<'a>> = kinds.collect();
    let (lister, crowded) = (world.workload.lister(), world.workload.crowded());
    let none = if OURS.contains(&name.as_str()) { BY_NAME } else { NO_LIST };
    turns.push(list(engine, NO_LIST, LISTED, move |engine| engine.documents(&lister)));
    turns.push(list(engine, none, crowd(world), move |engine| engine.viewers(&crowded)));
    turns.extend([Turn::Known(Cell::Nanos(load.as_nanos() as f64)), Turn::Known(Cell::Bytes(bytes))]);
    Contestant { name, turns }
}

/// How many users view the crowded document.
pub(crate) fn crowd(world: &World) -> usize {
    let crowded = world.workload.crowded();
    world.relationships.iter().filter(|tuple| *tuple.object() == crowded).count().min(CROWD)
}

/// A list whose length is asserted; the quick ones are made more than once in a turn.
fn list<'a, E: Engine + 'a>(
    engine: &Rc<E>,
    none: &'static str,
    expected: usize,
    make: impl Fn(&E) -> Option<usize> + 'a,
) -> Turn<'a> {
    let begun = Instant::now();
    let Some(found) = make(engine) else { return Turn::Known(Cell::Empty(none)) };
    assert_eq!(found, expected);
    let times = usize::from(begun.elapsed() < Duration::from_millis(20)) * 19 + 1;
    let engine = Rc::clone(engine);
    Turn::Timed(Box::new(move || {
        let begun = ThreadTime::now();
        for _ in 0..times {
            let _ = black_box(make(black_box(&engine)));
        }
        (times, begun.elapsed())
    }))
}

/// An engine that goes over everything for each question is asked a few, once.
fn slow<'a, E: Engine>(
    name: String,
    world: &World,
    engine: &E,
    load: Duration,
    bytes: f64,
) -> Contestant<'a> {
    let few = if world.relationships.len() > 100_000 { 2 } else { 20 };
    let kinds = KINDS.into_iter().map(|kind| {
        eprintln!("peers:   {name} is asked {few} questions: {kind}");
        let times = questions(world, kind, few).into_iter().map(|question| {
            let asked = engine.prepare(&question);
            let begun = ThreadTime::now();
            let answer = engine.ask(&asked);
            let took = begun.elapsed();
            assert_eq!(answer, question.answer.is_allowed(), "{name} answers {kind} wrongly: {question:?}");
            took
        });
        Turn::Known(Cell::Nanos(times.min().unwrap_or_default().as_nanos() as f64))
    });
    let mut turns: Vec<Turn<'a>> = kinds.collect();
    turns.extend([
        Turn::Known(Cell::Empty(NO_LIST)),
        Turn::Known(Cell::Empty(NO_LIST)),
        Turn::Known(Cell::Nanos(load.as_nanos() as f64)),
        Turn::Known(Cell::Bytes(bytes)),
    ]);
    Contestant { name, turns }
}
