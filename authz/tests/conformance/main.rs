//! The cases of OpenFGA and SpiceDB, run over the engine; they stand apart and are read where they stand.
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
mod report;
mod spicedb;
mod stores;

fn with_cases(suite: &'static str, run: impl FnOnce(&std::path::Path, &mut report::Report)) {
    let Some(folder) = cases::folder() else {
        println!("{suite}: skipped, the cases are not here: CONFORMANCE_DIR names their folder");
        return;
    };
    let mut report = report::Report::new(suite);
    run(&folder, &mut report);
    report.finish();
}

#[test]
fn openfga() {
    with_cases("openfga", |folder, report| {
        for path in cases::files(&folder.join("openfga"), ".yaml") {
            let file: cases::FgaFile = cases::read(&path);
            file.tests.iter().for_each(|test| openfga::run(test, report));
        }
    });
}

#[test]
fn spicedb() {
    with_cases("spicedb", |folder, report| {
        for path in cases::files(&folder.join("spicedb"), ".yaml") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            spicedb::run(&name, &std::fs::read_to_string(&path).unwrap(), report);
        }
    });
}

#[test]
fn sample_stores() {
    with_cases("sample-stores", |folder, report| {
        let folder = folder.join("sample-stores");
        for path in cases::files(&folder, ".fga.yaml") {
            let name = path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            stores::run(&name, &path, report);
        }
    });
}
