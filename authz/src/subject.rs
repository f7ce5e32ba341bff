//! A subject: who or what a relationship points at.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use formwork_tenancy::Actor;

use crate::error::ParseError;
use crate::name::WILDCARD;
use crate::object::Object;
use crate::parse::{self, Part};

/// Who holds a relation: one object (`user:anna`), everyone who holds a relation on an object
/// (a userset, `group:eng#member`), or everyone of a type (`user:*`).
///
/// As with [`Object`], the constructors hold the text and [`Subject::validate`], a check or a
/// write verifies it.
///
/// ```
/// use formwork_authz::Subject;
///
/// assert_eq!("user:anna".parse::<Subject>()?, Subject::new("user", "anna"));
/// assert_eq!("group:eng#member".parse::<Subject>()?, Subject::userset("group", "eng", "member"));
/// assert_eq!("user:*".parse::<Subject>()?, Subject::wildcard("user"));
/// # Ok::<(), formwork_authz::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    object: Object,
    relation: Option<Cow<'static, str>>,
}

impl Subject {
    /// One object as a subject, `user:anna`.
    pub fn new(subject_type: impl Into<Cow<'static, str>>, id: impl fmt::Display) -> Self {
        Self { object: Object::new(subject_type, id), relation: None }
    }

    /// Everyone who holds `relation` on an object, `group:eng#member`.
    pub fn userset(
        subject_type: impl Into<Cow<'static, str>>,
        id: impl fmt::Display,
        relation: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { object: Object::new(subject_type, id), relation: Some(relation.into()) }
    }

    /// Everyone of a type, `user:*`.
    pub fn wildcard(subject_type: impl Into<Cow<'static, str>>) -> Self {
        Self::new(subject_type, WILDCARD)
    }

    /// The type, `group` in `group:eng#member`.
    pub fn subject_type(&self) -> &str {
        self.object.object_type()
    }

    /// The id, `eng` in `group:eng#member`, `*` for a wildcard.
    pub fn id(&self) -> &str {
        self.object.id()
    }

    /// The relation of a userset, `member` in `group:eng#member`.
    pub fn relation(&self) -> Option<&str> {
        self.relation.as_deref()
    }

    /// Whether this is `type:*`.
    pub fn is_wildcard(&self) -> bool {
        self.relation.is_none() && self.id() == WILDCARD
    }

    /// The object that is named; for a wildcard its id is `*`, which no real object has.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Verifies what the constructors took as it was given.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place of the first fault.
    pub fn validate(&self) -> Result<(), ParseError> {
        parse::subject_fault(self.subject_type(), self.id(), self.relation())
            .map_err(|fault| fault.within(self))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        match &self.relation {
            Some(relation) => write!(f, "#{relation}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Subject {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (subject_type, rest) =
            parse::split(text, ':', Part::SubjectType).map_err(|fault| fault.within(&text))?;
        let (id, relation) = match rest.split_once('#') {
            Some((id, relation)) => (id, Some(relation)),
            None => (rest, None),
        };
        parse::subject_fault(subject_type, id, relation).map_err(|fault| fault.within(&text))?;
        Ok(Self {
            object: Object::new(subject_type.to_owned(), id),
            relation: relation.map(|name| Cow::Owned(name.to_owned())),
        })
    }
}

impl From<Object> for Subject {
    fn from(object: Object) -> Self {
        Self { object, relation: None }
    }
}

impl From<&Object> for Subject {
    fn from(object: &Object) -> Self {
        object.clone().into()
    }
}

impl From<&Subject> for Subject {
    fn from(subject: &Subject) -> Self {
        subject.clone()
    }
}

/// A person is `user:<uuid>`; other actors are named by their kind as well.
impl From<&Actor> for Subject {
    fn from(actor: &Actor) -> Self {
        Self::new(actor.kind(), actor.id())
    }
}

crate::parse::serde_as_text!(Subject);

/// What can be asked about as a subject: a [`Subject`], an [`Object`], a tenancy actor.
///
/// Checks take the subject through this trait by reference, so that `&actor` and `&subject` both
/// work and a subject that exists already is not copied.
pub trait AsSubject {
    /// The subject that this value stands for.
    fn as_subject(&self) -> Cow<'_, Subject>;
}

impl AsSubject for Subject {
    fn as_subject(&self) -> Cow<'_, Subject> {
        Cow::Borrowed(self)
    }
}

impl AsSubject for Object {
    fn as_subject(&self) -> Cow<'_, Subject> {
        Cow::Owned(self.into())
    }
}

impl AsSubject for Actor {
    fn as_subject(&self) -> Cow<'_, Subject> {
        Cow::Owned(self.into())
    }
}
