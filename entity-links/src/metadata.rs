//! What a link may carry besides its ends: a small schema, a field at a time.
//!
//! INVARIANT: a value is accepted only when every field of it is declared and fits; what does not fit is told with
//! its place, as a JSON pointer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The fields that a link's metadata may have. A type without a schema takes any object.
///
/// # How is metadata described?
///
/// ```
/// use formwork_entity_links::{Field, MetadataSchema};
/// use serde_json::json;
///
/// let schema = MetadataSchema::new()
///     .required("lag_days", Field::Integer { min: Some(0), max: Some(365) })
///     .optional("kind", Field::OneOf { values: vec!["FS".into(), "SS".into()] });
/// assert!(schema.check(&json!({"lag_days": 3, "kind": "FS"})).is_ok());
/// let error = schema.check(&json!({"lag_days": -1})).unwrap_err();
/// assert_eq!(error.to_string(), "`/lag_days`: must be a whole number from 0 to 365");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataSchema {
    fields: BTreeMap<String, Declared>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    field: Field,
    #[serde(default)]
    required: bool,
}

/// What one field may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Field {
    /// Text of at most so many characters.
    Text {
        /// The most characters.
        max: usize,
    },
    /// A whole number, both bounds included.
    Integer {
        /// The least.
        min: Option<i64>,
        /// The greatest.
        max: Option<i64>,
    },
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// One of these texts.
    OneOf {
        /// Those that are allowed.
        values: Vec<String>,
    },
}

/// Metadata that does not fit, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pointer}`: {why}")]
pub struct MetadataError {
    pointer: String,
    why: String,
}

impl MetadataError {
    pub(crate) fn at(field: Option<&str>, why: impl Into<String>) -> Self {
        // JSON pointers escape two characters (RFC 6901, section 3).
        let escaped = field.map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")));
        Self { pointer: escaped.unwrap_or_default(), why: why.into() }
    }

    /// The place, as a JSON pointer into the metadata; empty for all of it.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong there.
    pub fn why(&self) -> &str {
        &self.why
    }
}

impl MetadataSchema {
    /// No field yet: only the empty object fits.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more field, which must be there.
    #[must_use]
    pub fn required(self, name: impl Into<String>, field: Field) -> Self {
        self.with(name.into(), Declared { field, required: true })
    }

    /// One more field, which may be left out; null is as good as absent.
    #[must_use]
    pub fn optional(self, name: impl Into<String>, field: Field) -> Self {
        self.with(name.into(), Declared { field, required: false })
    }

    fn with(mut self, name: String, declared: Declared) -> Self {
        self.fields.insert(name, declared);
        self
    }

    /// Does the value fit?
    ///
    /// # Errors
    ///
    /// [`MetadataError`] for the first field that does not.
    pub fn check(&self, metadata: &Value) -> Result<(), MetadataError> {
        let given = object(metadata)?;
        if let Some(unknown) = given.keys().find(|name| !self.fields.contains_key(*name)) {
            let known = self.fields.keys().cloned().collect::<Vec<_>>().join(", ");
            let why = if known.is_empty() { "no field is known".to_owned() } else { format!("use {known}") };
            return Err(MetadataError::at(Some(unknown), format!("is not declared: {why}")));
        }
        for (name, declared) in &self.fields {
            match given.get(name).filter(|value| !value.is_null()) {
                Some(value) => {
                    declared.field.check(value).map_err(|why| MetadataError::at(Some(name), why))?
                }
                None if declared.required => return Err(MetadataError::at(Some(name), "is required")),
                None => {}
            }
        }
        Ok(())
    }

    /// A field that no value could fit.
    pub(crate) fn fault(&self) -> Option<MetadataError> {
        self.fields.iter().find_map(|(name, declared)| {
            let why = declared.field.fault()?;
            Some(MetadataError::at(Some(name), why))
        })
    }
}

/// Metadata is an object, whatever the type says of it.
pub(crate) fn object(metadata: &Value) -> Result<&Map<String, Value>, MetadataError> {
    metadata.as_object().ok_or_else(|| MetadataError::at(None, "must be an object"))
}

impl Field {
    fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match self {
            Self::Text { max } => value.as_str().is_some_and(|text| text.chars().count() <= *max),
            Self::Integer { min, max } => value.as_i64().is_some_and(|number| {
                min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max)
            }),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::OneOf { values } => value.as_str().is_some_and(|text| values.iter().any(|v| v == text)),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(&self) -> String {
        match self {
            Self::Text { max } => format!("must be text of at most {max} characters"),
            Self::Integer { min: None, max: None } => "must be a whole number".to_owned(),
            Self::Integer { min: Some(min), max: None } => {
                format!("must be a whole number of at least {min}")
            }
            Self::Integer { min: None, max: Some(max) } => format!("must be a whole number of at most {max}"),
            Self::Integer { min: Some(min), max: Some(max) } => {
                format!("must be a whole number from {min} to {max}")
            }
            Self::Number => "must be a number".to_owned(),
            Self::Boolean => "must be true or false".to_owned(),
            Self::OneOf { values } => format!("must be one of {}", values.join(", ")),
        }
    }

    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Integer { min: Some(min), max: Some(max) } if min > max => {
                Some("its bounds leave no number")
            }
            Self::OneOf { values } if values.is_empty() => Some("it names no value"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_that_does_not_fit_is_told_with_its_place() {
        let schema = MetadataSchema::new()
            .required("lag", Field::Integer { min: None, max: Some(9) })
            .optional("note", Field::Text { max: 3 })
            .optional("a/b", Field::Boolean)
            .optional("weight", Field::Number)
            .optional("kind", Field::OneOf { values: vec!["FS".into()] });
        for good in
            [json!({"lag": 9}), json!({"lag": -3, "note": "äöü", "a/b": true, "weight": 0.5, "kind": null})]
        {
            assert_eq!(schema.check(&good), Ok(()), "{good}");
        }
        for (bad, text) in [
            (json!([]), "``: must be an object"),
            (json!({}), "`/lag`: is required"),
            (json!({"lag": null}), "`/lag`: is required"),
            (json!({"lag": 10}), "`/lag`: must be a whole number of at most 9"),
            (json!({"lag": 1.5}), "`/lag`: must be a whole number of at most 9"),
            (json!({"lag": 1, "note": "four"}), "`/note`: must be text of at most 3 characters"),
            (json!({"lag": 1, "a/b": 1}), "`/a~1b`: must be true or false"),
            (json!({"lag": 1, "weight": "1"}), "`/weight`: must be a number"),
            (json!({"lag": 1, "kind": "FF"}), "`/kind`: must be one of FS"),
            (json!({"lag": 1, "x": 1}), "`/x`: is not declared: use a/b, kind, lag, note, weight"),
        ] {
            assert_eq!(schema.check(&bad).unwrap_err().to_string(), text, "{bad}");
        }
        assert_eq!(
            MetadataSchema::new().check(&json!({"x": 1})).unwrap_err().to_string(),
            "`/x`: is not declared: no field is known"
        );
    }
}
