//! A schema as native text.

use std::fmt::Write;

use crate::schema::convert::{ConversionError, Reasons, unsaid_in_native};
use crate::schema::format::{indented, laid_out};
use crate::schema::{
    AllowedSubject, ConditionInfo, Deprecation, Rule, Schema, SlotInfo, SlotKind, SubjectKind,
};

impl Schema {
    /// The schema as native text: what [`Schema::parse`] reads as the same schema.
    ///
    /// Partials and imports stand where they were put in.
    ///
    /// # How is an OpenFGA model taken over?
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let model = Schema::parse_openfga("model\n  schema 1.1\ntype user\ntype team\n  relations\n    define member: [user]")?;
    /// assert_eq!(model.to_native().unwrap(), "definition user {}\n\ndefinition team {\n    relation member: user\n}\n");
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConversionError`] when the schema is an OpenFGA model of which the native language cannot say a part.
    pub fn to_native(&self) -> Result<String, ConversionError> {
        let mut reasons = Reasons::new("the native language");
        unsaid_in_native(self, &mut reasons);
        reasons.finish(laid_out(&self.native_text()), self, Schema::parse)
    }

    fn native_text(&self) -> String {
        let mut blocks = Vec::new();
        let uses = self.features();
        if !uses.is_empty() {
            blocks.push(uses.iter().map(|feature| format!("use {feature}\n")).collect());
        }
        blocks.extend(self.conditions.iter().map(condition));
        for info in &self.types {
            let mut text = doc(&info.doc, "");
            deprecation(&mut text, info.deprecated.as_ref(), "");
            if info.slots.is_empty() {
                let _ = writeln!(text, "definition {} {{}}", info.name);
            } else {
                let _ = writeln!(text, "definition {} {{", info.name);
                for slot in info.slots.iter().filter_map(|&slot| self.slot(slot)) {
                    self.item(&mut text, slot);
                }
                text.push_str("}\n");
            }
            blocks.push(text);
        }
        blocks.join("\n")
    }

    /// The features that have to be switched on.
    fn features(&self) -> Vec<&'static str> {
        let marked = |mark: &Option<Deprecation>| mark.is_some();
        let allowed = || self.slots.iter().flat_map(|slot| &slot.allowed);
        let deprecation = self.types.iter().any(|info| marked(&info.deprecated))
            || self.slots.iter().any(|slot| marked(&slot.deprecated))
            || allowed().any(|allowed| marked(&allowed.deprecated));
        let expiration = allowed().any(|allowed| allowed.expiration);
        let itself = self.slots.iter().any(|slot| has_itself(&slot.rule));
        let announced = self.slots.iter().any(|slot| slot.announced.is_some());
        let all = [
            ("deprecation", deprecation),
            ("expiration", expiration),
            ("self", itself),
            ("typechecking", announced),
        ];
        all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect()
    }

    fn item(&self, text: &mut String, slot: &SlotInfo) {
        text.push_str(&doc(&slot.doc, "    "));
        deprecation(text, slot.deprecated.as_ref(), "    ");
        if slot.kind == SlotKind::Relation {
            let allowed: Vec<String> = slot.allowed.iter().map(|allowed| self.allowed(allowed)).collect();
            let _ = writeln!(text, "    relation {}: {}", slot.name, allowed.join(" | "));
            return;
        }
        let announced = match &slot.announced {
            Some(types) => {
                format!(": {}", types.iter().map(|&id| self.type_name(id)).collect::<Vec<_>>().join(" | "))
            }
            None => String::new(),
        };
        let _ = writeln!(text, "    permission {}{announced} = {}", slot.name, self.text(&slot.rule, true));
    }

    fn allowed(&self, allowed: &AllowedSubject) -> String {
        let mut text = String::new();
        if let Some(mark) = &allowed.deprecated {
            let _ = write!(text, "{} ", mark_text(mark));
        }
        text.push_str(&self.subject_text(allowed.subject));
        let condition = allowed.condition.and_then(|id| self.conditions.get(id as usize));
        match (condition, allowed.expiration) {
            (Some(condition), false) => {
                let _ = write!(text, " with {}", condition.name);
            }
            (Some(condition), true) => {
                let _ = write!(text, " with {} and expiration", condition.name);
            }
            (None, true) => text.push_str(" with expiration"),
            (None, false) => {}
        }
        text
    }

    pub(crate) fn subject_text(&self, subject: SubjectKind) -> String {
        match subject {
            SubjectKind::Object(id) => self.type_name(id).to_owned(),
            SubjectKind::Wildcard(id) => format!("{}:*", self.type_name(id)),
            SubjectKind::Userset(slot) => self.slot_text(slot),
        }
    }

    /// Operations inside others have parentheses, needed or not: who binds tighter is easily forgotten.
    /// Recursion is bounded: rules are.
    pub(crate) fn text(&self, rule: &Rule, outermost: bool) -> String {
        let join = |rules: &[Rule], operator: &str| {
            rules.iter().map(|rule| self.text(rule, false)).collect::<Vec<_>>().join(operator)
        };
        let text = match rule {
            Rule::Nil => return "nil".to_owned(),
            // Alone it is a relation; among others the native language cannot say it.
            Rule::This => return "[stored]".to_owned(),
            Rule::Itself => return "self".to_owned(),
            Rule::Slot(id) => return self.slot(*id).map_or(String::new(), |slot| slot.name.to_string()),
            Rule::Arrow { relation, all, targets } => {
                let name = |id: u32| self.slot(id).map_or("", |slot| &slot.name);
                let target = targets.first().map_or("", |&(_, target)| name(target));
                let relation = name(*relation);
                return if *all {
                    format!("{relation}.all({target})")
                } else {
                    format!("{relation}->{target}")
                };
            }
            Rule::Union(rules) => join(rules, " + "),
            Rule::Intersection(rules) => join(rules, " & "),
            Rule::Exclusion(..) => {
                let (mut first, mut operands) = (rule, Vec::new());
                while let Rule::Exclusion(left, right) = first {
                    operands.push(self.text(right, false));
                    first = left;
                }
                operands.push(self.text(first, false));
                operands.reverse();
                operands.join(" - ")
            }
            Rule::Conditional(inner, condition) => {
                let name = self.conditions.get(*condition as usize).map_or("", |condition| &condition.name);
                let chain = matches!(**inner, Rule::Conditional(..));
                format!("{} with {name}", self.text(inner, !chain))
            }
        };
        if outermost { text } else { format!("({text})") }
    }
}

fn has_itself(rule: &Rule) -> bool {
    match rule {
        Rule::Itself => true,
        Rule::Union(rules) | Rule::Intersection(rules) => rules.iter().any(has_itself),
        Rule::Exclusion(rule, subtrahend) => has_itself(rule) || has_itself(subtrahend),
        Rule::Conditional(rule, _) => has_itself(rule),
        _ => false,
    }
}

fn doc(doc: &str, indent: &str) -> String {
    if doc.is_empty() {
        return String::new();
    }
    doc.split('\n').map(|line| format!("{}\n", format!("{indent}/// {line}").trim_end())).collect()
}

fn deprecation(text: &mut String, mark: Option<&Deprecation>, indent: &str) {
    if let Some(mark) = mark {
        let _ = writeln!(text, "{indent}{}", mark_text(mark));
    }
}

fn mark_text(mark: &Deprecation) -> String {
    let level = if mark.refused { "error" } else { "warn" };
    // What was read in one kind of quotes has the other kind at most.
    let quote = if mark.message.contains('"') { '\'' } else { '"' };
    if mark.message.is_empty() {
        format!("@deprecated({level})")
    } else {
        format!("@deprecated({level}, {quote}{}{quote})", mark.message)
    }
}

fn condition(condition: &ConditionInfo) -> String {
    let parameters: Vec<String> =
        condition.parameters.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    let head = format!("caveat {}({})", condition.name, parameters.join(", "));
    format!("{}{head} {{\n{}}}\n", doc(&condition.doc, ""), indented(&condition.expression))
}
