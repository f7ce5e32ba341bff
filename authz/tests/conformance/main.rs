//! The cases of OpenFGA and SpiceDB, run over the engine in memory, over tuples in Postgres, and as SQL; they stand apart
//! and are read where they stand.
//!
//! `CONFORMANCE_DIR` names their folder; without it and without `../../shared/conformance` the tests say so and
//! pass. Each suite prints what passed, what failed, and the declared differences of `differences.toml`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it has counted"
)]

mod cases;
mod openfga;
mod place;
mod report;
mod spicedb;
mod stores;

use std::path::Path;

use cases::{FgaFile, files, read};
use place::Place;
use report::Report;

fn with_cases(suite: &'static str, place: Place, run: impl Fn(&Path, &Place, &mut Report)) {
    let Some(folder) = cases::folder() else {
        println!("{suite}: skipped, the cases are not here: CONFORMANCE_DIR names their folder");
        return;
    };
    let mut report = Report::new(suite);
    for round in 0..place.rounds() {
        place.begin_round(round);
        run(&folder, &place, &mut report);
    }
    report.finish();
}

fn openfga(folder: &Path, place: &Place, report: &mut Report) {
    for path in files(&folder.join("openfga"), ".yaml") {
        read::<FgaFile>(&path).tests.iter().for_each(|test| openfga::run(test, place, report));
    }
}

fn spicedb(folder: &Path, place: &Place, report: &mut Report) {
    for path in files(&folder.join("spicedb"), ".yaml") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        spicedb::run(&name, &std::fs::read_to_string(&path).unwrap(), place, report);
    }
}

fn sample_stores(folder: &Path, place: &Place, report: &mut Report) {
    let folder = folder.join("sample-stores");
    for path in files(&folder, ".fga.yaml") {
        let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        stores::run(&name, &path, place, report);
    }
}

#[test]
fn openfga_in_memory() {
    with_cases("openfga", Place::Memory, openfga);
}

#[test]
fn openfga_in_postgres() {
    with_cases("openfga", Place::postgres(), openfga);
}

#[test]
fn spicedb_in_memory() {
    with_cases("spicedb", Place::Memory, spicedb);
}

#[test]
fn spicedb_in_postgres() {
    with_cases("spicedb", Place::postgres(), spicedb);
}

#[test]
fn sample_stores_in_memory() {
    with_cases("sample-stores", Place::Memory, sample_stores);
}

#[test]
fn sample_stores_in_postgres() {
    with_cases("sample-stores", Place::postgres(), sample_stores);
}
