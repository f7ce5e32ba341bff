//! An object: one thing of a type, `document:7`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use formwork_tenancy::Entity;

use crate::error::ParseError;
use crate::parse::{self, Part};

/// One thing that permissions are asked for: a type and an id, `document:7`.
///
/// [`Object::new`] only holds the two texts, so that it can be used without a `Result` for every
/// row that is read from a table. They are verified when the object is parsed, and otherwise at
/// the place where they matter: a check or a write with an unusable object is an error that names
/// the place.
///
/// # What does an object look like?
///
/// ```
/// use formwork_authz::Object;
///
/// let object = Object::new("document", 7);
/// assert_eq!(object.to_string(), "document:7");
/// assert_eq!("document:7".parse::<Object>()?, object);
///
/// let error = "document 7".parse::<Object>().unwrap_err();
/// assert_eq!(error.to_string(), "`document 7`: expected `:` after the object type, at column 11");
/// # Ok::<(), formwork_authz::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    object_type: Cow<'static, str>,
    id: String,
}

impl Object {
    /// Names the object of a type with an id; neither is verified here.
    pub fn new(object_type: impl Into<Cow<'static, str>>, id: impl fmt::Display) -> Self {
        Self { object_type: object_type.into(), id: id.to_string() }
    }

    /// The type, `document` in `document:7`.
    pub fn object_type(&self) -> &str {
        &self.object_type
    }

    /// The id, `7` in `document:7`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Verifies what [`Object::new`] took as it was given.
    ///
    /// # Errors
    ///
    /// [`ParseError`] with the place, when the type is not a name or the id is not an id.
    pub fn validate(&self) -> Result<(), ParseError> {
        parse::object_fault(&self.object_type, &self.id).map_err(|fault| fault.within(self))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.object_type, self.id)
    }
}

impl FromStr for Object {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (object_type, id) =
            parse::split(text, ':', Part::ObjectType).map_err(|fault| fault.within(&text))?;
        parse::object_fault(object_type, id).map_err(|fault| fault.within(&text))?;
        Ok(Self { object_type: Cow::Owned(object_type.to_owned()), id: id.to_owned() })
    }
}

impl From<&Object> for Object {
    fn from(object: &Object) -> Self {
        object.clone()
    }
}

impl Entity for Object {
    fn kind(&self) -> &str {
        self.object_type()
    }

    fn id(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.id)
    }
}

crate::parse::serde_as_text!(Object);
