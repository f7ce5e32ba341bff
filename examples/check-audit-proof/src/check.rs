//! The check, recursively, as RFC 6962 defines the trees: another way than the library's.

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(crate) type Hash = [u8; 32];
pub(crate) type Refused = String;

/// Checks a proof against the keys that are trusted; what it proves.
pub(crate) fn check(proof: &str, trusted: &[String]) -> Result<String, Refused> {
    let proof: Value = serde_json::from_str(proof).map_err(|error| format!("no JSON: {error}"))?;
    match text(&proof, "format")? {
        "formwork.audit.inclusion.v1" => inclusion(&proof, trusted),
        "formwork.audit.consistency.v1" => consistency(&proof, trusted),
        other => Err(format!("`{other}` is no format that is known here")),
    }
}

fn inclusion(proof: &Value, trusted: &[String]) -> Result<String, Refused> {
    let checkpoint = Checkpoint::read(part(proof, "checkpoint")?, trusted)?;
    let leaf = part(proof, "leaf")?;
    let (bytes, tenant) = leaf_bytes(leaf)?;
    if tenant != checkpoint.tenant {
        return Err("the event is of another tenant than the checkpoint".to_owned());
    }
    let position = part(proof, "position")?.as_u64().ok_or("the position is no number")?;
    let mut path = path(proof)?;
    let root =
        up(hash(&[&[0], &bytes]), position, checkpoint.size, &mut path).ok_or("the path does not fit")?;
    if !path.is_empty() || root != checkpoint.root {
        return Err("the path does not lead to the signed root".to_owned());
    }
    Ok(format!("the event is leaf {position} of checkpoint {} of tenant {tenant}", checkpoint.number))
}

fn consistency(proof: &Value, trusted: &[String]) -> Result<String, Refused> {
    let first = Checkpoint::read(part(proof, "first")?, trusted)?;
    let second = Checkpoint::read(part(proof, "second")?, trusted)?;
    if first.tenant != second.tenant {
        return Err("the checkpoints are of two tenants".to_owned());
    }
    let mut path = path(proof)?;
    let (from, to) = (first.size, second.size);
    let holds = match from {
        0 => path.is_empty(),
        from if from == to => path.is_empty() && first.root == second.root,
        from if from > to => false,
        from => {
            let roots = grow(from, to, true, &first.root, &mut path);
            path.is_empty() && roots == Some((first.root, second.root))
        }
    };
    if !holds {
        return Err("the first trail did not become the second".to_owned());
    }
    Ok(format!("the trail of {from} events became that of {to}, tenant {}", first.tenant))
}

/// The largest power of two below `size`.
fn left(size: u64) -> u64 {
    let mut half = 1;
    while half * 2 < size {
        half *= 2;
    }
    half
}

/// The root over `size` leaves, from one of them and its siblings, the topmost last.
fn up(leaf: Hash, position: u64, size: u64, path: &mut Vec<Hash>) -> Option<Hash> {
    if position >= size {
        return None;
    }
    if size == 1 {
        return Some(leaf);
    }
    let sibling = path.pop()?;
    let split = left(size);
    if position < split {
        Some(node(&up(leaf, position, split, path)?, &sibling))
    } else {
        Some(node(&sibling, &up(leaf, position - split, size - split, path)?))
    }
}

/// The roots over the first `from` and over all `to` leaves of a subtree.
fn grow(from: u64, to: u64, known: bool, old: &Hash, path: &mut Vec<Hash>) -> Option<(Hash, Hash)> {
    if from == to {
        let root = if known { *old } else { path.pop()? };
        return Some((root, root));
    }
    let sibling = path.pop()?;
    let split = left(to);
    if from <= split {
        let (old, new) = grow(from, split, known, old, path)?;
        Some((old, node(&new, &sibling)))
    } else {
        let (old, new) = grow(from - split, to - split, false, old, path)?;
        Some((node(&sibling, &old), node(&sibling, &new)))
    }
}

pub(crate) struct Checkpoint {
    pub(crate) tenant: String,
    pub(crate) number: u64,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) key: String,
    /// Events that it says may be gone.
    pub(crate) removed: u64,
}

/// The one line of a checkpoint with this name.
pub(crate) fn line_of(signed: &Value, name: &str) -> Result<String, Refused> {
    let prefix = format!("{name} ");
    let mut found = text(signed, "body")?.lines().filter_map(|line| line.strip_prefix(&*prefix));
    let line = found.next().filter(|_| found.next().is_none());
    line.map(str::to_owned).ok_or(format!("the checkpoint has no one `{name}`"))
}

impl Checkpoint {
    pub(crate) fn read(signed: &Value, trusted: &[String]) -> Result<Self, Refused> {
        let body = text(signed, "body")?;
        let line = |name: &str| line_of(signed, name);
        if body.lines().next() != Some("formwork.audit.checkpoint.v1") {
            return Err("the checkpoint has another format".to_owned());
        }
        let key = line("key")?;
        if !trusted.contains(&key) {
            return Err(format!("the checkpoint is of `{key}`, which is not trusted"));
        }
        signed_by(&key, body, text(signed, "signature")?)?;
        match (&*line("succeeds")?, signed.get("cosignature").and_then(Value::as_str)) {
            ("-", None) => {}
            (key, Some(signature)) => signed_by(key, body, signature)?,
            _ => return Err("a rotation needs two signatures".to_owned()),
        }
        Ok(Self {
            tenant: line("tenant")?,
            number: line("number")?.parse().map_err(|_| "the number is none")?,
            size: line("size")?.parse().map_err(|_| "the size is none")?,
            root: bytes(&line("root")?)?,
            removed: match body.contains("\nremoved-before ") {
                true => {
                    line("removed-events")?.parse().map_err(|_| "the number of removed events is none")?
                }
                false => 0,
            },
            key,
        })
    }
}

fn signed_by(key: &str, body: &str, signature: &str) -> Result<(), Refused> {
    let signature = Signature::from_bytes(&bytes(signature)?);
    VerifyingKey::from_bytes(&bytes(key)?)
        .and_then(|key| key.verify_strict(body.as_bytes(), &signature))
        .map_err(|_| format!("the signature is not that of `{key}`"))
}

/// The leaf's bytes, and whose event it is.
pub(crate) fn leaf_bytes(leaf: &Value) -> Result<(Vec<u8>, String), Refused> {
    if text(leaf, "format")? != "formwork.audit.event.v1" {
        return Err("the event has another format".to_owned());
    }
    let mut bytes = b"formwork.audit.event.v1".to_vec();
    let mut tenant = None;
    for field in part(leaf, "fields")?.as_array().ok_or("the fields are no list")? {
        let (Some(name), Some(value)) =
            (field.get(0).and_then(Value::as_str), field.get(1).and_then(Value::as_str))
        else {
            return Err("a field is no pair of texts".to_owned());
        };
        let name_length = u16::try_from(name.len()).map_err(|_| "a name is too long")?;
        let value_length = u32::try_from(value.len()).map_err(|_| "a value is too long")?;
        bytes.extend(name_length.to_be_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(value_length.to_be_bytes());
        bytes.extend(value.as_bytes());
        if name == "tenant_id" {
            tenant = Some(value.to_owned());
        }
    }
    Ok((bytes, tenant.ok_or("the event has no tenant")?))
}

fn path(proof: &Value) -> Result<Vec<Hash>, Refused> {
    let path = part(proof, "path")?.as_array().ok_or("the path is no list")?;
    path.iter().map(|hash| bytes(hash.as_str().unwrap_or_default())).collect()
}

fn part<'a>(value: &'a Value, name: &str) -> Result<&'a Value, Refused> {
    value.get(name).ok_or_else(|| format!("the proof has no `{name}`"))
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refused> {
    part(value, name)?.as_str().ok_or_else(|| format!("`{name}` is no text"))
}

pub(crate) fn bytes<const N: usize>(hex: &str) -> Result<[u8; N], Refused> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let read = || {
        let all: Vec<u8> = (0..N).map(|n| byte(n * 2)).collect::<Option<_>>()?;
        (hex.len() == N * 2).then(|| all.try_into().ok())?
    };
    read().ok_or_else(|| format!("`{hex}` is not {N} bytes"))
}

pub(crate) fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

pub(crate) fn hash(parts: &[&[u8]]) -> Hash {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}
