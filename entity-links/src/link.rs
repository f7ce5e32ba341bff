//! Link types, and links before and after they are stored.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{End, LinkError};

/// A way in which two entities belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkType {
    name: String,
    inverse: String,
    symmetric: bool,
    sources: Vec<String>,
    targets: Vec<String>,
}

impl LinkType {
    /// Read from the source as `name` and from the target as `inverse`, between any kinds.
    pub fn new(name: impl Into<String>, inverse: impl Into<String>) -> Self {
        let (name, inverse) = (name.into(), inverse.into());
        Self { name, inverse, symmetric: false, sources: Vec::new(), targets: Vec::new() }
    }

    /// Read the same from both ends.
    pub fn symmetric(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { inverse: name.clone(), name, symmetric: true, sources: Vec::new(), targets: Vec::new() }
    }

    /// Only from these kinds to those.
    #[must_use]
    pub fn between(mut self, sources: &[&str], targets: &[&str]) -> Self {
        self.sources = sources.iter().map(|kind| (*kind).to_owned()).collect();
        self.targets = targets.iter().map(|kind| (*kind).to_owned()).collect();
        self
    }

    /// The name read from the source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name read from the target.
    pub fn inverse(&self) -> &str {
        &self.inverse
    }

    fn joins(&self, source: &str, target: &str) -> bool {
        let fits = |kinds: &[String], kind: &str| kinds.is_empty() || kinds.iter().any(|known| known == kind);
        let forward = fits(&self.sources, source) && fits(&self.targets, target);
        forward || self.symmetric && fits(&self.sources, target) && fits(&self.targets, source)
    }
}

/// The link types of an application.
#[derive(Debug, Clone, Default)]
pub struct LinkTypes {
    by_name: BTreeMap<String, LinkType>,
}

impl LinkTypes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more; a later one of the same name replaces the earlier.
    #[must_use]
    pub fn with(mut self, link_type: LinkType) -> Self {
        self.by_name.insert(link_type.name.clone(), link_type);
        self
    }

    /// The type with this name.
    pub fn get(&self, name: &str) -> Option<&LinkType> {
        self.by_name.get(name)
    }

    /// The link as it is to be stored: of a known type between kinds that it joins; a symmetric one always in
    /// the same order, so that it cannot be stored twice.
    pub(crate) fn admit(&self, mut link: Link) -> Result<Link, LinkError> {
        let found = self.by_name.get(&link.relationship).ok_or_else(|| LinkError::UnknownType {
            name: link.relationship.clone(),
            known: self.by_name.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        if link.source == link.target {
            return Err(LinkError::Itself { end: link.source });
        }
        if !found.joins(&link.source.kind, &link.target.kind) {
            let Link { source, target, relationship: name, .. } = link;
            return Err(LinkError::WrongKind { name, from: source.kind, to: target.kind });
        }
        if found.symmetric && link.source > link.target {
            std::mem::swap(&mut link.source, &mut link.target);
        }
        Ok(link)
    }
}

/// Two entities, to be joined.
#[derive(Debug, Clone)]
pub struct Link {
    pub(crate) source: End,
    pub(crate) relationship: String,
    pub(crate) target: End,
    pub(crate) metadata: Value,
}

impl Link {
    /// `source` is joined to `target` by the link type named `relationship`.
    pub fn new(source: impl Into<End>, relationship: impl Into<String>, target: impl Into<End>) -> Self {
        Self {
            source: source.into(),
            relationship: relationship.into(),
            target: target.into(),
            metadata: Value::Object(serde_json::Map::new()),
        }
    }

    /// What else is to be known of it.
    #[must_use]
    pub fn metadata(mut self, fields: Value) -> Self {
        self.metadata = fields;
        self
    }
}

/// A link as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StoredLink {
    /// Identity: a UUIDv7.
    pub id: Uuid,
    /// Where it starts.
    pub source: End,
    /// The link type, as read from the source.
    pub relationship: String,
    /// Where it ends.
    pub target: End,
    /// What else is known of it.
    pub metadata: Value,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for StoredLink {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            source: End { kind: row.try_get("source_type")?, id: row.try_get("source_id")? },
            relationship: row.try_get("relationship")?,
            target: End { kind: row.try_get("target_type")?, id: row.try_get("target_id")? },
            metadata: row.try_get("metadata")?,
            created_by: row.try_get("created_by")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> LinkTypes {
        LinkTypes::new()
            .with(LinkType::new("answers", "answered_by").between(&["rfi"], &["drawing"]))
            .with(LinkType::symmetric("relates"))
    }

    fn end(kind: &str, id: u128) -> End {
        End::new(kind, Uuid::from_u128(id))
    }

    #[test]
    fn a_link_has_a_known_type_and_fitting_ends() {
        assert!(types().admit(Link::new(end("rfi", 1), "answers", end("drawing", 2))).is_ok());
        let wrong = types().admit(Link::new(end("drawing", 1), "answers", end("rfi", 2))).unwrap_err();
        assert_eq!(wrong.to_string(), "`answers` does not join `drawing` to `rfi`");
        let unknown = types().admit(Link::new(end("rfi", 1), "answer", end("drawing", 2))).unwrap_err();
        assert_eq!(unknown.to_string(), "`answer` is no relationship: use one of answers, relates");
        assert!(matches!(
            types().admit(Link::new(end("rfi", 1), "relates", end("rfi", 1))),
            Err(LinkError::Itself { .. })
        ));
    }

    #[test]
    fn a_symmetric_link_is_stored_in_one_order() {
        let there = types().admit(Link::new(end("rfi", 1), "relates", end("drawing", 2))).unwrap();
        let back = types().admit(Link::new(end("drawing", 2), "relates", end("rfi", 1))).unwrap();
        assert_eq!((there.source, there.target), (back.source, back.target));
    }
}
