//! Proofs that leave the house: a JSON document each, checked with nothing but a public key.

use formwork_tenancy::TenantTx;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    EventRow, Hash, LEAF_FORMAT, PublicKey, SealError, SignedCheckpoint,
    merkle::{self, leaf_hash},
    row, store,
};
use crate::hex;

const INCLUSION: &str = "formwork.audit.inclusion.v1";
const CONSISTENCY: &str = "formwork.audit.consistency.v1";

/// That an event is in the trail of which a checkpoint was signed. Personal fields are in it as they are stored: sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionProof {
    format: String,
    position: u64,
    leaf: Leaf,
    path: Vec<String>,
    checkpoint: SignedCheckpoint,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Leaf {
    format: String,
    /// Name and value of every field that is not null, in the order in which they are hashed.
    fields: Vec<(String, String)>,
}

/// That the trail of one checkpoint was continued, and nothing else, into that of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyProof {
    format: String,
    first: SignedCheckpoint,
    second: SignedCheckpoint,
    path: Vec<String>,
}

impl InclusionProof {
    /// Proves an event of the transaction's tenant against the last checkpoint.
    ///
    /// All hashes of the tree are read for it, which takes about a second for a million events.
    ///
    /// # Errors
    ///
    /// [`SealError::NotSealed`], [`SealError::Removed`], [`SealError::Broken`], or the database's failure.
    pub async fn of(tx: &mut TenantTx, event: Uuid) -> Result<Self, SealError> {
        let last = store::last_checkpoint(tx).await?.and_then(|kept| kept.signed());
        let last = last.ok_or(SealError::NotSealed { event })?;
        let position: Option<i64> =
            sqlx::query_scalar("select position from audit_leaves where event_id = $1")
                .bind(event)
                .fetch_optional(&mut **tx)
                .await?;
        let sql = format!("select {} from audit_events e where e.id = $1", row::selected());
        let row: Option<EventRow> =
            sqlx::query_as(AssertSqlSafe(sql)).bind(event).fetch_optional(&mut **tx).await?;
        let Some(position) = position else { return Err(SealError::NotSealed { event }) };
        let Some(row) = row else { return Err(store::why_gone(tx, event, position).await?) };
        let leaves = store::first_leaves(tx, last.checkpoint().size()).await?;
        let path = merkle::inclusion_path(&leaves, position as usize);
        let mut fields = Vec::new();
        row.each_field(|name, value| fields.push((name.to_owned(), value.to_owned())));
        Ok(Self {
            format: INCLUSION.to_owned(),
            position: position as u64,
            leaf: Leaf { format: LEAF_FORMAT.to_owned(), fields },
            path: path.iter().map(|hash| hex::encode(hash)).collect(),
            checkpoint: last,
        })
    }

    /// Does it hold, when this key is trusted?
    pub fn holds(&self, trusted: PublicKey) -> bool {
        let says = self.checkpoint.checkpoint();
        let Some(path) = hashes(&self.path) else { return false };
        let is_of_tenant = self.leaf.value("tenant_id") == Some(&*says.tenant().as_uuid().to_string());
        is_of_tenant
            && (&*self.format, &*self.leaf.format) == (INCLUSION, LEAF_FORMAT)
            && says.key() == trusted
            && self.checkpoint.is_signed()
            && merkle::includes(says.root(), says.size(), self.position, &self.leaf.hash(), &path)
    }

    /// The checkpoint that it is against.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

impl Leaf {
    fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &**value)
    }

    fn hash(&self) -> Hash {
        let mut bytes = self.format.as_bytes().to_vec();
        for (name, value) in &self.fields {
            bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        leaf_hash(&bytes)
    }
}

impl ConsistencyProof {
    /// Proves that the first checkpoint's trail became the second's, both by their numbers.
    ///
    /// # Errors
    ///
    /// [`SealError::NoCheckpoint`], [`SealError::Broken`], or the database's failure.
    pub async fn of(tx: &mut TenantTx, first: u64, second: u64) -> Result<Self, SealError> {
        let (first, second) = (store::checkpoint(tx, first).await?, store::checkpoint(tx, second).await?);
        let leaves = store::first_leaves(tx, second.checkpoint().size()).await?;
        let path = merkle::consistency_path(&leaves, first.checkpoint().size() as usize);
        Ok(Self {
            format: CONSISTENCY.to_owned(),
            first,
            second,
            path: path.iter().map(|hash| hex::encode(hash)).collect(),
        })
    }

    /// Does it hold, when these keys are trusted, of the first checkpoint and of the second?
    pub fn holds(&self, first: PublicKey, second: PublicKey) -> bool {
        let Some(path) = hashes(&self.path) else { return false };
        let (a, b) = (self.first.checkpoint(), self.second.checkpoint());
        self.format == CONSISTENCY
            && a.tenant() == b.tenant()
            && (a.key(), b.key()) == (first, second)
            && self.first.is_signed()
            && self.second.is_signed()
            && merkle::is_consistent((a.size(), a.root()), (b.size(), b.root()), &path)
    }
}

fn hashes(path: &[String]) -> Option<Vec<Hash>> {
    path.iter().map(|text| hex::decode(text)).collect()
}
