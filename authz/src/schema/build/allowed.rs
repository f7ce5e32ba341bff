//! What a relation may hold, written in Rust.

use crate::schema::rule::Deprecation;

/// A form of subject that a relation may hold: `user`, `user:*`, `team#member`, and what must come with it.
///
/// Made of text where nothing comes with it: `"user"`, `"user:*"`, `"team#member"`.
///
/// ```
/// use formwork_authz::Allowed;
///
/// let allowed = Allowed::userset("team", "member").when("daytime").expiring();
/// assert_eq!(allowed.to_string(), "team#member with daytime and expiration");
/// assert_eq!(Allowed::from("user:*"), Allowed::wildcard("user"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Allowed {
    pub(super) subject_type: String,
    pub(super) form: Form,
    pub(super) condition: Option<String>,
    pub(super) expiration: bool,
    pub(super) deprecated: Option<Deprecation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Object,
    Wildcard,
    Userset(String),
}

impl Allowed {
    /// Objects of a type: `user`.
    pub fn object(subject_type: impl Into<String>) -> Self {
        Self::new(subject_type, Form::Object)
    }

    /// Everyone of a type: `user:*`.
    pub fn wildcard(subject_type: impl Into<String>) -> Self {
        Self::new(subject_type, Form::Wildcard)
    }

    /// Whoever holds a relation or permission: `team#member`.
    pub fn userset(subject_type: impl Into<String>, relation: impl Into<String>) -> Self {
        Self::new(subject_type, Form::Userset(relation.into()))
    }

    fn new(subject_type: impl Into<String>, form: Form) -> Self {
        let subject_type = subject_type.into();
        Self { subject_type, form, condition: None, expiration: false, deprecated: None }
    }

    /// Only with this condition, of which there can be one.
    pub fn when(mut self, condition: impl Into<String>) -> Self {
        self.condition = Some(condition.into());
        self
    }

    /// Only with an expiry.
    pub fn expiring(mut self) -> Self {
        self.expiration = true;
        self
    }

    /// To be used no more, and why: the schema warns where it is used.
    pub fn deprecated(mut self, why: impl Into<Box<str>>) -> Self {
        self.deprecated = Some(Deprecation { refused: false, message: why.into() });
        self
    }

    /// Used no more, and why: what would be stored so is refused.
    pub fn refused(mut self, why: impl Into<Box<str>>) -> Self {
        self.deprecated = Some(Deprecation { refused: true, message: why.into() });
        self
    }
}

impl From<&str> for Allowed {
    fn from(text: &str) -> Self {
        match (text.strip_suffix(":*"), text.split_once('#')) {
            (Some(subject_type), _) => Self::wildcard(subject_type),
            (None, Some((subject_type, relation))) => Self::userset(subject_type, relation),
            (None, None) => Self::object(text),
        }
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.subject_type)?;
        match &self.form {
            Form::Object => {}
            Form::Wildcard => f.write_str(":*")?,
            Form::Userset(relation) => write!(f, "#{relation}")?,
        }
        match (&self.condition, self.expiration) {
            (Some(name), true) => write!(f, " with {name} and expiration"),
            (Some(name), false) => write!(f, " with {name}"),
            (None, true) => f.write_str(" with expiration"),
            (None, false) => Ok(()),
        }
    }
}
