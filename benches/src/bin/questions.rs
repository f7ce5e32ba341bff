//! Writes the workload and questions about it as files, to be asked through the command line:
//!
//! ```sh
//! cargo run --release -p formwork-benches --bin questions -- target/questions
//! cargo build --release -p formwork
//! cd target/questions && ../release/formwork authz check -s m.zed -r m.txt --batch m.jsonl --stats > answers.jsonl
//! cmp answers.jsonl expected.jsonl
//! ```
//!
//! `CHECK_TUPLES=10000` makes it small.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use formwork_benches::workload::{KINDS, SCHEMA, Workload, mixed};

/// Distinct questions, in random order.
const QUESTIONS: usize = 1_000_000;

fn main() {
    let tuples = std::env::var("CHECK_TUPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/questions".to_owned()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("m.zed"), SCHEMA).unwrap();
    let workload = Workload::of(tuples);
    let mut facts = BufWriter::new(File::create(folder.join("m.txt")).unwrap());
    let mut count = 0;
    for fact in workload.relationships() {
        writeln!(facts, "{fact}").unwrap();
        count += 1;
    }
    let mut questions = BufWriter::new(File::create(folder.join("m.jsonl")).unwrap());
    let mut expected = BufWriter::new(File::create(folder.join("expected.jsonl")).unwrap());
    for n in 0..QUESTIONS {
        let question = workload.question(KINDS[mixed(n) % KINDS.len()], n);
        let (object, permission, subject) = (question.object, question.permission, question.subject);
        writeln!(questions, r#"{{"object":"{object}","permission":"{permission}","subject":"{subject}"}}"#)
            .unwrap();
        let answer = if question.answer.is_allowed() { "allowed" } else { "denied" };
        writeln!(expected, r#"{{"decision":"{answer}"}}"#).unwrap();
    }
    facts.flush().unwrap();
    questions.flush().unwrap();
    expected.flush().unwrap();
    println!("{count} relationships and {QUESTIONS} questions in {}", folder.display());
}
