//! A schema as OpenFGA's DSL.

use std::fmt::Write;

use crate::schema::convert::{ConversionError, Reasons, unsaid_in_openfga};
use crate::schema::parse::MAX_NESTING;
use crate::schema::rule::ParameterType;
use crate::schema::{AllowedSubject, Rule, Schema, SlotInfo};

impl Schema {
    /// The schema as OpenFGA's DSL: what [`Schema::parse_openfga`] reads as the same schema.
    ///
    /// A model of modules becomes one model of schema 1.2. What is stored directly stands first, as the DSL wants.
    ///
    /// # How is a native schema given to OpenFGA?
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let schema = Schema::parse("definition user {} definition team { relation member: user | user:* }")?;
    /// let model = "model\n  schema 1.1\n\ntype user\n\ntype team\n  relations\n    define member: [user, user:*]\n";
    /// assert_eq!(schema.to_openfga().unwrap(), model);
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConversionError`] when OpenFGA cannot say a part of the schema.
    pub fn to_openfga(&self) -> Result<String, ConversionError> {
        let mut reasons = Reasons::new("OpenFGA's DSL");
        unsaid_in_openfga(self, &mut reasons);
        self.unsaid_in_dsl(&mut reasons);
        reasons.finish(self.openfga_text(), self, Schema::parse_openfga)
    }

    fn unsaid_in_dsl(&self, reasons: &mut Reasons) {
        for (id, slot) in self.slots.iter().enumerate() {
            if directs(&slot.rule) > 1 {
                reasons.add(format!("`{}` names what is stored twice", self.slot_text(id as u32)));
            } else if directs(&slot.rule) == 1 && !direct_first(&slot.rule) {
                let text = self.slot_text(id as u32);
                reasons.add(format!("`{text}` names what is stored elsewhere than first"));
            }
        }
        for condition in &self.conditions {
            for (name, kind) in &condition.parameters {
                if !sayable(kind, false) {
                    let place = format!("the parameter `{name}` of `{}`", condition.name);
                    reasons.add(format!("{place} has the type `{kind}`"));
                }
            }
            if condition.expression.lines().any(|line| line.trim_start().starts_with('#')) {
                reasons.add(format!("the condition `{}` has a line that begins with `#`", condition.name));
            }
        }
    }

    fn openfga_text(&self) -> String {
        let version = if self.modular { "1.2" } else { "1.1" };
        let mut text = format!("model\n  schema {version}\n");
        for info in &self.types {
            text.push('\n');
            comment(&mut text, &info.doc, "");
            let _ = writeln!(text, "type {}", info.name);
            if !info.slots.is_empty() {
                text.push_str("  relations\n");
            }
            for slot in info.slots.iter().filter_map(|&slot| self.slot(slot)) {
                comment(&mut text, &slot.doc, "    ");
                let _ = writeln!(text, "    define {}: {}", slot.name, self.rewrite(slot, &slot.rule, 0));
            }
        }
        for condition in &self.conditions {
            text.push('\n');
            comment(&mut text, &condition.doc, "");
            let parameters: Vec<String> =
                condition.parameters.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
            let expression = crate::schema::format::indented(&condition.expression);
            let _ =
                write!(text, "condition {}({}) {{\n{expression}}}\n", condition.name, parameters.join(", "));
        }
        text
    }

    /// Recursion is bounded: rules are. What is deeper than the parser takes is refused when it is read again.
    pub(crate) fn rewrite(&self, slot: &SlotInfo, rule: &Rule, depth: usize) -> String {
        let name = |id: u32| self.slot(id).map_or("", |slot| &slot.name);
        let join = |rules: &[Rule], operator: &str| {
            let first = rules.iter().filter(|rule| **rule == Rule::This);
            let ordered = first.chain(rules.iter().filter(|rule| **rule != Rule::This));
            let operands: Vec<String> = ordered.map(|rule| self.rewrite(slot, rule, depth + 1)).collect();
            operands.join(operator)
        };
        let text = match rule {
            Rule::This => {
                let allowed: Vec<String> =
                    slot.allowed.iter().map(|allowed| self.restriction(allowed)).collect();
                return format!("[{}]", allowed.join(", "));
            }
            Rule::Slot(id) => return name(*id).to_owned(),
            Rule::Arrow { relation, targets, .. } => {
                let target = targets.first().map_or("", |&(_, target)| name(target));
                return format!("{target} from {}", name(*relation));
            }
            Rule::Nil | Rule::Itself | Rule::Conditional(..) => return String::new(),
            _ if depth > MAX_NESTING + 1 => return "(".to_owned(),
            Rule::Union(rules) => join(rules, " or "),
            Rule::Intersection(rules) => join(rules, " and "),
            Rule::Exclusion(rule, subtrahend) => {
                let parts = [rule, subtrahend].map(|rule| self.rewrite(slot, rule, depth + 1));
                parts.join(" but not ")
            }
        };
        if depth == 0 { text } else { format!("({text})") }
    }

    fn restriction(&self, allowed: &AllowedSubject) -> String {
        let condition = allowed.condition.and_then(|id| self.conditions.get(id as usize));
        let with = condition.map(|condition| format!(" with {}", condition.name)).unwrap_or_default();
        format!("{}{with}", self.subject_text(allowed.subject))
    }
}

fn directs(rule: &Rule) -> usize {
    match rule {
        Rule::This => 1,
        Rule::Union(rules) | Rule::Intersection(rules) => rules.iter().map(directs).sum(),
        Rule::Exclusion(rule, subtrahend) => directs(rule) + directs(subtrahend),
        _ => 0,
    }
}

/// Whether what is stored comes first once it is moved to the front of its union or intersection.
fn direct_first(rule: &Rule) -> bool {
    match rule {
        Rule::This => true,
        Rule::Union(rules) | Rule::Intersection(rules) => {
            rules.contains(&Rule::This) || rules.first().is_some_and(direct_first)
        }
        Rule::Exclusion(rule, _) => direct_first(rule),
        _ => false,
    }
}

/// The DSL has no `any`, no `bytes`, and no types in types in types.
fn sayable(kind: &ParameterType, inside: bool) -> bool {
    match kind {
        ParameterType::Any | ParameterType::Bytes => false,
        ParameterType::List(of) | ParameterType::Map(of) => !inside && sayable(of, true),
        _ => true,
    }
}

fn comment(text: &mut String, doc: &str, indent: &str) {
    for line in doc.split('\n').filter(|_| !doc.is_empty()) {
        let _ = writeln!(text, "{}", format!("{indent}# {line}").trim_end());
    }
}
