//! A whole trail as a file: every checkpoint follows the one before, every event is in the tree that was signed.

use std::io::BufRead;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::check::{Checkpoint, Hash, Refused, hash, leaf_bytes, node};

/// First line of such a file.
const FORMAT: &str = "formwork.audit.trail.v1";

/// Checks the file against the keys that are trusted, of the first checkpoint; later ones by their rotations.
pub(crate) fn check_trail(file: impl BufRead, trusted: &[String]) -> Result<String, Refused> {
    let mut lines = file.lines().map(|line| {
        let line = line.map_err(|error| format!("the file cannot be read: {error}"))?;
        serde_json::from_str::<Value>(&line).map_err(|error| format!("no JSON: {error}"))
    });
    let first = lines.next().ok_or("the file is empty")??;
    if first.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err("the file has another format".to_owned());
    }
    let mut chain = Chain::default();
    let mut tree = Tree::default();
    let mut removed = 0;
    for line in lines {
        let line = line?;
        if let Some(signed) = line.get("checkpoint") {
            if tree.size > 0 {
                return Err("a checkpoint stands behind the events".to_owned());
            }
            chain.add(signed, trusted)?;
            continue;
        }
        let position = tree.size;
        let leaf = match (line.get("leaf"), line.get("hash").and_then(Value::as_str)) {
            (Some(leaf), None) => {
                let (bytes, tenant) = leaf_bytes(leaf)?;
                if Some(&*tenant) != chain.tenant() {
                    return Err(format!("leaf {position} is another tenant's"));
                }
                hash(&[&[0], &bytes])
            }
            (None, Some(text)) => {
                chain.may_be_gone(position)?;
                removed += 1;
                super::check::bytes(text)?
            }
            _ => return Err(format!("line of leaf {position} is none")),
        };
        chain.covers(&tree)?;
        tree.push(leaf);
    }
    chain.covers(&tree)?;
    chain.end(&tree, removed)
}

/// The checkpoints, of which those that the tree has reached are taken away.
#[derive(Default)]
struct Chain {
    all: Vec<Checkpoint>,
    passed: usize,
    last_body: Option<Hash>,
}

impl Chain {
    fn tenant(&self) -> Option<&str> {
        self.all.first().map(|first| &*first.tenant)
    }

    fn add(&mut self, signed: &Value, trusted: &[String]) -> Result<(), Refused> {
        let number = self.all.len() as u64 + 1;
        let wrong = |what: &str| Err(format!("checkpoint {number} {what}"));
        // After the first, the key is the one before, or one that it has signed over to.
        let keys = match self.all.last() {
            None => trusted.to_vec(),
            Some(last) => {
                let to = super::check::line_of(signed, "key")?;
                match super::check::line_of(signed, "succeeds")? {
                    from if from == "-" => vec![last.key.clone()],
                    from if from == last.key => vec![to],
                    _ => return wrong("is of a key that nobody has signed over to"),
                }
            }
        };
        let read = Checkpoint::read(signed, &keys)?;
        let previous = super::check::line_of(signed, "previous")?;
        let expected = self.last_body.map_or_else(|| "-".to_owned(), |hash| hex(&hash));
        if read.number != number || previous != expected {
            return wrong("does not follow the one before");
        }
        if self.all.last().is_some_and(|last| last.tenant != read.tenant || last.size > read.size) {
            return wrong("is of another trail");
        }
        let body = super::check::text(signed, "body")?;
        self.last_body = Some(Sha256::digest(body.as_bytes()).into());
        self.all.push(read);
        Ok(())
    }

    /// Only a tombstone over this leaf lets its event be gone.
    fn may_be_gone(&self, position: u64) -> Result<(), Refused> {
        let covered = self.all.iter().any(|one| one.removed > 0 && position < one.size);
        if covered { Ok(()) } else { Err(format!("event of leaf {position} is gone, without a tombstone")) }
    }

    /// The root is that of every checkpoint of this size.
    fn covers(&mut self, tree: &Tree) -> Result<(), Refused> {
        while let Some(next) = self.all.get(self.passed).filter(|next| next.size == tree.size) {
            if next.root != tree.root() {
                return Err(format!("the events are not those of checkpoint {}", next.number));
            }
            self.passed += 1;
        }
        Ok(())
    }

    fn end(&self, tree: &Tree, removed: u64) -> Result<String, Refused> {
        let Some(last) = self.all.last() else { return Err("there is no checkpoint".to_owned()) };
        if self.passed < self.all.len() || last.size != tree.size {
            let (there, signed) = (tree.size, last.size);
            return Err(format!("{there} events are there, and {signed} are signed"));
        }
        let buried: u64 = self.all.iter().map(|one| one.removed).sum();
        if removed > buried {
            return Err(format!("{removed} events are gone, and tombstones say {buried}"));
        }
        let (tenant, checkpoints) = (&last.tenant, self.all.len());
        Ok(format!(
            "{} events under {checkpoints} checkpoints of tenant {tenant}, {removed} of them removed",
            tree.size
        ))
    }
}

/// The roots of the whole subtrees so far, the largest first.
#[derive(Default)]
struct Tree {
    size: u64,
    whole: Vec<(u64, Hash)>,
}

impl Tree {
    fn push(&mut self, leaf: Hash) {
        let (mut size, mut root) = (1, leaf);
        while let Some((_, left)) = self.whole.pop_if(|(other, _)| *other == size) {
            (size, root) = (size * 2, node(&left, &root));
        }
        self.whole.push((size, root));
        self.size += 1;
    }

    fn root(&self) -> Hash {
        let mut roots = self.whole.iter().rev().map(|(_, root)| *root);
        match roots.next() {
            None => Sha256::digest(b"").into(),
            Some(last) => roots.fold(last, |right, left| node(&left, &right)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
