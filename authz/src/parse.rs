//! The text form of objects, subjects and relationships: splitting and verifying.
//!
//! Constructed and parsed values pass the same verification, part by part, so that a value whose
//! id hides a separator can never be read as another value.

use std::fmt;

use chrono::{DateTime, Utc};

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
    Condition,
    Context,
    Expiration,
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
            Self::Condition => "condition",
            Self::Context => "context",
            Self::Expiration => "expiration",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    Missing(char),
    Faulty(Fault),
    /// It is not what is said.
    Not(&'static str),
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
        // SpiceDB writes out that there is none.
        Some((id, "...")) => (id, None),
        Some((id, relation)) => (id, Some(relation)),
        None => (rest, None),
    };
    Ok(Parts { object, relation, subject: (subject_type, id, subject_relation) })
}

/// Under which a relationship counts, as it is written behind it.
#[derive(Debug, Default)]
pub(crate) struct TermsText {
    pub(crate) condition: Option<String>,
    pub(crate) context: Option<String>,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// Splits `[condition:{..}][expiration:..]` off the end of a relationship: no part before has a `[`.
pub(crate) fn terms(text: &str) -> Result<(&str, TermsText), Misfit> {
    let plain = text.find('[').and_then(|at| text.get(..at)).unwrap_or(text);
    let (mut found, mut part, mut at) = (TermsText::default(), Part::Condition, plain.len());
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let misfit = |part, at, problem| Err(Misfit { part, at, problem });
        let Some(inside) = rest.strip_prefix('[') else { return misfit(part, at, Problem::Missing('[')) };
        let start = at + 1;
        let read = if let Some(time) = inside.strip_prefix(EXPIRATION).filter(|_| found.expires_at.is_none())
        {
            part = Part::Expiration;
            let (time, _) =
                split(time, ']', part).map_err(|misfit| misfit.shifted(start + EXPIRATION.len()))?;
            match DateTime::parse_from_rfc3339(time) {
                Ok(parsed) => found.expires_at = Some(parsed.with_timezone(&Utc)),
                Err(_) => {
                    let problem = Problem::Not("a time as in `2026-01-31T12:00:00Z`");
                    return misfit(part, start + EXPIRATION.len(), problem);
                }
            }
            EXPIRATION.len() + time.len()
        } else if found.condition.is_none() && found.expires_at.is_none() {
            let name_ends = inside.find([':', ']']).unwrap_or(inside.len());
            let (name, after) = inside.split_at_checked(name_ends).unwrap_or((inside, ""));
            in_part(Part::Condition, start, check_any_name(name))?;
            found.condition = Some(name.to_owned());
            match after.strip_prefix(':') {
                Some(json) => {
                    let (context, len) = object(json).ok_or(Misfit {
                        part: Part::Context,
                        at: start + name.len() + 1,
                        problem: Problem::Not("a JSON object"),
                    })?;
                    found.context = context;
                    name.len() + 1 + len
                }
                None => name.len(),
            }
        } else {
            return misfit(part, at, Problem::Not("the last one"));
        };
        if !text.get(start + read..).is_some_and(|rest| rest.starts_with(']')) {
            return misfit(part, start + read, Problem::Missing(']'));
        }
        at = start + read + 1;
    }
    Ok((plain, found))
}

const EXPIRATION: &str = "expiration:";

/// The JSON object at the beginning of a text, with its keys in order, and its length there.
fn object(text: &str) -> Option<(Option<String>, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Map<_, _>>();
    let map = values.next()?.ok()?;
    let context = (!map.is_empty()).then(|| serde_json::Value::Object(map).to_string());
    Some((context, values.byte_offset()))
}

/// A fault of a condition's name, of which the place in the text does not matter.
pub(crate) fn condition_fault((_, fault): (usize, Fault)) -> Misfit {
    Misfit { part: Part::Condition, at: 0, problem: Problem::Faulty(fault) }
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
