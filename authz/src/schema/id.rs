//! What a schema says, as one text, and the hash of it: the same schema has the same id wherever it was compiled.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::schema::{ConversionError, Dialect, Schema, SchemaError};

/// A schema by its content: SHA-256 of its language and its text, as 64 hexadecimal digits.
///
/// ```
/// use formwork_authz::{Schema, Source};
///
/// let one = Schema::parse("definition user {} definition rfi { relation assignee: user }")?;
/// let parts = Schema::compose(&[
///     Source { name: "people", text: "definition user {}" },
///     Source { name: "rfis", text: "definition rfi {\n  relation assignee: user\n}" },
/// ])?;
/// assert_eq!(one.id()?, parts.id()?);
/// assert_eq!(one.id()?.to_string().parse(), Ok(one.id()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaId([u8; 32]);

/// Text that is no schema's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a schema's id is 64 hexadecimal digits in lower case")]
pub struct InvalidSchemaId;

impl SchemaId {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for SchemaId {
    type Err = InvalidSchemaId;

    fn from_str(text: &str) -> Result<Self, InvalidSchemaId> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return Err(InvalidSchemaId);
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| InvalidSchemaId)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| InvalidSchemaId)?;
        }
        let id = Self(bytes);
        (id.to_string() == text).then_some(id).ok_or(InvalidSchemaId)
    }
}

/// A schema as it is stored: all of its modules in one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredText {
    pub(crate) language: &'static str,
    pub(crate) source: String,
}

impl StoredText {
    pub(crate) fn id(&self) -> SchemaId {
        let Self { language, source } = self;
        SchemaId(Sha256::digest(format!("{language}\n{source}")).into())
    }
}

impl Schema {
    /// What the schema says, by its content: comments count, how it was cut into modules does not.
    ///
    /// # Errors
    ///
    /// [`ConversionError`] for an OpenFGA model that neither their DSL nor their JSON can say.
    pub fn id(&self) -> Result<SchemaId, ConversionError> {
        self.stored_text().map(|text| text.id())
    }

    pub(crate) fn stored_text(&self) -> Result<StoredText, ConversionError> {
        if self.dialect == Dialect::Native {
            return Ok(StoredText { language: "native", source: self.to_native()? });
        }
        match self.to_openfga() {
            Ok(source) => Ok(StoredText { language: "openfga", source }),
            Err(_) => Ok(StoredText { language: "openfga-json", source: self.to_openfga_json()? }),
        }
    }

    /// What [`stored_text`](Self::stored_text) has written.
    pub(crate) fn from_stored(language: &str, source: &str) -> Result<Self, SchemaError> {
        match language {
            "native" => Self::parse(source),
            "openfga" => Self::parse_openfga(source),
            _ => Self::parse_openfga_json(source),
        }
    }
}
