//! What was done.

use std::fmt;

use formwork_tenancy::{Entity, Evidence};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// Kind of thing: `rfi`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its identity.
    pub id: String,
}

impl<E: Entity> From<E> for Target {
    fn from(entity: E) -> Self {
        Self { kind: entity.kind().to_owned(), id: entity.id().into_owned() }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    #[default]
    Success,
    /// It was not allowed.
    Denied,
    /// It was allowed and failed.
    Failure,
}

impl Outcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was done, to be recorded.
///
/// ```
/// use formwork_audit::Event;
///
/// let event = Event::new("project.renamed")
///     .target(("project", uuid::Uuid::nil()))
///     .before(serde_json::json!({"name": "Old"}))
///     .after(serde_json::json!({"name": "New"}));
/// assert_eq!(event.action(), "project.renamed");
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) id: Uuid,
    pub(crate) action: String,
    pub(crate) targets: Vec<Target>,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Option<String>,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
    pub(crate) evidence: Option<Evidence>,
}

impl Event {
    /// `action` as `noun.verb` in the past tense: `rfi.assigned`.
    pub fn new(action: impl Into<String>) -> Self {
        Self {
            id: Uuid::now_v7(),
            action: action.into(),
            targets: Vec::new(),
            outcome: Outcome::Success,
            reason: None,
            before: None,
            after: None,
            evidence: None,
        }
    }

    /// What it was done to; the first one is what the trail is searched by.
    #[must_use]
    pub fn target(mut self, target: impl Into<Target>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    /// Why, in words.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The fields that changed, as they were.
    #[must_use]
    pub fn before(mut self, fields: Value) -> Self {
        self.before = Some(fields);
        self
    }

    /// The fields that changed, as they are now.
    #[must_use]
    pub fn after(mut self, fields: Value) -> Self {
        self.after = Some(fields);
        self
    }

    /// The proof that it was allowed.
    #[must_use]
    pub fn evidence(mut self, evidence: impl Into<Evidence>) -> Self {
        self.evidence = Some(evidence.into());
        self
    }

    /// The action.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// Identity of the event: a UUIDv7.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// `noun.verb`, lower case, as the table's check has it.
    pub(crate) fn has_valid_action(&self) -> bool {
        let word = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        self.action.contains('.') && self.action.split('.').all(word)
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn an_action_is_noun_and_verb() {
        for good in ["rfi.assigned", "a.b.c", "import_job.started"] {
            assert!(Event::new(good).has_valid_action(), "{good}");
        }
        for bad in ["", "rfi", "Rfi.assigned", "rfi.", ".x", "rfi assigned", "1.x"] {
            assert!(!Event::new(bad).has_valid_action(), "{bad}");
        }
    }
}
