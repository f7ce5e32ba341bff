//! What was done.

use std::fmt;

use formwork_tenancy::{Actor, Entity, Evidence};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{Action, AuditError, FieldRules, diff::diff};

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
    pub(crate) impersonator: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) fails_open: bool,
    #[cfg(feature = "keys")]
    pub(crate) personal: crate::personal::Plain,
    rules: FieldRules,
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
            impersonator: None,
            on_behalf_of: None,
            trace_id: None,
            idempotency_key: None,
            fails_open: false,
            #[cfg(feature = "keys")]
            personal: Default::default(),
            rules: FieldRules::all(),
        }
    }

    /// Of an action that is declared: with its rules for fields, and failing as it says.
    pub fn of(action: &Action) -> Self {
        Self { fails_open: action.fails_open(), rules: action.rules(), ..Self::new(action.name()) }
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

    /// The fields in which two states of a thing differ, by the action's rules: in place of
    /// [`before`](Self::before) and [`after`](Self::after). `()` is the state of what is not there.
    ///
    /// ```
    /// use formwork_audit::{Action, Event, FieldRules};
    ///
    /// const CHANGED: Action = Action::new("account.changed").fields(FieldRules::all().masking(&["iban"]));
    /// #[derive(serde::Serialize)]
    /// struct Account { name: &'static str, iban: &'static str }
    ///
    /// let (old, new) = (Account { name: "A", iban: "DE1" }, Account { name: "A", iban: "DE2" });
    /// let event = Event::of(&CHANGED).diff(&old, &new)?;
    /// assert!(format!("{event:?}").contains(r#"{"iban": String("***")}"#));
    /// # Ok::<(), formwork_audit::AuditError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AuditError::NoFields`] when one is neither a struct nor a map.
    pub fn diff(mut self, before: &impl Serialize, after: &impl Serialize) -> Result<Self, AuditError> {
        let (was, is) = diff(before, after, self.rules)?;
        (self.before, self.after) = (Some(was), Some(is));
        Ok(self)
    }

    /// Who acted in truth, in the name of the session's actor.
    #[must_use]
    pub fn impersonated_by(mut self, actor: &Actor) -> Self {
        self.impersonator = Some(actor.to_string());
        self
    }

    /// For whom the session's actor did it: a job for the person who has asked for it.
    #[must_use]
    pub fn on_behalf_of(mut self, actor: &Actor) -> Self {
        self.on_behalf_of = Some(actor.to_string());
        self
    }

    /// The trace in which it happened, as W3C's Trace Context writes it.
    #[must_use]
    pub fn trace_id(mut self, id: impl Into<String>) -> Self {
        self.trace_id = Some(id.into());
        self
    }

    /// What the attempt is known by: of events with one key, the tenant's trail has the first alone.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// A field about a person, which is stored sealed under the tenant's own key. When that is destroyed nobody reads it
    /// any more, and every seal of the trail still holds.
    #[cfg(feature = "keys")]
    #[must_use]
    pub fn personal(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.personal.add(name.into(), value.into());
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

    pub(crate) fn has_valid_action(&self) -> bool {
        is_action(self.action.as_bytes())
    }
}

/// `noun.verb`, lower case, as the table's check has it.
#[expect(clippy::indexing_slicing, reason = "within bounds, and a const function has no iterators")]
pub(crate) const fn is_action(text: &[u8]) -> bool {
    let (mut at, mut words, mut is_first) = (0, 1, true);
    while at < text.len() {
        match text[at] {
            b'a'..=b'z' => is_first = false,
            b'0'..=b'9' | b'_' if !is_first => {}
            b'.' if !is_first => {
                words += 1;
                is_first = true;
            }
            _ => return false,
        }
        at += 1;
    }
    words > 1 && !is_first
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn an_action_is_noun_and_verb() {
        for good in ["rfi.assigned", "a.b.c", "import_job.started"] {
            assert!(Event::new(good).has_valid_action(), "{good}");
        }
        for bad in ["", "rfi", "rfi..x", "rfi._x", "Rfi.assigned", "rfi.", ".x", "rfi assigned", "1.x"] {
            assert!(!Event::new(bad).has_valid_action(), "{bad}");
        }
    }
}
