//! Mutations of what is known through everything that reads text: nothing breaks, nothing runs away, and what
//! can still be read comes back.
//!
//! A short round always. The long one, ten million executions each, wants an optimised build:
//!
//! ```sh
//! FORMWORK_LONG=1 cargo test --release -p formwork-authz --test it -- fuzz --nocapture
//! ```
//!
//! `FORMWORK_FUZZ=n` makes it any number, and `FORMWORK_SEED=n` other ones. What was ever found lies in
//! `tests/corpus/found` and is replayed. A run that ends without a word, as it does when a stack overflows, leaves
//! the seed of its last execution in `target/tmp/last_fuzzed_*.txt`: `FORMWORK_FUZZ=1` with it shows the text.

mod conditions;
mod models;
mod mutate;
mod relationships;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use formwork_tenancy::testing::LongRound;

use crate::corpus::{Language, Model};

/// What one execution may take in a long round, at the very most: beyond it, something grows too fast.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A number that follows from the last, after Vigna's xorshift64*.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|number| number.parse().ok())
}

/// The execution at hand.
struct Last {
    /// Outlives a run that ends without a word.
    seeds: Option<File>,
    /// One alone is shown before it runs.
    shown: bool,
    text: String,
}

impl Last {
    /// From this number on.
    fn begins(&self, state: u64) {
        if let Some(file) = &self.seeds {
            file.write_all_at(format!("{state:<20}\n").as_bytes(), 0).unwrap();
        }
    }

    fn is(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        if self.shown {
            println!("{text:?}");
        }
    }

    /// Tells which text it was that something broke on.
    #[track_caller]
    fn survives<T>(&self, run: impl FnOnce() -> T) -> T {
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("by this text:\n{:?}", self.text))
    }
}

/// So many executions, watched when they are many; returns how many that were.
fn round(name: &'static str, mut execute: impl FnMut(&mut u64, &mut Last)) -> usize {
    let long = if cfg!(debug_assertions) { 300_000 } else { 10_000_000 };
    let round = LongRound::begin(name, 3_000, long);
    let asked = number("FORMWORK_FUZZ").map(|number| number as usize);
    let executions = asked.unwrap_or(round.count());
    let mut last = Last { seeds: None, shown: executions == 1, text: String::new() };
    let done = Arc::new(AtomicUsize::new(0));
    if executions > 10_000 {
        let file = format!("last_fuzzed_{}.txt", name.replace(' ', "_"));
        last.seeds = Some(File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)).unwrap());
        watch(name, Arc::downgrade(&done));
    }
    let mut state = number("FORMWORK_SEED").unwrap_or(0x5eed);
    for _ in 0..executions {
        last.begins(state);
        execute(&mut state, &mut last);
        done.fetch_add(1, Ordering::Relaxed);
    }
    executions
}

/// Ends the program when one execution takes too long: no thread can be stopped from outside.
fn watch(name: &'static str, done: std::sync::Weak<AtomicUsize>) {
    std::thread::spawn(move || {
        let mut before = None;
        while let Some(now) = done.upgrade().map(|done| done.load(Ordering::Relaxed)) {
            if before == Some(now) {
                eprintln!("{name}: execution {now} took longer than {MAX_WAIT:?}; see `last_fuzzed_*.txt`");
                std::process::abort();
            }
            before = Some(now);
            std::thread::sleep(MAX_WAIT);
        }
    });
}

#[test]
fn what_was_found_stays_mended() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/found");
    let mut replayed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for language in [Language::Native, Language::OpenFga, Language::Json, Language::Modules] {
            models::execute(&Model { name: path.display().to_string(), language, text: text.clone() });
        }
        relationships::execute(&text);
        conditions::execute(&text, &mut 0x5eed);
        replayed += 1;
    }
    assert!(replayed > 0);
}
