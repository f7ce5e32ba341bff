//! A checkpoint: what the tree over a tenant's events was at a moment, signed.
//!
//! What is signed is a text of nine lines, so that it can be read, printed and kept anywhere. It names the hash of the
//! text before it: whoever has one has all before. A tombstone has two lines more, which say what may be gone.

use std::fmt;

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use formwork_tenancy::TenantId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Hash, PublicKey, SealKey};
use crate::hex;

const FORMAT: &str = "formwork.audit.checkpoint.v1";

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    tenant: TenantId,
    number: u64,
    size: u64,
    root: Hash,
    previous: Option<Hash>,
    at: DateTime<Utc>,
    key: PublicKey,
    succeeds: Option<PublicKey>,
    tombstone: Option<Tombstone>,
}

/// What a checkpoint says of events that were removed when their time was over: those under it with a lower identity
/// than this. Their leaves stay, and with them every proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    pub(crate) before: Uuid,
    pub(crate) events: u64,
}

impl Tombstone {
    /// Events with a lower identity may be gone. It is a UUIDv7, and so a moment.
    pub fn before(&self) -> Uuid {
        self.before
    }

    /// How many these were when it was signed.
    pub fn events(&self) -> u64 {
        self.events
    }
}

impl Checkpoint {
    /// The one after `previous`, which is the first one's none.
    pub(crate) fn after(
        previous: Option<&SignedCheckpoint>,
        tenant: TenantId,
        (size, root): (u64, Hash),
        at: DateTime<Utc>,
        key: PublicKey,
    ) -> Self {
        let before = previous.map(SignedCheckpoint::checkpoint);
        Self {
            tenant,
            number: before.map_or(0, |before| before.number) + 1,
            size,
            root,
            previous: previous.map(SignedCheckpoint::hash),
            // As precise as its text.
            at: at.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(at),
            key,
            succeeds: before.map(|before| before.key).filter(|before| *before != key),
            tombstone: None,
        }
    }

    /// The same, as a tombstone.
    pub(crate) fn burying(self, tombstone: Option<Tombstone>) -> Self {
        Self { tombstone, ..self }
    }

    /// Whose events.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many events the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// SHA-256 of the text of the checkpoint before; the first has none.
    pub fn previous(&self) -> Option<&Hash> {
        self.previous.as_ref()
    }

    /// When it was signed, by the database's clock.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// The key that signed it.
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// In a rotation the key until then, which has signed it too.
    pub fn succeeds(&self) -> Option<PublicKey> {
        self.succeeds
    }

    /// Which events may be gone, when it is a tombstone.
    pub fn tombstone(&self) -> Option<&Tombstone> {
        self.tombstone.as_ref()
    }

    /// Back from its text; none for what [`Display`](fmt::Display) does not write.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == FORMAT).then_some(())?;
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let tenant = TenantId::from(Uuid::parse_str(value("tenant")?).ok()?);
        let number = value("number")?.parse().ok()?;
        let size = value("size")?.parse().ok()?;
        let root = hex::decode(value("root")?)?;
        let previous = match value("previous")? {
            "-" => None,
            hash => Some(hex::decode(hash)?),
        };
        let at = DateTime::parse_from_rfc3339(value("at")?).ok()?.to_utc();
        let key = value("key")?.parse().ok()?;
        let succeeds = match value("succeeds")? {
            "-" => None,
            key => Some(key.parse().ok()?),
        };
        let tombstone = match value("removed-before") {
            None => None,
            Some(before) => {
                let before = Uuid::parse_str(before).ok()?;
                Some(Tombstone { before, events: value("removed-events")?.parse().ok()? })
            }
        };
        let parsed = Self { tenant, number, size, root, previous, at, key, succeeds, tombstone };
        (parsed.to_string() == text).then_some(parsed)
    }
}

impl fmt::Display for Checkpoint {
    /// The text that is signed; each line ends with a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        writeln!(f, "{FORMAT}")?;
        writeln!(f, "tenant {}", self.tenant.as_uuid())?;
        writeln!(f, "number {}", self.number)?;
        writeln!(f, "size {}", self.size)?;
        writeln!(f, "root {}", hex::encode(&self.root))?;
        writeln!(f, "previous {}", or_dash(self.previous.map(|hash| hex::encode(&hash))))?;
        writeln!(f, "at {}", self.at.to_rfc3339_opts(SecondsFormat::Micros, true))?;
        writeln!(f, "key {}", self.key)?;
        writeln!(f, "succeeds {}", or_dash(self.succeeds.map(|key| key.to_string())))?;
        let Some(Tombstone { before, events }) = self.tombstone else { return Ok(()) };
        writeln!(f, "removed-before {before}")?;
        writeln!(f, "removed-events {events}")
    }
}

/// A checkpoint with its signatures. As JSON: its text, and the signatures in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signature: [u8; 64],
    cosignature: Option<[u8; 64]>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    body: String,
    signature: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cosignature: Option<String>,
}

impl SignedCheckpoint {
    /// Signed by its key, and in a rotation by the one that it succeeds.
    pub(crate) fn sign(checkpoint: Checkpoint, key: &SealKey, retiring: Option<&SealKey>) -> Self {
        let body = checkpoint.to_string();
        let cosignature = retiring.map(|key| key.sign(&body));
        Self { signature: key.sign(&body), cosignature, checkpoint }
    }

    /// From what is kept; none when the text is none of a checkpoint.
    pub(crate) fn from_parts(body: &str, signature: [u8; 64], cosignature: Option<[u8; 64]>) -> Option<Self> {
        Some(Self { checkpoint: Checkpoint::parse(body)?, signature, cosignature })
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The key's signature of the text.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// In a rotation the signature of the key until then.
    pub fn cosignature(&self) -> Option<&[u8; 64]> {
        self.cosignature.as_ref()
    }

    /// SHA-256 of the text, as the next one names it.
    pub fn hash(&self) -> Hash {
        Sha256::digest(self.checkpoint.to_string().as_bytes()).into()
    }

    /// Are the signatures those of the keys that the text names? Whether these are to be trusted, it does not say.
    pub fn is_signed(&self) -> bool {
        let body = self.checkpoint.to_string();
        let cosigned = match (self.checkpoint.succeeds, &self.cosignature) {
            (None, None) => true,
            (Some(key), Some(signature)) => key.verifies(&body, signature),
            _ => false,
        };
        cosigned && self.checkpoint.key.verifies(&body, &self.signature)
    }
}

/// JSON that is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no signed checkpoint: it has a body of nine lines or eleven, and signatures of 128 hexadecimal digits"
)]
pub struct InvalidCheckpoint;

impl TryFrom<Written> for SignedCheckpoint {
    type Error = InvalidCheckpoint;

    fn try_from(written: Written) -> Result<Self, InvalidCheckpoint> {
        let parse = || {
            let cosignature = match &written.cosignature {
                None => None,
                Some(text) => Some(hex::decode(text)?),
            };
            Self::from_parts(&written.body, hex::decode(&written.signature)?, cosignature)
        };
        parse().ok_or(InvalidCheckpoint)
    }
}

impl From<SignedCheckpoint> for Written {
    fn from(signed: SignedCheckpoint) -> Self {
        Self {
            body: signed.checkpoint.to_string(),
            signature: hex::encode(&signed.signature),
            cosignature: signed.cosignature.map(|signature| hex::encode(&signature)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        TenantId::from(Uuid::from_u128(7))
    }

    #[test]
    fn a_checkpoint_reads_back_as_it_was_written() {
        let (old, new) = (SealKey::from_seed(&[1; 32]), SealKey::from_seed(&[2; 32]));
        let first = Checkpoint::after(None, tenant(), (0, [3; 32]), Utc::now(), old.public());
        let first = SignedCheckpoint::sign(first, &old, None);
        let second = Checkpoint::after(Some(&first), tenant(), (5, [4; 32]), Utc::now(), new.public());
        assert_eq!(second.succeeds(), Some(old.public()));
        let second = SignedCheckpoint::sign(second, &new, Some(&old));
        for signed in [first, second] {
            assert!(signed.is_signed());
            let json = serde_json::to_string(&signed).unwrap();
            assert_eq!(serde_json::from_str::<SignedCheckpoint>(&json).unwrap(), signed);
        }
    }

    #[test]
    fn only_the_text_that_is_written_is_read() {
        let key = SealKey::from_seed(&[1; 32]).public();
        let text = Checkpoint::after(None, tenant(), (5, [3; 32]), Utc::now(), key).to_string();
        let buried = Tombstone { before: Uuid::from_u128(9), events: 2 };
        let tombstone = Checkpoint::parse(&text).unwrap().burying(Some(buried)).to_string();
        assert_eq!(Checkpoint::parse(&tombstone).unwrap().tombstone(), Some(&buried));
        for other in [
            tombstone.replace("removed-events 2\n", ""),
            tombstone.replace("removed-events 2", "removed-events 02"),
            text.replace("size 5", "size 05"),
            text.replace("size 5", "size +5"),
            text.replace("previous -", "previous"),
            text.replace('\n', "\r\n"),
            format!("{text}\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(Checkpoint::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn a_rotation_needs_both_signatures() {
        let (old, new) = (SealKey::from_seed(&[1; 32]), SealKey::from_seed(&[2; 32]));
        let first = Checkpoint::after(None, tenant(), (0, [3; 32]), Utc::now(), old.public());
        let first = SignedCheckpoint::sign(first, &old, None);
        let second = Checkpoint::after(Some(&first), tenant(), (0, [3; 32]), Utc::now(), new.public());
        assert!(!SignedCheckpoint::sign(second.clone(), &new, None).is_signed());
        assert!(!SignedCheckpoint::sign(second, &new, Some(&new)).is_signed());
    }
}
