//! A relationship: one fact, `document:7#viewer@user:anna`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::error::ParseError;
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
}

impl Relationship {
    /// States that `subject` holds `relation` on `object`; nothing is verified here.
    pub fn new(
        object: impl Into<Object>,
        relation: impl Into<Cow<'static, str>>,
        subject: impl Into<Subject>,
    ) -> Self {
        Self { object: object.into(), relation: relation.into(), subject: subject.into() }
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
        .map_err(|fault| fault.within(self))
    }
}

impl fmt::Display for Relationship {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}@{}", self.object, self.relation, self.subject)
    }
}

impl FromStr for Relationship {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts = parse::relationship(text).map_err(|fault| fault.within(&text))?;
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
        })
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
        ] {
            let parsed: Relationship = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.validate(), Ok(()));
            let json = serde_json::to_string(&parsed).unwrap();
            assert_eq!(json, format!("{text:?}"));
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
