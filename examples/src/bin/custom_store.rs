//! How are permissions answered where relationships are not in Postgres?
//!
//! A `Graph` needs no store: whatever gives relationships can fill it, and whatever says what has changed can keep it up
//! to date. Here that is a file to which lines are added, as an appliance or a test would have it. A reader
//! keeps the snapshot that it has taken, whatever is written meanwhile, and waits for nobody.
//!
//! Needs no database: `cargo run -p formwork-examples --bin custom_store`.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use access::{Door, User, rel};
use formwork_authz::{Change, Graph};

type Failure = Box<dyn std::error::Error>;

mod access {
    formwork_authz::schema!(
        "definition user {}
         definition shift { relation worker: user }
         definition door {
             relation shift: shift
             relation guard: user
             permission open = guard + shift->worker
         }"
    );
}

/// Relationships in a file, `+ fact` or `- fact` a line, and in memory.
struct FileStore {
    /// Whoever writes holds it, so that the file and the memory change in the same order.
    file: Mutex<File>,
    graph: RwLock<Arc<Graph>>,
}

impl FileStore {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut changes = Vec::new();
        for line in BufReader::new(&file).lines() {
            changes.push(change(&line?)?);
        }
        let graph = Graph::load(access::schema()?, []).apply(&changes);
        Ok(Self { file: Mutex::new(file), graph: RwLock::new(Arc::new(graph)) })
    }

    /// What is stored now; it does not change any more.
    fn snapshot(&self) -> Arc<Graph> {
        Arc::clone(&self.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// First the disk, then the memory: nobody is answered from what could be lost.
    fn write(&self, changes: &[Change]) -> Result<(), Failure> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = String::new();
        for change in changes {
            // In memory what the schema has no place for is without effect; here it would stay for ever.
            change.relationship().validate()?;
            let sign = if matches!(change, Change::Touch(_)) { '+' } else { '-' };
            lines.push_str(&format!("{sign} {}\n", change.relationship()));
        }
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        let changed = Arc::new(self.snapshot().apply(changes));
        *self.graph.write().unwrap_or_else(PoisonError::into_inner) = changed;
        Ok(())
    }
}

fn change(line: &str) -> Result<Change, Failure> {
    match line.split_once(' ') {
        Some(("+", fact)) => Ok(Change::Touch(fact.parse()?)),
        Some(("-", fact)) => Ok(Change::Delete(fact.parse()?)),
        _ => Err(format!("`{line}` is no change: expected `+` or `-`, a space and a relationship").into()),
    }
}

fn main() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("doors.log");
    let store = FileStore::open(&path)?;
    store.write(&[
        Change::Touch(rel!("door:gate#shift@shift:night")),
        Change::Touch(rel!("shift:night#worker@user:anna")),
    ])?;
    let before = store.snapshot();
    store.write(&[
        Change::Delete(rel!("shift:night#worker@user:anna")),
        Change::Touch(rel!("door:gate#guard@user:bob")),
    ])?;

    let again = FileStore::open(&path)?;
    for (when, graph) in [("before", before), ("after", store.snapshot()), ("read again", again.snapshot())] {
        let opens =
            |name: &str| graph.for_subject(&User::new(name))?.check(Door::CAN.open, &Door::new("gate"));
        println!("{when}: anna opens the gate: {:?}, bob: {:?}", opens("anna")?, opens("bob")?);
    }
    print!("{}", std::fs::read_to_string(&path)?);
    Ok(())
}
