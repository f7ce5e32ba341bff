//! The same questions about the same tuples, put to us and to our peers: writes the section `peers` of `README.md` and
//! `checks.svg`. `script/bench-checks` runs it; `script/bench-checks 10000` only prints, for that many tuples;
//! `spicedb 10000` writes out the tuples and questions for `spicedb/check.mjs`.
//!
//! Not by criterion: on a shared machine the engines have to take turns, round by round, and some of them take seconds
//! for one question. Every question is asked once before and its answer compared with what the workload says; where an
//! engine is known to answer wrongly, that is asserted too, and it is not timed. Times are the best round's, of
//! distinct questions: of the thread's processor time in memory, by the clock through Postgres.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

mod contestants;
mod postgres;
mod spicedb;
mod turns;

use std::{path::Path, process::Command};

use formwork_benches::{
    peers::World,
    report::{Results, Size, plot, splice, tables},
};

const SIZES: [usize; 2] = [1_000_000, 10_000];

fn main() {
    // Cargo adds an argument of its own.
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    if std::env::args().nth(1).as_deref() == Some("spicedb") {
        return spicedb::write(&World::of(asked.first().copied().unwrap_or(10_000)));
    }
    let sizes = if asked.is_empty() { SIZES.to_vec() } else { asked.clone() };
    let results = Results { sizes: sizes.into_iter().map(measure).collect() };
    let tables = tables(&results);
    println!("{tables}");
    if asked.is_empty() {
        write(&results, &tables);
    }
}

fn measure(tuples: usize) -> Size {
    let world = World::of(tuples);
    let begun = std::time::Instant::now();
    eprintln!("peers: {} tuples", world.relationships.len());
    let database = postgres::Database::start();
    let contestants = contestants::all(&world, tuples, &database);
    let size = Size { tuples: world.relationships.len(), engines: turns::take(contestants) };
    eprintln!("peers: took {:.0?}", begun.elapsed());
    size
}

/// Bytes a tuple that an engine keeps, counted in a program of its own.
fn weigh(engine: &str, tuples: usize, count: usize) -> f64 {
    let out = Command::new(env!("CARGO_BIN_EXE_weigh")).args([engine, &tuples.to_string()]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let kept: f64 = String::from_utf8(out.stdout).unwrap().trim().parse().unwrap();
    kept / count as f64
}

/// The version of a package that this was built with.
fn version(package: &str) -> String {
    let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\nversion = \"")).unwrap();
    format!("{package} {}", rest.split('"').next().unwrap())
}

fn write(results: &Results, tables: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = folder.join("README.md");
    let page = std::fs::read_to_string(&readme).unwrap();
    std::fs::write(&readme, splice(&page, tables).unwrap()).unwrap();
    std::fs::write(folder.join("checks.svg"), plot(results.sizes.first().unwrap())).unwrap();
    eprintln!("peers: written to benches/README.md and benches/checks.svg");
}
