//! What comes with a question: values for conditions, and the time.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// What comes with a question: values for the parameters of conditions, and the time at which it is
/// asked, when that is not now.
///
/// What was stored with a relationship wins over what is given here. A name that no condition has is
/// without effect.
///
/// ```
/// use formwork_authz::{Context, Graph, Object, Schema, Subject};
///
/// let context = Context::new().with("hour", 14).with("team", "steel");
/// assert_eq!(context.get("hour"), Some(&14.into()));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Context {
    values: Map<String, Value>,
    now: Option<DateTime<Utc>>,
}

impl Context {
    /// Nothing is given, and the time is the clock's.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a value for every parameter of the name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Asked as of a time: what expires then or before has no effect.
    #[must_use]
    pub fn at(mut self, now: DateTime<Utc>) -> Self {
        self.now = Some(now);
        self
    }

    /// The value that is given for a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    pub(crate) fn now(&self) -> Option<DateTime<Utc>> {
        self.now
    }
}

impl From<Map<String, Value>> for Context {
    fn from(values: Map<String, Value>) -> Self {
        Self { values, now: None }
    }
}

/// What time it is: decides which relationships have expired.
///
/// Given to [`Graph::with_clock`](crate::Graph::with_clock) and
/// [`Authz::with_clock`](crate::Authz::with_clock) when the system's clock is not to be asked.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
