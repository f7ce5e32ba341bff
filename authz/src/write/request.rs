//! Several changes as one request: all of them or none.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::error::{Misplaced, WriteError};
use crate::filter::Filter;
use crate::relationship::Relationship;
use crate::schema::Schema;

/// Longest key of a request, in bytes.
const MAX_KEY: usize = 256;

/// Changes that are made together, or not at all, by [`Authz::write`](crate::Authz::write).
///
/// # How is ownership handed over, once, and only from the one who has it?
///
/// ```
/// use formwork_authz::{Filter, Write, rel};
///
/// let from_anna = rel!("document:7#owner@user:anna");
/// let handover = Write::new()
///     .must_match(Filter::of_object(from_anna.object()).relation("owner").subject_id("anna"))
///     .delete(from_anna)
///     .create(rel!("document:7#owner@user:bob"))
///     .idempotency_key("handover-4711")
///     .metadata(serde_json::json!({"ticket": "OPS-12"}));
/// # let _ = handover;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Write {
    pub(super) creates: Vec<Relationship>,
    pub(super) touches: Vec<Relationship>,
    pub(super) deletes: Vec<Relationship>,
    pub(super) filters: Vec<Filter>,
    pub(super) must_match: Vec<Filter>,
    pub(super) must_not_match: Vec<Filter>,
    pub(super) key: Option<String>,
    pub(super) metadata: Option<Value>,
}

/// What a [`Write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows that are different from before.
    pub changed: u64,
    /// The request had been made before, with the same key, and nothing was done.
    pub repeated: bool,
}

impl Write {
    /// Nothing, so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a relationship that must not be stored yet, or has expired.
    #[must_use]
    pub fn create(mut self, relationship: Relationship) -> Self {
        self.creates.push(relationship);
        self
    }

    /// Stores a relationship, whether or not it is stored.
    #[must_use]
    pub fn touch(mut self, relationship: Relationship) -> Self {
        self.touches.push(relationship);
        self
    }

    /// Removes a relationship, whether or not it is stored.
    #[must_use]
    pub fn delete(mut self, relationship: Relationship) -> Self {
        self.deletes.push(relationship);
        self
    }

    /// Removes, before anything is stored, what the filter lets through.
    #[must_use]
    pub fn delete_matching(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Only if the filter lets through a stored relationship that has not expired. It stays until the transaction
    /// ends: one is locked.
    #[must_use]
    pub fn must_match(mut self, filter: Filter) -> Self {
        self.must_match.push(filter);
        self
    }

    /// Only if the filter lets through no stored relationship that has not expired. None comes until the transaction
    /// ends: others that store relationships of this tenant wait for it.
    #[must_use]
    pub fn must_not_match(mut self, filter: Filter) -> Self {
        self.must_not_match.push(filter);
        self
    }

    /// Makes a repeat of the request harmless: of those with one key, one is carried out. At most 256 bytes.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Goes with each change into the log, for whoever watches.
    #[must_use]
    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Before anything is sent.
    pub(super) fn verify(&self, schema: &Schema) -> Result<(), WriteError> {
        for relationship in self.creates.iter().chain(&self.touches) {
            schema.verify(relationship)?;
        }
        for relationship in &self.deletes {
            schema.verify_place(relationship)?;
        }
        if self.filters.iter().any(Filter::is_everything) {
            return Err(WriteError::Everything);
        }
        if let Some(key) = self.key.as_ref().filter(|key| key.is_empty() || key.len() > MAX_KEY) {
            return Err(WriteError::Key { bytes: key.len() });
        }
        self.verify_distinct()
    }

    fn verify_distinct(&self) -> Result<(), WriteError> {
        let mut all: Vec<&Relationship> =
            self.creates.iter().chain(&self.touches).chain(&self.deletes).collect();
        all.sort_by(|a, b| a.identity().cmp(&b.identity()));
        let twice = all.windows(2).find_map(|pair| match pair {
            [a, b] if a.is_same(b) => Some(*a),
            _ => None,
        });
        let reason = "it stands twice in one request, whose parts have no order".to_owned();
        twice.map_or(Ok(()), |twice| Err(WriteError::Misplaced(Misplaced::new(twice, reason))))
    }

    /// Can it be refused after something has been written?
    pub(super) fn may_turn_back(&self) -> bool {
        let steps = self.creates.len()
            + usize::from(self.key.is_some())
            + usize::from(self.metadata.is_some())
            + usize::from(!self.touches.is_empty() || !self.deletes.is_empty() || !self.filters.is_empty());
        let conditions = self.must_match.len() + self.must_not_match.len();
        (!self.creates.is_empty() && steps > 1) || (self.key.is_some() && conditions > 0)
    }

    /// What two requests with one key must have in common.
    pub(super) fn digest(&self) -> [u8; 32] {
        let listed = |relationships: &[Relationship]| {
            let mut texts: Vec<String> = relationships.iter().map(Relationship::to_string).collect();
            texts.sort();
            texts
        };
        let filters =
            |filters: &[Filter]| filters.iter().map(|filter| format!("{filter:?}")).collect::<Vec<_>>();
        let whole = serde_json::json!([
            listed(&self.creates),
            listed(&self.touches),
            listed(&self.deletes),
            filters(&self.filters),
            filters(&self.must_match),
            filters(&self.must_not_match),
            self.metadata,
        ]);
        Sha256::digest(whole.to_string()).into()
    }
}
