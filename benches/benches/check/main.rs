//! What does a check cost in memory? Random and hot, ids resolved and from strings; lists; bytes; load;
//! two threads, with and without a writer.
//!
//! Times are processor time of the thread that asks, so that what else the machine does counts less;
//! rates of threads are by the clock. `CHECK_TUPLES=10000` makes it small. Everything that is timed has been asked once before, and its
//! answers compared with what the workload says.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

mod growth;

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use cpu_time::ThreadTime;
use formwork_authz::{
    Change, Context, Graph, Object, ObjectId, PermissionId, Relationship, Schema, Subject, SubjectId, rel,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use formwork_benches::workload::{KINDS, LISTED, Question, SCHEMA, Workload, mixed};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Distinct questions of the random mix.
const MIX: usize = 400_000;

type Ids = (SubjectId, PermissionId, ObjectId);

fn main() {
    let tuples = std::env::var("CHECK_TUPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let workload = Workload::of(tuples);
    let graph = load(&workload);
    let context = Context::new();
    hot(&workload, &graph, &context);
    let mix = random(&workload, &graph, &context);
    lists(&workload, &graph, &context);
    changes(&graph);
    threads(&graph, &mix);
    drop((graph, mix));
    growth::run();
    small();
}

fn load(workload: &Workload) -> Graph {
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let relationships: Vec<Relationship> = workload.relationships().collect();
    let start = ThreadTime::now();
    let graph = Graph::load(schema, relationships);
    let took = start.elapsed();
    let count = graph.len();
    let kept = graph.memory_bytes();
    let apart = kept - graph.names_bytes();
    println!("{count} relationships loaded from memory in {took:.2?}");
    println!(
        "bytes a relationship: {:.1} names apart, {:.1} with names",
        apart as f64 / count as f64,
        kept as f64 / count as f64
    );
    let again = Region::new(MEMORY);
    let copy = Graph::load(Arc::clone(graph.schema()), workload.relationships());
    let stats = again.change();
    let allocated = stats.bytes_allocated - stats.bytes_deallocated;
    println!(
        "  by the allocator: {:.1} with names (counted by the graph itself: {:.1})",
        allocated as f64 / count as f64,
        copy.memory_bytes() as f64 / count as f64
    );
    graph
}

/// The best of several rounds: what disturbs only ever adds.
fn best(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    (0..rounds).map(|_| round()).min().unwrap_or_default()
}

fn ids(graph: &Graph, question: &Question) -> Ids {
    let permission = graph.permission(question.object.object_type(), question.permission).unwrap();
    (graph.subject(&question.subject).unwrap(), permission, graph.object(&question.object).unwrap())
}

fn verify(graph: &Graph, context: &Context, question: &Question) {
    let Question { subject, permission, object, answer } = question;
    let (s, p, o) = ids(graph, question);
    assert_eq!(graph.check_ids(s, p, o, context).unwrap(), *answer, "{object}#{permission}@{subject}");
    assert_eq!(graph.check(subject, permission, object).unwrap(), *answer, "{object}#{permission}@{subject}");
}

fn hot(workload: &Workload, graph: &Graph, context: &Context) {
    println!("\nhot, ns a check         ids   strings");
    for kind in KINDS {
        let questions: Vec<Question> = (0..16).map(|n| workload.question(kind, n)).collect();
        questions.iter().for_each(|question| verify(graph, context, question));
        let resolved: Vec<Ids> = questions.iter().map(|question| ids(graph, question)).collect();
        let rounds = 20_000;
        let by_ids = best(7, || {
            let start = ThreadTime::now();
            for _ in 0..rounds {
                for &(s, p, o) in black_box(&resolved) {
                    let _ = black_box(graph.check_ids(s, p, o, context).unwrap());
                }
            }
            start.elapsed()
        });
        let by_text = best(5, || {
            let start = ThreadTime::now();
            for _ in 0..rounds / 4 {
                for question in black_box(&questions) {
                    let Question { subject, permission, object, .. } = question;
                    let _ = black_box(graph.check(subject, permission, object).unwrap());
                }
            }
            start.elapsed()
        });
        let each = |took: Duration, rounds: usize| took.as_nanos() as f64 / (rounds * questions.len()) as f64;
        println!("{kind:20} {:6.0} {:9.0}", each(by_ids, rounds), each(by_text, rounds / 4));
    }
}

fn random(workload: &Workload, graph: &Graph, context: &Context) -> Vec<Ids> {
    let mut order: Vec<usize> = (0..MIX).collect();
    order.sort_by_key(|&n| mixed(n));
    let questions: Vec<Question> =
        order.iter().map(|&n| workload.question(KINDS[n % KINDS.len()], n / KINDS.len())).collect();
    questions.iter().for_each(|question| verify(graph, context, question));
    let resolved: Vec<Ids> = questions.iter().map(|question| ids(graph, question)).collect();
    let ask_all = || {
        let start = ThreadTime::now();
        for &(s, p, o) in &resolved {
            let _ = black_box(graph.check_ids(s, p, o, context).unwrap());
        }
        start.elapsed()
    };
    let by_ids = best(5, ask_all);
    let region = Region::new(MEMORY);
    let _ = ask_all();
    let allocations = region.change().allocations;
    let one_by_one: Vec<_> =
        resolved.iter().map(|&(s, p, o)| graph.check_ids(s, p, o, context).unwrap()).collect();
    assert!(graph.check_many_ids(&resolved, context).unwrap() == one_by_one, "batches answer otherwise");
    let batched = best(5, || {
        let start = ThreadTime::now();
        for page in resolved.chunks(100) {
            let _ = black_box(graph.check_many_ids(page, context).unwrap());
        }
        start.elapsed()
    });
    let by_text = best(3, || {
        let start = ThreadTime::now();
        for Question { subject, permission, object, .. } in &questions {
            let _ = black_box(graph.check(subject, permission, object).unwrap());
        }
        start.elapsed()
    });
    let each = |took: Duration| took.as_nanos() as f64 / MIX as f64;
    println!("\nrandom mix of {MIX}: {:.0} ns by ids, {:.0} ns from strings", each(by_ids), each(by_text));
    println!("in batches of 100: {:.0} ns by ids", each(batched));
    println!("allocations in {MIX} checks by ids: {allocations}");
    for kind in KINDS {
        let those: Vec<Ids> = resolved
            .iter()
            .zip(&order)
            .filter(|(_, n)| KINDS[**n % KINDS.len()] == kind)
            .map(|(ids, _)| *ids)
            .collect();
        let took = best(3, || {
            let start = ThreadTime::now();
            for &(s, p, o) in &those {
                let _ = black_box(graph.check_ids(s, p, o, context).unwrap());
            }
            start.elapsed()
        });
        println!("  {kind:20} {:6.0} ns", took.as_nanos() as f64 / those.len() as f64);
    }
    resolved
}

fn lists(workload: &Workload, graph: &Graph, context: &Context) {
    let lister = graph.subject(&workload.lister()).unwrap();
    let view = graph.permission("document", "view").unwrap();
    let edit = graph.permission("document", "edit").unwrap();
    let found = graph.lookup_object_ids(lister, edit, context).unwrap();
    assert_eq!(found.len(), LISTED);
    let objects = best(50, || {
        let start = ThreadTime::now();
        let _ = black_box(graph.lookup_object_ids(lister, edit, context).unwrap());
        start.elapsed()
    });
    println!("\nlookup_objects of {}: {objects:.1?}", found.len());
    let page: Vec<ObjectId> =
        (0..1_000).map(|n| graph.object(&workload.question("full_miss", n).object).unwrap()).collect();
    let reader = graph.subject(&workload.question("folder_6", 1).subject).unwrap();
    let kept = graph.filter_ids(reader, view, &page, context).unwrap();
    let filtered = best(50, || {
        let start = ThreadTime::now();
        let _ = black_box(graph.filter_ids(reader, view, &page, context).unwrap());
        start.elapsed()
    });
    println!("a page of {} filtered to {}: {filtered:.1?}", page.len(), kept.len());
    let crowded = workload.crowded();
    let who =
        || graph.lookup_subjects(context, &crowded, "viewer", ("user", None), None, usize::MAX).unwrap();
    let count = who().items.len();
    let subjects = best(10, || {
        let start = ThreadTime::now();
        let _ = black_box(who());
        start.elapsed()
    });
    println!("lookup_subjects of {count}, as strings: {subjects:.1?}");
}

fn changes(graph: &Graph) {
    let took = best(5, || {
        let start = ThreadTime::now();
        let mut later = graph.clone();
        for n in 0..1_000_usize {
            let d = mixed(n) % 10_000;
            let u = mixed(n + 1) % 1_000;
            later = later.apply(&[Change::Touch(rel!("document:d{d}#editor@user:u{u}"))]);
        }
        black_box(&later);
        start.elapsed()
    });
    println!("\none change applied: {:.1?}", took / 1_000);
    let start = ThreadTime::now();
    let later = graph.apply(&[Change::Delete(rel!("team:t0#member@team:t1#member"))]);
    println!("a team taken out of the top of four: {:.1?} ({} relationships)", start.elapsed(), later.len());
}

/// What a tenant of 100 relationships takes.
fn small() {
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let workload = Workload::of(10_000);
    let few: Vec<Relationship> = workload.relationships().step_by(100).take(100).collect();
    let region = Region::new(MEMORY);
    let graph = Graph::load(schema, few.iter().cloned());
    let stats = region.change();
    let allocated = stats.bytes_allocated - stats.bytes_deallocated;
    println!(
        "\na tenant of {} relationships: {} bytes, {allocated} by the allocator",
        graph.len(),
        graph.memory_bytes()
    );
}

/// Checks of some threads, with a writer that publishes or without: by the clock, and by the processor
/// time of the threads that ask, which says what they cost each other when the machine is busy.
fn rate(graph: &Graph, mix: &[Ids], threads: usize, changes_a_second: u32) -> (f64, f64) {
    let published = ArcSwap::from_pointee(graph.clone());
    let stop = AtomicBool::new(false);
    let view = graph.permission("document", "view").unwrap();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..threads)
            .map(|thread| {
                let (published, stop) = (&published, &stop);
                scope.spawn(move || {
                    let context = Context::new();
                    let mut count = 0_u64;
                    let start = ThreadTime::now();
                    for &(s, _, o) in mix.iter().cycle().skip(thread * mix.len() / 2) {
                        let graph = published.load();
                        let _ = black_box(graph.check_ids(s, view, o, &context).unwrap());
                        count += 1;
                        if count.is_multiple_of(1_024) && stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    (count as f64, start.elapsed().as_secs_f64())
                })
            })
            .collect();
        let start = Instant::now();
        let until = Duration::from_secs(2);
        if changes_a_second == 0 {
            std::thread::sleep(until);
        } else {
            let mut n = 0_usize;
            while start.elapsed() < until {
                let (d, u) = (mixed(n) % 10_000, mixed(n + 1) % 1_000);
                let change = Change::Touch(rel!("document:d{d}#editor@user:u{u}"));
                published.store(Arc::new(published.load().apply(&[change])));
                n += 1;
                let due = start + Duration::from_secs(1) / changes_a_second * n as u32;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let took = start.elapsed().as_secs_f64();
        let counts: Vec<(f64, f64)> = asking.into_iter().map(|asking| asking.join().unwrap()).collect();
        let all: f64 = counts.iter().map(|(count, _)| count).sum();
        (all / took, counts.iter().map(|(count, took)| count / took).sum())
    })
}

fn threads(graph: &Graph, mix: &[Ids]) {
    println!();
    for changes in [0, 1_000] {
        // In turns, and the median: the other work of the machine changes from second to second.
        let mut rounds: Vec<[f64; 2]> = (0..5)
            .map(|_| {
                let (one, two) = (rate(graph, mix, 1, 0), rate(graph, mix, 2, changes));
                [two.0 / one.0, two.1 / one.1]
            })
            .collect();
        let mut median = |which: usize| {
            rounds.sort_by(|a, b| a[which].total_cmp(&b[which]));
            rounds[rounds.len() / 2][which]
        };
        println!(
            "two threads, {changes} changes a second, against one: {:.2} times by the clock, {:.2} by processor time",
            median(0),
            median(1)
        );
    }
    moved(graph);
}

/// Whoever reads while a user's only way is moved, in one publication, sees the old one or the new one.
fn moved(graph: &Graph) {
    let way = |n: usize| rel!("document:d{n}#owner@user:mover");
    let published = ArcSwap::from_pointee(graph.apply(&[Change::Touch(way(0)), Change::Delete(way(1))]));
    let stop = AtomicBool::new(false);
    let (asked, torn) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mover = Subject::new("user", "mover");
            let documents = [0, 1].map(|n| Object::new("document", format_args!("d{n}")));
            let (mut asked, mut torn) = (0_u64, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let graph = published.load();
                let holds =
                    documents.iter().filter(|d| graph.check(&mover, "owner", d).unwrap().is_allowed());
                torn += u64::from(holds.count() != 1);
                asked += 1;
            }
            (asked, torn)
        });
        for n in 0..20_000 {
            let (to, from) = (way((n + 1) % 2), way(n % 2));
            let next = published.load().apply(&[Change::Touch(to), Change::Delete(from)]);
            published.store(Arc::new(next));
        }
        stop.store(true, Ordering::Relaxed);
        reading.join().unwrap()
    });
    assert_eq!(torn, 0);
    println!("a way moved 20,000 times under {asked} readings of both ends: none torn");
}
