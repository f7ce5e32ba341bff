//! Links before and after they are stored.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{End, LinkError, LinkType};

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

    /// What else is to be known of it: an object, which fits the type's schema when it has one.
    #[must_use]
    pub fn metadata(mut self, fields: Value) -> Self {
        self.metadata = fields;
        self
    }

    /// The link as it is to be stored: between kinds that its type joins, with metadata that fits; a symmetric one
    /// always in the same order, so that it cannot be stored twice.
    pub(crate) fn admitted(mut self, by: &LinkType) -> Result<Self, LinkError> {
        if self.source == self.target && !by.allows_self() {
            return Err(LinkError::Itself { end: self.source });
        }
        if !by.joins(&self.source.kind, &self.target.kind) {
            let Self { source, target, relationship: name, .. } = self;
            return Err(LinkError::WrongKind { name, from: source.kind, to: target.kind });
        }
        by.check_metadata(&self.metadata)?;
        self.put_in_order(by);
        Ok(self)
    }

    /// INVARIANT: of a symmetric type the lesser end is the source.
    pub(crate) fn put_in_order(&mut self, by: &LinkType) {
        if by.is_symmetric() && self.source > self.target {
            std::mem::swap(&mut self.source, &mut self.target);
        }
    }

    /// What no two links of a tenant share.
    pub(crate) fn key(&self) -> (End, String, End) {
        (self.source.clone(), self.relationship.clone(), self.target.clone())
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

pub(crate) const COLUMNS: &str =
    "id, source_type, source_id, relationship, target_type, target_id, metadata, created_by, created_at";

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

    fn end(kind: &str, id: u128) -> End {
        End::new(kind, Uuid::from_u128(id))
    }

    #[test]
    fn a_link_has_fitting_ends() {
        let answers = LinkType::new("answers", "answered_by").between(&["rfi"], &["drawing"]);
        assert!(Link::new(end("rfi", 1), "answers", end("drawing", 2)).admitted(&answers).is_ok());
        let wrong = Link::new(end("drawing", 1), "answers", end("rfi", 2)).admitted(&answers).unwrap_err();
        assert_eq!(wrong.to_string(), "`answers` does not join `drawing` to `rfi`");
        let relates = LinkType::symmetric("relates");
        let itself = || Link::new(end("rfi", 1), "relates", end("rfi", 1));
        assert!(matches!(itself().admitted(&relates), Err(LinkError::Itself { .. })));
        assert!(itself().admitted(&relates.allow_self()).is_ok());
    }

    #[test]
    fn a_symmetric_link_is_stored_in_one_order() {
        let relates = LinkType::symmetric("relates");
        let there = Link::new(end("rfi", 1), "relates", end("drawing", 2)).admitted(&relates).unwrap();
        let back = Link::new(end("drawing", 2), "relates", end("rfi", 1)).admitted(&relates).unwrap();
        assert_eq!(there.key(), back.key());
    }

    #[test]
    fn metadata_is_an_object_whatever_the_type() {
        let link = Link::new(end("rfi", 1), "relates", end("rfi", 2)).metadata(serde_json::json!([1]));
        let error = link.admitted(&LinkType::symmetric("relates")).unwrap_err();
        assert_eq!(error.to_string(), "metadata ``: must be an object");
    }
}
