//! One relationship as borrowed text, and the place that a schema has for it.

use serde_json::{Map, Value as Json};

use crate::condition::{Bound, ConditionError};
use crate::graph::guard::Guard;
use crate::name::{WILDCARD, check_id};
use crate::relationship::Relationship;
use crate::schema::{Schema, SubjectKind};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) object_type: &'a str,
    pub(crate) object_id: &'a str,
    pub(crate) relation: &'a str,
    pub(crate) subject_type: &'a str,
    pub(crate) subject_id: &'a str,
    pub(crate) subject_relation: Option<&'a str>,
    pub(crate) condition: Option<&'a str>,
    /// JSON.
    pub(crate) context: Option<&'a str>,
    /// Microseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) edge: u32,
    pub(crate) object_type: u32,
    /// `None` for a wildcard, whose list has the single number 0.
    pub(crate) subject_type: Option<u32>,
}

impl<'a> Row<'a> {
    /// The edge that stores this row, with the types of both its ends, whatever its condition; `None`
    /// when the schema has no place for it, as for a row that an older schema allowed or that raw SQL
    /// wrote.
    pub(crate) fn place(&self, schema: &Schema) -> Option<Place> {
        let object_type = schema.type_id(self.object_type)?;
        let slot = schema.type_info(object_type)?.slot_ids.get(self.relation)?;
        let subject_type = schema.type_id(self.subject_type)?;
        let (subject, named) = match self.subject_relation {
            Some(relation) => {
                let target = schema.type_info(subject_type)?.slot_ids.get(relation)?;
                (SubjectKind::Userset(target), true)
            }
            None if self.subject_id == WILDCARD => (SubjectKind::Wildcard(subject_type), false),
            None => (SubjectKind::Object(subject_type), true),
        };
        if check_id(self.object_id).is_err() || (named && check_id(self.subject_id).is_err()) {
            return None;
        }
        let edge = schema.edge_for(slot, subject)?;
        Some(Place { edge, object_type, subject_type: named.then_some(subject_type) })
    }

    /// Whether the place may hold a relationship with this condition and an expiry, or without them.
    pub(crate) fn fits(&self, schema: &Schema, place: Place) -> bool {
        let condition = match self.condition {
            Some(name) => match schema.condition_id(name) {
                Some(id) => Some(id),
                None => return false,
            },
            None => None,
        };
        schema.allows(place.edge, condition, self.expires_at.is_some())
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.condition.is_some() || self.expires_at.is_some()
    }

    /// What decides whether the relationship counts.
    pub(crate) fn guard(&self, schema: &Schema) -> Option<Guard> {
        if !self.is_guarded() {
            return None;
        }
        let condition = self.condition.and_then(|name| schema.condition_id(name));
        let bound = condition.zip(self.context).map(|(id, context)| bind(schema, id, context));
        Some(Guard {
            condition,
            bound: bound.unwrap_or_else(|| Ok(Bound::default())),
            context: self.context.unwrap_or_default().into(),
            expires_at: self.expires_at,
        })
    }
}

/// What is stored for the parameters of a condition, in bytes of JSON: SpiceDB's limit.
const MAX_CONTEXT: usize = 25_000;

/// Gives a stored context its types.
pub(crate) fn bind(schema: &Schema, condition: u32, context: &str) -> Result<Bound, ConditionError> {
    let Some(condition) = schema.condition(condition) else { return Ok(Bound::default()) };
    if context.len() > MAX_CONTEXT {
        let reason = format!("{} bytes are to be stored, and {MAX_CONTEXT} are allowed", context.len());
        return Err(condition.error(&reason));
    }
    let map: Map<String, Json> =
        serde_json::from_str(context).map_err(|_| condition.error("what is stored is not a JSON object"))?;
    condition.bind(&map)
}

impl<'a> From<&'a Relationship> for Row<'a> {
    fn from(relationship: &'a Relationship) -> Self {
        let (object, subject) = (relationship.object(), relationship.subject());
        Row {
            object_type: object.object_type(),
            object_id: object.id(),
            relation: relationship.relation(),
            subject_type: subject.subject_type(),
            subject_id: subject.id(),
            subject_relation: subject.relation(),
            condition: relationship.condition(),
            context: relationship.context(),
            expires_at: relationship.expires_at().map(|time| time.timestamp_micros()),
        }
    }
}
