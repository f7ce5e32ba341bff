//! A tenant's whole trail as a file that is verified far from the database, with nothing but a public key.
//!
//! A line each, JSON: `{"format": "formwork.audit.trail.v1"}`, then every checkpoint in its order, then every leaf in its
//! order with the fields of its event as they are hashed. An event that was removed has its hash alone.

use formwork_tenancy::TenantTx;
use serde::Serialize;

use super::{LEAF_FORMAT, SealError, SignedCheckpoint, store, verify};
use crate::hex;

const FORMAT: &str = "formwork.audit.trail.v1";

/// A sealed trail under way into a file, a piece after the other, in one transaction.
///
/// ```no_run
/// # async fn example(mut tx: formwork_tenancy::TenantTx) -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::Write;
/// use formwork_audit::seal::OfflineTrail;
///
/// let mut file = std::fs::File::create("acme.trail")?;
/// let mut trail = OfflineTrail::new();
/// while let Some(piece) = trail.next(&mut tx).await? {
///     file.write_all(piece.as_bytes())?;
/// }
/// println!("{} events", trail.events());
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct OfflineTrail {
    checkpoint: i64,
    position: i64,
    size: i64,
    part: Part,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Checkpoints,
    Leaves,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<SignedCheckpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leaf: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

const EMPTY: Line<'static> = Line { format: None, checkpoint: None, leaf: None, hash: None };

#[derive(Serialize)]
struct Leaf {
    format: &'static str,
    fields: Vec<(&'static str, String)>,
}

impl OfflineTrail {
    /// From the beginning.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next lines; none behind the last leaf that is under a checkpoint.
    ///
    /// # Errors
    ///
    /// [`SealError::Broken`] when a checkpoint cannot be read: verify where the trail is. When the database fails.
    pub async fn next(&mut self, tx: &mut TenantTx) -> Result<Option<String>, SealError> {
        match self.part {
            Part::Head => {
                self.part = Part::Checkpoints;
                Ok(Some(line(&Line { format: Some(FORMAT), ..EMPTY })))
            }
            Part::Checkpoints => self.checkpoints(tx).await.map(Some),
            Part::Leaves => self.leaves(tx).await,
        }
    }

    /// Events in the pieces until now, removed ones too.
    pub fn events(&self) -> u64 {
        self.position as u64
    }

    async fn checkpoints(&mut self, tx: &mut TenantTx) -> Result<String, SealError> {
        let page = store::checkpoints_after(tx, self.checkpoint).await?;
        let mut lines = String::new();
        for kept in &page {
            let signed = kept.signed().ok_or(SealError::Broken { what: "a checkpoint cannot be read" })?;
            (self.checkpoint, self.size) = (kept.number, kept.size);
            lines.push_str(&line(&Line { checkpoint: Some(signed), ..EMPTY }));
        }
        if page.is_empty() {
            self.part = Part::Leaves;
        }
        Ok(lines)
    }

    async fn leaves(&mut self, tx: &mut TenantTx) -> Result<Option<String>, SealError> {
        let page = verify::leaves_from(tx, self.position, self.size).await?;
        let Some(last) = page.last().map(|leaf| leaf.position) else { return Ok(None) };
        let mut lines = String::new();
        for leaf in page {
            let event = leaf.event.map(|row| {
                let mut fields = Vec::new();
                row.each_field(|name, value| fields.push((name, value.to_owned())));
                Leaf { format: LEAF_FORMAT, fields }
            });
            let hash = event.is_none().then(|| hex::encode(&leaf.hash));
            lines.push_str(&line(&Line { leaf: event, hash, ..EMPTY }));
        }
        self.position = last as i64 + 1;
        Ok(Some(lines))
    }
}

fn line(line: &Line<'_>) -> String {
    // Texts and numbers: nothing that JSON could refuse.
    serde_json::to_string(line).unwrap_or_default() + "\n"
}
