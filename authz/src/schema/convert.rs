//! What one language cannot say of what the other can.

use std::fmt;

use crate::schema::diagnostic::SchemaError;
use crate::schema::{Dialect, Rule, Schema, SchemaError as Refused, SlotInfo, SlotKind};

/// How many reasons are told.
const MAX_REASONS: usize = 50;

/// A schema that the wanted language has no words for, with every reason.
///
/// ```
/// use formwork_authz::Schema;
///
/// let schema = Schema::parse("definition user {} definition team {
///     relation member: user
/// } definition document {
///     relation team: team
///     permission view = team.all(member)
/// }")?;
/// let error = schema.to_openfga().unwrap_err();
/// assert_eq!(error.reasons(), ["`document#view` asks for all with `.all()`"]);
/// # Ok::<(), formwork_authz::SchemaError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionError {
    target: &'static str,
    reasons: Vec<String>,
}

impl ConversionError {
    /// What cannot be said, in the order of the schema; never empty.
    pub fn reasons(&self) -> &[String] {
        &self.reasons
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot say this schema: {}", self.target, self.reasons.join("; "))
    }
}

impl std::error::Error for ConversionError {}

/// Collects what cannot be said.
pub(crate) struct Reasons {
    target: &'static str,
    found: Vec<String>,
}

impl Reasons {
    pub(crate) fn new(target: &'static str) -> Self {
        Self { target, found: Vec::new() }
    }

    pub(crate) fn add(&mut self, reason: impl Into<String>) {
        if self.found.len() < MAX_REASONS {
            self.found.push(reason.into());
        }
    }

    /// The text if everything could be said, and if it says the same when it is read again.
    pub(crate) fn finish(
        mut self,
        text: String,
        schema: &Schema,
        read: impl FnOnce(&str) -> Result<Schema, Refused>,
    ) -> Result<String, ConversionError> {
        if self.found.is_empty() {
            match read(&text) {
                Ok(again) if again.says_the_same(schema) => return Ok(text),
                Ok(_) => self.add("the text would be read as something else"),
                Err(refused) => self.refused(&refused),
            }
        }
        Err(ConversionError { target: self.target, reasons: self.found })
    }

    /// What the rules of the other language refuse.
    fn refused(&mut self, refused: &SchemaError) {
        for diagnostic in refused.diagnostics() {
            self.add(format!("{} ({})", diagnostic.message(), diagnostic.code()));
        }
    }
}

impl Schema {
    /// Whether both hold the same types, rules and conditions, whatever they were written in.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let types = self.types.len() == other.types.len()
            && self.types.iter().zip(&other.types).all(|(a, b)| a.name == b.name && a.slots == b.slots);
        let slots = self.slots.len() == other.slots.len()
            && self.slots.iter().zip(&other.slots).all(|(a, b)| same_slot(a, b));
        let conditions = self.conditions.len() == other.conditions.len()
            && self.conditions.iter().zip(&other.conditions).all(|(a, b)| {
                let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
                a.name == b.name
                    && a.parameters == b.parameters
                    && lines(&a.expression) == lines(&b.expression)
            });
        types && slots && conditions
    }
}

fn same_slot(a: &SlotInfo, b: &SlotInfo) -> bool {
    let allowed = a.allowed.len() == b.allowed.len()
        && a.allowed.iter().zip(&b.allowed).all(|(a, b)| {
            a.subject == b.subject && a.condition == b.condition && a.expiration == b.expiration
        });
    a.name == b.name && a.type_id == b.type_id && allowed && same_rule(&a.rule, &b.rule)
}

/// What is stored directly may change its place among operands whose order does not count.
fn same_rule(a: &Rule, b: &Rule) -> bool {
    match (a, b) {
        (Rule::Union(a), Rule::Union(b)) | (Rule::Intersection(a), Rule::Intersection(b)) => {
            let direct_first = |rules: &[Rule]| -> Vec<Rule> {
                let (direct, rest): (Vec<&Rule>, Vec<&Rule>) =
                    rules.iter().partition(|rule| **rule == Rule::This);
                direct.into_iter().chain(rest).cloned().collect()
            };
            let (a, b) = (direct_first(a), direct_first(b));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same_rule(a, b))
        }
        (Rule::Exclusion(a, c), Rule::Exclusion(b, d)) => same_rule(a, b) && same_rule(c, d),
        (Rule::Conditional(a, c), Rule::Conditional(b, d)) => c == d && same_rule(a, b),
        _ => a == b,
    }
}

/// Two schemas are equal when they hold the same types, rules and conditions and were written in the same
/// language; comments and places do not count.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        let marks = self.slots.iter().zip(&other.slots).all(|(a, b)| {
            a.deprecated == b.deprecated
                && a.announced == b.announced
                && a.rule == b.rule
                && a.allowed == b.allowed
        });
        let types = self.types.iter().zip(&other.types).all(|(a, b)| a.deprecated == b.deprecated);
        self.dialect == other.dialect
            && self.modular == other.modular
            && self.says_the_same(other)
            && marks
            && types
    }
}

/// What the native language cannot say.
pub(crate) fn unsaid_in_native(schema: &Schema, reasons: &mut Reasons) {
    if schema.dialect == Dialect::Native {
        return;
    }
    let name = |kind: &str, name: &str, valid: bool, reasons: &mut Reasons| {
        if !valid {
            reasons.add(format!("the {kind} `{name}` is no native name"));
        }
    };
    let valid = |name: &str| {
        crate::name::check_type_name(name).is_ok()
            && name.split('/').all(|part| !crate::schema::parse::RESERVED.contains(&part))
    };
    for info in &schema.types {
        name("type", &info.name, valid(&info.name), reasons);
    }
    for (id, slot) in schema.slots.iter().enumerate() {
        let text = schema.slot_text(id as u32);
        name("relation", &text, valid(&slot.name) && !slot.name.contains('/'), reasons);
        if slot.kind == SlotKind::Mixed {
            reasons.add(format!("`{text}` is stored and computed at once"));
        }
    }
    for condition in &schema.conditions {
        name("condition", &condition.name, valid(&condition.name), reasons);
        for (parameter, _) in &condition.parameters {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let valid = parameter.chars().all(word) && parameter.len() <= crate::name::MAX_NAME;
            name("parameter", parameter, valid, reasons);
        }
    }
}

/// What OpenFGA cannot say, neither in its DSL nor in JSON.
pub(crate) fn unsaid_in_openfga(schema: &Schema, reasons: &mut Reasons) {
    for info in schema.types.iter().filter(|info| info.deprecated.is_some()) {
        reasons.add(format!("`{}` is marked as deprecated", info.name));
    }
    for (id, slot) in schema.slots.iter().enumerate() {
        let text = schema.slot_text(id as u32);
        if slot.deprecated.is_some() || slot.allowed.iter().any(|allowed| allowed.deprecated.is_some()) {
            reasons.add(format!("`{text}` is marked as deprecated"));
        }
        if slot.allowed.iter().any(|allowed| allowed.expiration) {
            reasons.add(format!("`{text}` holds relationships that expire"));
        }
        if slot.announced.is_some() {
            reasons.add(format!("`{text}` announces its types"));
        }
        let mut todo = vec![&slot.rule];
        while let Some(rule) = todo.pop() {
            match rule {
                Rule::Nil => reasons.add(format!("`{text}` has `nil`")),
                Rule::Itself => reasons.add(format!("`{text}` has `self`")),
                Rule::Arrow { all: true, .. } => reasons.add(format!("`{text}` asks for all with `.all()`")),
                Rule::Conditional(rule, _) => {
                    reasons.add(format!("the permission `{text}` carries a condition"));
                    todo.push(rule);
                }
                Rule::Union(rules) | Rule::Intersection(rules) => todo.extend(rules.iter().rev()),
                Rule::Exclusion(rule, subtrahend) => todo.extend([&**subtrahend, rule]),
                Rule::This | Rule::Slot(_) | Rule::Arrow { .. } => {}
            }
        }
    }
}
