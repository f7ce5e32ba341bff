//! The text form of objects, subjects and relationships: splitting and verifying.
//!
//! Constructed and parsed values pass the same verification, part by part, so that a value whose
//! id hides a separator can never be read as another value.

use std::fmt;

use crate::error::ParseError;
use crate::name::{Fault, WILDCARD, check_any_name, check_id};

/// A part of the text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Object,
    ObjectType,
    ObjectId,
    Relation,
    SubjectType,
    SubjectId,
    SubjectRelation,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::ObjectType => "object type",
            Self::ObjectId => "object id",
            Self::Relation => "relation",
            Self::SubjectType => "subject type",
            Self::SubjectId => "subject id",
            Self::SubjectRelation => "subject relation",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Missing(char),
    Faulty(Fault),
}

/// A fault before it knows the whole text that it stands in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Misfit {
    part: Part,
    at: usize,
    problem: Problem,
}

impl Misfit {
    /// The error about the whole text.
    pub(crate) fn within(self, whole: &dyn fmt::Display) -> ParseError {
        ParseError::new(whole.to_string(), self.part, self.at, self.problem)
    }

    fn shifted(self, by: usize) -> Self {
        Self { at: self.at + by, ..self }
    }
}

/// Splits at the first separator, or says after which part it is missing.
pub(crate) fn split(text: &str, separator: char, part: Part) -> Result<(&str, &str), Misfit> {
    text.split_once(separator).ok_or(Misfit { part, at: text.len(), problem: Problem::Missing(separator) })
}

/// The parts of a relationship's text, not yet verified.
pub(crate) struct Parts<'a> {
    pub(crate) object: (&'a str, &'a str),
    pub(crate) relation: &'a str,
    pub(crate) subject: (&'a str, &'a str, Option<&'a str>),
}

/// Splits a relationship's text at the first `#`, then at the first `@`: subject ids may have `@`.
pub(crate) fn relationship(text: &str) -> Result<Parts<'_>, Misfit> {
    let (object, rest) = split(text, '#', Part::Object)?;
    let after_object = object.len() + 1;
    let object = split(object, ':', Part::ObjectType)?;
    let (relation, subject) =
        split(rest, '@', Part::Relation).map_err(|misfit| misfit.shifted(after_object))?;
    let after_relation = after_object + relation.len() + 1;
    let (subject_type, rest) =
        split(subject, ':', Part::SubjectType).map_err(|misfit| misfit.shifted(after_relation))?;
    let (id, subject_relation) = match rest.split_once('#') {
        Some((id, relation)) => (id, Some(relation)),
        None => (rest, None),
    };
    Ok(Parts { object, relation, subject: (subject_type, id, subject_relation) })
}

pub(crate) fn object_fault(object_type: &str, id: &str) -> Result<(), Misfit> {
    in_part(Part::ObjectType, 0, check_any_name(object_type))?;
    in_part(Part::ObjectId, object_type.len() + 1, check_id(id))
}

pub(crate) fn subject_fault(subject_type: &str, id: &str, relation: Option<&str>) -> Result<(), Misfit> {
    in_part(Part::SubjectType, 0, check_any_name(subject_type))?;
    let id_starts = subject_type.len() + 1;
    if id != WILDCARD || relation.is_some() {
        in_part(Part::SubjectId, id_starts, check_id(id))?;
    }
    match relation {
        Some(relation) => in_part(Part::SubjectRelation, id_starts + id.len() + 1, check_any_name(relation)),
        None => Ok(()),
    }
}

pub(crate) fn relationship_fault(
    (object_type, object_id): (&str, &str),
    relation: &str,
    (subject_type, subject_id, subject_relation): (&str, &str, Option<&str>),
) -> Result<(), Misfit> {
    object_fault(object_type, object_id)?;
    let relation_starts = object_type.len() + object_id.len() + 2;
    in_part(Part::Relation, relation_starts, check_any_name(relation))?;
    subject_fault(subject_type, subject_id, subject_relation)
        .map_err(|misfit| misfit.shifted(relation_starts + relation.len() + 1))
}

fn in_part(part: Part, starts: usize, checked: Result<(), (usize, Fault)>) -> Result<(), Misfit> {
    checked.map_err(|(at, fault)| Misfit { part, at: starts + at, problem: Problem::Faulty(fault) })
}

/// Serialises a type as its text, and parses it back.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;
