//! Conditions: CEL over typed parameters, with three answers.
//!
//! A condition holds, fails, or waits for parameters that nobody has given yet. What was stored with a
//! relationship wins over what comes with the request, or whoever asks could overrule whoever granted.
//! An expression is compiled once a schema. Nothing runs whose cost has not been bounded before.

mod cost;
mod fault;
mod functions;
mod value;

use std::fmt;
use std::sync::Arc;

use cel::parser::Expression;
use serde_json::{Map, Value as Json};

use crate::name::{MAX_NAME, nearest};
use crate::schema::expression;
use crate::schema::rule::{ConditionInfo, Dialect, ParameterType};
use cost::Sizes;
use value::Fault;

/// Steps of one evaluation, bounded before it begins. A step takes about a tenth of a microsecond.
const MAX_COST: u64 = 200_000;

/// A condition of a schema, ready to be evaluated.
pub(crate) struct Condition {
    name: Box<str>,
    parameters: Vec<(Box<str>, ParameterType)>,
    /// Whether the expression names the parameter.
    used: Vec<bool>,
    expression: Expression,
    env: Arc<cel::Env>,
    /// Every declared parameter must be given, even one that would not decide.
    strict: bool,
}

/// Values of a condition's parameters, by their place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound(Vec<Option<cel::Value>>);

/// What came of evaluating a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Holds,
    Fails,
    /// Places of the parameters that are missing.
    Missing(Vec<usize>),
    Fault(ConditionError),
}

/// A condition that could not be evaluated: neither of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionError {
    condition: Box<str>,
    reason: Box<str>,
}

impl ConditionError {
    fn new(condition: &str, reason: impl Into<Box<str>>) -> Self {
        Self { condition: condition.into(), reason: reason.into() }
    }

    /// The name of the condition.
    pub fn condition(&self) -> &str {
        &self.condition
    }

    /// What went wrong.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ConditionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "condition `{}`: {}", self.condition, self.reason)
    }
}

impl std::error::Error for ConditionError {}

impl Condition {
    /// Compiles the expression, or says what is wrong with it.
    pub(crate) fn compile(info: &ConditionInfo, dialect: Dialect) -> Result<Self, String> {
        let env = functions::environment();
        let expression = expression::read(&info.expression).map_err(|error| error.to_string())?;
        let names = cost::free_names(&expression);
        if let Some(unknown) =
            names.iter().find(|name| !info.parameters.iter().any(|(known, _)| &**known == **name))
        {
            return Err(format!("`{unknown}` is not a parameter of the condition"));
        }
        let used = info.parameters.iter().map(|(name, _)| names.contains(&&**name)).collect();
        let (name, parameters) = (info.name.clone(), info.parameters.clone());
        Ok(Self { name, parameters, used, expression, env, strict: dialect == Dialect::OpenFga })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn parameter(&self, at: usize) -> &str {
        self.parameters.get(at).map_or("", |(name, _)| name)
    }

    /// Gives what is stored its types.
    ///
    /// # Errors
    ///
    /// A name that is not declared, or a value of another type.
    pub(crate) fn bind(&self, stored: &Map<String, Json>) -> Result<Bound, ConditionError> {
        if let Some(unknown) =
            stored.keys().find(|name| !self.parameters.iter().any(|(known, _)| **known == ***name))
        {
            let names = self.parameters.iter().map(|(name, _)| &**name);
            let near = nearest(unknown, names).map(|near| format!(", did you mean `{near}`?"));
            let unknown: String = unknown.chars().take(MAX_NAME).collect();
            let reason = format!(
                "`{}` is not one of its parameters{}",
                unknown.escape_debug(),
                near.unwrap_or_default()
            );
            return Err(ConditionError::new(&self.name, reason));
        }
        self.bound(|name| stored.get(name)).map_err(|fault| self.fault(fault))
    }

    fn bound<'a>(&self, value: impl Fn(&str) -> Option<&'a Json>) -> Result<Bound, Fault> {
        let typed = self.parameters.iter().map(|(name, parameter)| {
            let given = value(name);
            given.map(|json| value::typed(name, parameter, json)).transpose()
        });
        typed.collect::<Result<_, _>>().map(Bound)
    }

    pub(crate) fn error(&self, reason: &str) -> ConditionError {
        ConditionError::new(&self.name, reason)
    }

    fn fault(&self, fault: Fault) -> ConditionError {
        ConditionError::new(&self.name, fault.to_string())
    }

    /// Evaluates over what is stored, and what the request gives beside it.
    pub(crate) fn evaluate(&self, stored: Option<&Bound>, request: &Map<String, Json>) -> Outcome {
        let of_stored = |at: usize| stored.and_then(|bound| bound.0.get(at)).and_then(Option::as_ref);
        let mut values: Vec<Option<cel::Value>> = Vec::with_capacity(self.parameters.len());
        for (at, (name, parameter)) in self.parameters.iter().enumerate() {
            values.push(match (of_stored(at), request.get(&**name)) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(json)) => match value::typed(name, parameter, json) {
                    Ok(value) => Some(value),
                    Err(fault) => return Outcome::Fault(self.fault(fault)),
                },
                (None, None) => None,
            });
        }
        let counts = |at: usize| self.strict || self.used.get(at) == Some(&true);
        let missing: Vec<usize> = (0..values.len())
            .filter(|&at| counts(at) && values.get(at).is_some_and(Option::is_none))
            .collect();
        if self.strict && !missing.is_empty() {
            return Outcome::Missing(missing);
        }
        self.run(values, missing)
    }

    fn run(&self, values: Vec<Option<cel::Value>>, missing: Vec<usize>) -> Outcome {
        let named = || self.parameters.iter().map(|(name, _)| &**name).zip(&values);
        let sizes = Sizes::new(named().filter_map(|(name, value)| Some((name, value.as_ref()?))));
        let cost = cost::estimate(&self.expression, &sizes);
        if cost > MAX_COST {
            let reason = format!("it could take {cost} steps, and {MAX_COST} are allowed");
            return Outcome::Fault(ConditionError::new(&self.name, reason));
        }
        let mut context = cel::Context::with_env(Arc::clone(&self.env));
        functions::add_to(&mut context);
        for ((name, _), value) in self.parameters.iter().zip(values) {
            if let Some(value) = value {
                context.add_variable_from_value(&**name, value);
            }
        }
        match cel::Value::resolve(&self.expression, &context) {
            Ok(cel::Value::Bool(true)) => Outcome::Holds,
            Ok(cel::Value::Bool(false)) => Outcome::Fails,
            // Whatever went wrong may be because of what is missing.
            _ if !missing.is_empty() => Outcome::Missing(missing),
            Ok(other) => {
                let reason = format!("it gave {:?} and not a truth value", other.type_of());
                Outcome::Fault(ConditionError::new(&self.name, reason))
            }
            Err(error) => Outcome::Fault(ConditionError::new(&self.name, fault::told(&error))),
        }
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
