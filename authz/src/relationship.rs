//! A relationship: one fact, `document:7#viewer@user:anna`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use serde_json::{Map, Value};

use crate::error::ParseError;
use crate::name::check_any_name;
use crate::object::Object;
use crate::parse;
use crate::subject::Subject;

/// One fact: a subject holds a relation on an object, `document:7#viewer@user:anna`.
///
/// Facts are all that is stored; everything else follows from them through the schema. The macro
/// [`rel!`](crate::rel) writes one down with its shape verified by the compiler.
///
/// ```
/// use formwork_authz::{Object, Relationship, Subject};
///
/// let fact = Relationship::new(Object::new("document", 7), "viewer", Subject::new("user", "anna"));
/// assert_eq!(fact.to_string(), "document:7#viewer@user:anna");
/// assert_eq!("document:7#viewer@user:anna".parse::<Relationship>()?, fact);
///
/// let fact = "document:7#viewer@user:anna[in_hours:{\"zone\":\"UTC\"}][expiration:2026-01-31T00:00:00Z]";
/// assert_eq!(fact.parse::<Relationship>()?.condition(), Some("in_hours"));
///
/// let error = "document:7#viewer@user:".parse::<Relationship>().unwrap_err();
/// assert_eq!(error.to_string(), "`document:7#viewer@user:`: the subject id is empty, at column 24");
/// # Ok::<(), formwork_authz::ParseError>(())
/// ```
#[doc(alias = "tuple")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Relationship {
    object: Object,
    relation: Cow<'static, str>,
    subject: Subject,
    terms: Option<Box<Terms>>,
}

/// Under which a relationship counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Terms {
    condition: Option<Cow<'static, str>>,
    /// JSON with its keys in order; empty when nothing is stored with the condition.
    context: String,
    expires_at: Option<DateTime<Utc>>,
}

impl Relationship {
    /// States that `subject` holds `relation` on `object`; nothing is verified here.
    pub fn new(
        object: impl Into<Object>,
        relation: impl Into<Cow<'static, str>>,
        subject: impl Into<Subject>,
    ) -> Self {
        Self { object: object.into(), relation: relation.into(), subject: subject.into(), terms: None }
    }

    /// Counts only while the condition holds, which is given this context for its parameters: when it is stored, at
    /// most 25,000 bytes of JSON.
    ///
    /// ```
    /// use formwork_authz::rel;
    /// use serde_json::{Map, json};
    ///
    /// let fact = rel!("document:7#viewer@user:anna");
    /// let fact = fact.with_condition("in_hours", Map::from_iter([("from".into(), json!(8))]));
    /// assert_eq!(fact.to_string(), r#"document:7#viewer@user:anna[in_hours:{"from":8}]"#);
    /// ```
    #[must_use]
    pub fn with_condition(mut self, name: impl Into<Cow<'static, str>>, context: Map<String, Value>) -> Self {
        let terms = self.terms.get_or_insert_default();
        terms.condition = Some(name.into());
        terms.context = if context.is_empty() { String::new() } else { Value::Object(context).to_string() };
        self
    }

    /// Counts only before this time, which is kept to the microsecond.
    ///
    /// ```
    /// use formwork_authz::rel;
    ///
    /// let until = "2026-01-31T18:00:00Z".parse()?;
    /// let fact = rel!("document:7#viewer@user:anna").expiring_at(until);
    /// assert_eq!(fact.to_string(), "document:7#viewer@user:anna[expiration:2026-01-31T18:00:00Z]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn expiring_at(mut self, time: DateTime<Utc>) -> Self {
        self.terms.get_or_insert_default().expires_at = Some(time.trunc_subsecs(6));
        self
    }

    /// The name of the condition under which it counts.
    #[doc(alias = "caveat")]
    pub fn condition(&self) -> Option<&str> {
        self.terms.as_ref()?.condition.as_deref()
    }

    /// What is stored for the condition's parameters, as JSON; `None` when nothing is.
    pub fn context(&self) -> Option<&str> {
        self.terms.as_ref().map(|terms| terms.context.as_str()).filter(|context| !context.is_empty())
    }

    /// The time from which on it does not count.
    pub fn expires_at(&self) -> Option<DateTime<Utc>> {
        self.terms.as_ref()?.expires_at
    }

    /// Whether both are one relationship: who holds what on what. Condition and expiry are no part of
    /// that; there is one at a time, and writing another replaces it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    pub(crate) fn identity(&self) -> (&Object, &str, &Subject) {
        (&self.object, &self.relation, &self.subject)
    }

    /// With a condition as it was stored.
    pub(crate) fn with_terms(
        mut self,
        condition: Option<String>,
        context: Option<String>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Self {
        if condition.is_some() || expires_at.is_some() {
            let context = context.unwrap_or_default();
            self.terms = Some(Box::new(Terms { condition: condition.map(Cow::Owned), context, expires_at }));
        }
        self
    }

    /// Without condition and expiry.
    pub(crate) fn without_terms(mut self) -> Self {
        self.terms = None;
        self
    }

    /// The object, `document:7`.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The relation, `viewer`.
    pub fn relation(&self) -> &str {
        &self.relation
    }

    /// The subject, `user:anna`.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Verifies what the constructors took as it was given.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place of the first fault in the relationship's text.
    pub fn validate(&self) -> Result<(), ParseError> {
        let (object, subject) = (&self.object, &self.subject);
        parse::relationship_fault(
            (object.object_type(), object.id()),
            &self.relation,
            (subject.subject_type(), subject.id(), subject.relation()),
        )
        .map_err(|fault| fault.within(self))?;
        match self.condition().map(check_any_name) {
            Some(Err(fault)) => Err(parse::condition_fault(fault).within(self)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.object, self.relation, self.subject)?;
        match (self.condition(), self.context()) {
            (Some(name), Some(context)) => write!(f, "[{name}:{context}]")?,
            (Some(name), None) => write!(f, "[{name}]")?,
            _ => {}
        }
        match self.expires_at() {
            Some(time) => write!(f, "[expiration:{}]", time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => Ok(()),
        }
    }
}

impl FromStr for Relationship {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (plain, terms) = parse::terms(text).map_err(|fault| fault.within(&text))?;
        let parts = parse::relationship(plain).map_err(|fault| fault.within(&text))?;
        let (object_type, object_id) = parts.object;
        let (subject_type, subject_id, subject_relation) = parts.subject;
        parse::relationship_fault(parts.object, parts.relation, parts.subject)
            .map_err(|fault| fault.within(&text))?;
        let subject = match subject_relation {
            Some(relation) => Subject::userset(subject_type.to_owned(), subject_id, relation.to_owned()),
            None => Subject::new(subject_type.to_owned(), subject_id),
        };
        Ok(Self {
            object: Object::new(object_type.to_owned(), object_id),
            relation: Cow::Owned(parts.relation.to_owned()),
            subject,
            terms: None,
        }
        .with_terms(terms.condition, terms.context, terms.expires_at))
    }
}

crate::parse::serde_as_text!(Relationship);

/// One change of the stored facts: a relationship is there afterwards, or it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The relationship holds from now on; it may have held already.
    Touch(Relationship),
    /// The relationship no longer holds; it may not have held.
    Delete(Relationship),
}

impl Change {
    /// The relationship that is touched or deleted.
    pub fn relationship(&self) -> &Relationship {
        match self {
            Self::Touch(relationship) | Self::Delete(relationship) => relationship,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_out() {
        for text in [
            "document:7#viewer@user:anna",
            "document:7#viewer@user:*",
            "document:7#viewer@group:eng#member",
            "document:a@b#viewer@user:anna@example.org",
            "document:7#viewer@user:a@b#c",
            "document:7#viewer@user:anna[in_hours]",
            "document:7#viewer@user:*[in_hours:{\"at\":[1,\"]\"]}]",
            "document:7#viewer@group:eng#member[expiration:2026-01-31T12:00:00Z]",
            "document:7#viewer@user:anna[in_hours:{\"a\":{}}][expiration:2026-01-31T12:00:00.000001Z]",
        ] {
            let parsed: Relationship = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.validate(), Ok(()));
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(json, serde_json::json!(text).to_string());
            assert_eq!(serde_json::from_str::<Relationship>(&json).unwrap(), parsed);
        }
        assert!(serde_json::from_str::<Relationship>("\"nonsense\"").is_err());
    }

    #[test]
    fn an_error_names_the_place() {
        for (text, message) in [
            ("", "``: expected `#` after the object, at column 1"),
            ("document:7", "`document:7`: expected `#` after the object, at column 11"),
            (
                "document#viewer@user:a",
                "`document#viewer@user:a`: expected `:` after the object type, at column 9",
            ),
            ("document:7#viewer", "`document:7#viewer`: expected `@` after the relation, at column 18"),
            (
                "document:7#viewer@anna",
                "`document:7#viewer@anna`: expected `:` after the subject type, at column 23",
            ),
            (
                "9ocument:7#viewer@user:a",
                "`9ocument:7#viewer@user:a`: the object type cannot contain `9`, at column 1",
            ),
            ("document:#viewer@user:a", "`document:#viewer@user:a`: the object id is empty, at column 10"),
            (
                "document:*#viewer@user:a",
                "`document:*#viewer@user:a`: the object id cannot contain `*`, at column 10",
            ),
            ("document:7#@user:a", "`document:7#@user:a`: the relation is empty, at column 12"),
            (
                "document:7#vi ewer@user:a",
                "`document:7#vi ewer@user:a`: the relation cannot contain ` `, at column 14",
            ),
            (
                "document:7#viewer@user:a:b",
                "`document:7#viewer@user:a:b`: the subject id cannot contain `:`, at column 25",
            ),
            (
                "document:7#viewer@user:a*",
                "`document:7#viewer@user:a*`: the subject id cannot contain `*`, at column 25",
            ),
            (
                "document:7#viewer@user:*#x",
                "`document:7#viewer@user:*#x`: the subject id cannot contain `*`, at column 24",
            ),
            (
                "document:7#viewer@group:eng#",
                "`document:7#viewer@group:eng#`: the subject relation is empty, at column 29",
            ),
            (
                "document:7#viewer@user:a[",
                "`document:7#viewer@user:a[`: the condition is empty, at column 26",
            ),
            (
                "document:7#viewer@user:a[b",
                "`document:7#viewer@user:a[b`: expected `]` after the condition, at column 27",
            ),
            (
                "document:7#viewer@user:a[b:{]",
                "`document:7#viewer@user:a[b:{]`: the context is not a JSON object, at column 28",
            ),
            (
                "document:7#viewer@user:a[b]c",
                "`document:7#viewer@user:a[b]c`: expected `[` after the condition, at column 28",
            ),
            (
                "document:7#viewer@user:a[expiration:soon]",
                "`document:7#viewer@user:a[expiration:soon]`: the expiration is not a time as in `2026-01-31T12:00:00Z`, at column 37",
            ),
            (
                "dökument:7#viewer@user:a",
                "`dökument:7#viewer@user:a`: the object type cannot contain `ö`, at column 2",
            ),
        ] {
            assert_eq!(text.parse::<Relationship>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn parts_that_hide_separators_do_not_pass() {
        let sneaky = Relationship::new(
            Object::new("document", "7#owner@user:eve"),
            "viewer",
            Subject::new("user", "anna"),
        );
        assert_eq!(
            sneaky.validate().unwrap_err().to_string(),
            "`document:7#owner@user:eve#viewer@user:anna`: the object id cannot contain `#`, at column 11"
        );
    }
}
