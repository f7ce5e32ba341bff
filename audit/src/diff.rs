//! What changed between two states of a thing, told by rules.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::AuditError;

/// Stands for a value that is not told: it changed, and that is all.
const MASK: &str = "***";

/// Which fields of a thing are told, and which of them without their values. Fields are those at its top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRules {
    only: Option<&'static [&'static str]>,
    omitted: &'static [&'static str],
    masked: &'static [&'static str],
}

impl FieldRules {
    /// All fields.
    pub const fn all() -> Self {
        Self { only: None, omitted: &[], masked: &[] }
    }

    /// These and no others: a field that is added later is not told until somebody has thought of it.
    pub const fn only(fields: &'static [&'static str]) -> Self {
        Self { only: Some(fields), omitted: &[], masked: &[] }
    }

    /// Not these.
    #[must_use]
    pub const fn omitting(mut self, fields: &'static [&'static str]) -> Self {
        self.omitted = fields;
        self
    }

    /// These without their values.
    #[must_use]
    pub const fn masking(mut self, fields: &'static [&'static str]) -> Self {
        self.masked = fields;
        self
    }

    fn tells(&self, field: &str) -> bool {
        self.only.is_none_or(|only| only.contains(&field) || self.masked.contains(&field))
            && !self.omitted.contains(&field)
    }

    fn value(&self, field: &str, value: &Value) -> Value {
        match self.masked.contains(&field) && !value.is_null() {
            true => Value::from(MASK),
            false => value.clone(),
        }
    }
}

/// The fields that differ, as they were and as they are; a field that is not there is null.
pub(crate) fn diff(
    before: &impl Serialize,
    after: &impl Serialize,
    rules: FieldRules,
) -> Result<(Value, Value), AuditError> {
    let (before, after) = (fields(before)?, fields(after)?);
    let (mut was, mut is) = (Map::new(), Map::new());
    for name in before.keys().chain(after.keys().filter(|name| !before.contains_key(*name))) {
        let null = Value::Null;
        let (old, new) = (before.get(name).unwrap_or(&null), after.get(name).unwrap_or(&null));
        if old != new && rules.tells(name) {
            was.insert(name.clone(), rules.value(name, old));
            is.insert(name.clone(), rules.value(name, new));
        }
    }
    Ok((Value::Object(was), Value::Object(is)))
}

fn fields(thing: &impl Serialize) -> Result<Map<String, Value>, AuditError> {
    match serde_json::to_value(thing) {
        Ok(Value::Object(fields)) => Ok(fields),
        // What is made or removed has no state before or after.
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(AuditError::NoFields),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_told_and_by_the_rules() {
        let before = json!({"name": "Old", "iban": "DE1", "seen": 1, "kept": true, "gone": 1});
        let after = json!({"name": "New", "iban": "DE2", "seen": 2, "kept": true, "new": null});
        let told = |rules| diff(&before, &after, rules).unwrap();
        let rules = FieldRules::all().omitting(&["seen"]).masking(&["iban"]);
        let expected = (
            json!({"name": "Old", "iban": "***", "gone": 1}),
            json!({"name": "New", "iban": "***", "gone": null}),
        );
        assert_eq!(told(rules), expected);
        assert_eq!(
            told(FieldRules::only(&["kept", "name"])),
            (json!({"name": "Old"}), json!({"name": "New"}))
        );
        let made = diff(&Value::Null, &json!({"name": "New"}), FieldRules::all()).unwrap();
        assert_eq!(made, (json!({"name": null}), json!({"name": "New"})));
        assert!(diff(&json!([1]), &after, FieldRules::all()).is_err());
    }
}
