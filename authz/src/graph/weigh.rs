//! Whether a guarded relationship counts, and a condition holds; and what could not be said.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::condition::{ConditionError, Outcome};
use crate::decision::Decision;
use crate::error::{CheckError, TooComplex};
use crate::graph::guard::{GuardKey, Value};
use crate::graph::search::Search;

/// What was met on the way and could not be decided; empty where there are no conditions.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Conditions and the places of their missing parameters.
    missing: Vec<(u32, usize)>,
    fault: Option<ConditionError>,
    /// What was met without being able to go on: there is no answer at all.
    pub(super) too_complex: Option<TooComplex>,
    guards: FxHashMap<GuardKey, Value>,
    conditions: FxHashMap<u32, Value>,
}

impl Search<'_> {
    /// Forgets what could not be said before, and every answer that rests on it: each question is to
    /// name what it lacks.
    #[inline]
    pub(super) fn begin(&mut self) {
        if let Some(aside) = &mut self.aside
            && (!aside.notes.missing.is_empty() || aside.notes.fault.is_some())
        {
            aside.notes = Notes::default();
            aside.known.clear();
        }
    }

    /// How far the relationship counts, at the time and in the context of the question.
    pub(super) fn guard(&mut self, key: GuardKey) -> Value {
        if let Some(&known) = self.aside().notes.guards.get(&key) {
            return known;
        }
        let value = self.weigh(key);
        self.aside().notes.guards.insert(key, value);
        value
    }

    fn weigh(&mut self, key: GuardKey) -> Value {
        let graph = self.graph;
        let Some(guard) = graph.state.guards.get(key) else { return Value::No };
        if guard.expires_at.is_some_and(|time| time <= self.now()) {
            return Value::No;
        }
        let Some(id) = guard.condition else { return Value::Yes };
        let Some(condition) = graph.schema.condition(id) else { return Value::No };
        let outcome = match &guard.bound {
            Ok(bound) => condition.evaluate(Some(bound), self.context.values()),
            Err(fault) => Outcome::Fault(fault.clone()),
        };
        self.note(id, outcome)
    }

    /// How far a permission's own condition holds.
    pub(super) fn condition(&mut self, id: u32) -> Value {
        if let Some(&known) = self.aside().notes.conditions.get(&id) {
            return known;
        }
        let Some(condition) = self.graph.schema.condition(id) else { return Value::No };
        let outcome = condition.evaluate(None, self.context.values());
        let value = self.note(id, outcome);
        self.aside().notes.conditions.insert(id, value);
        value
    }

    /// What failed may be true or not, as what is missing: it matters only where it decides.
    fn note(&mut self, condition: u32, outcome: Outcome) -> Value {
        match outcome {
            Outcome::Holds => return Value::Yes,
            Outcome::Fails => return Value::No,
            Outcome::Missing(places) => {
                self.aside().notes.missing.extend(places.into_iter().map(|at| (condition, at)))
            }
            Outcome::Fault(fault) => {
                self.aside().notes.fault.get_or_insert(fault);
            }
        }
        Value::Maybe
    }

    /// Microseconds since 1970; the clock is asked once a search.
    pub(super) fn now(&mut self) -> i64 {
        let (context, graph) = (self.context, self.graph);
        let clock = || context.now().unwrap_or_else(|| graph.clock.now()).timestamp_micros();
        *self.aside().now.get_or_insert_with(clock)
    }

    #[inline]
    pub(super) fn decision(&mut self, value: Value) -> Result<Decision, CheckError> {
        if let Some(limit) = self.aside.as_mut().and_then(|aside| aside.notes.too_complex.take()) {
            return Err(limit.into());
        }
        match value {
            Value::Yes => Ok(Decision::Allowed),
            Value::No => Ok(Decision::Denied),
            Value::Maybe => match self.aside().notes.fault.take() {
                Some(fault) => Err(fault.into()),
                None => Ok(Decision::Conditional { missing: self.missing() }),
            },
        }
    }

    /// The value, unless there is no answer.
    pub(super) fn settled(&mut self, value: Value) -> Result<Value, CheckError> {
        if value == Value::Maybe || self.is_too_complex() {
            let _: Decision = self.decision(value)?;
        }
        Ok(value)
    }

    #[inline]
    pub(super) fn is_too_complex(&self) -> bool {
        self.aside.as_ref().is_some_and(|aside| aside.notes.too_complex.is_some())
    }

    fn missing(&self) -> Arc<[Box<str>]> {
        let name = |&(condition, at): &(u32, usize)| {
            self.graph.schema.condition(condition).map(|condition| Box::from(condition.parameter(at)))
        };
        let missing = self.aside.iter().flat_map(|aside| &aside.notes.missing);
        let mut names: Vec<Box<str>> = missing.filter_map(name).collect();
        names.sort_unstable();
        names.dedup();
        names.into()
    }
}
