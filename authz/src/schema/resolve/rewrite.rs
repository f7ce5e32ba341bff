//! Expressions to rules: what is named must be there, and an arrow must lead somewhere.

use rustc_hash::FxHashSet;

use crate::name::nearest;
use crate::schema::SubjectKind;
use crate::schema::code::Code;
use crate::schema::resolve::names::did_you_mean;
use crate::schema::resolve::{MAX_DEPTH, Resolver};
use crate::schema::rule::{AllowedSubject, Dialect, Rule, SlotKind};
use crate::schema::syntax::{Expression, Name};

impl Resolver<'_, '_> {
    /// Recursion is bounded: the parsers bound the depth of expressions.
    pub(super) fn rule(&mut self, type_id: u32, expression: &Expression, item: &Name, depth: usize) -> Rule {
        let mut rules = |operands: &[Expression], depth: usize| -> Vec<Rule> {
            operands.iter().map(|operand| self.rule(type_id, operand, item, depth)).collect()
        };
        match expression {
            Expression::Nil => Rule::Nil,
            Expression::This => Rule::This,
            Expression::Itself => Rule::Itself,
            Expression::Reference(name) => self.slot_named(type_id, name).map_or(Rule::Nil, Rule::Slot),
            Expression::Arrow { relation, target, all } => self.arrow(type_id, relation, target, *all),
            Expression::Union(operands) => Rule::Union(rules(operands, depth + 1)),
            Expression::Intersection(operands) => Rule::Intersection(rules(operands, depth + 1)),
            Expression::Exclusion(operands) => {
                // A chain nests to the left.
                let below = depth + operands.len();
                if below > MAX_DEPTH {
                    let message =
                        format!("`{}` has more than {MAX_DEPTH} operations in one another", item.text);
                    let help =
                        || Some("subtract a union: `a - (b + c)`, or use permissions between".to_owned());
                    self.faults.report_with(Code::RuleTooDeep, item.span, message, help);
                    return Rule::Nil;
                }
                let mut rules = Vec::with_capacity(operands.len());
                for (nr, operand) in operands.iter().enumerate() {
                    let outside = self.subtracted;
                    self.subtracted = outside || nr > 0;
                    rules.push(self.rule(type_id, operand, item, below));
                    self.subtracted = outside;
                }
                rules
                    .into_iter()
                    .reduce(|left, right| Rule::Exclusion(Box::new(left), Box::new(right)))
                    .unwrap_or(Rule::Nil)
            }
            Expression::Conditional(inner, condition) => {
                let inner = self.rule(type_id, inner, item, depth + 1);
                match self.condition_named(condition) {
                    Some(condition) => Rule::Conditional(Box::new(inner), condition),
                    None => inner,
                }
            }
        }
    }

    fn arrow(&mut self, type_id: u32, relation: &Name, target: &Name, all: bool) -> Rule {
        let Some(left) = self.slot_named(type_id, relation) else { return Rule::Nil };
        if !self.starts_arrow(left, relation) {
            return Rule::Nil;
        }
        let Some(info) = self.slots.get(left as usize) else { return Rule::Nil };
        let mut userset = None;
        let mut seen = FxHashSet::default();
        let subject_types = info.allowed.iter().map(|allowed| match allowed.subject {
            SubjectKind::Object(id) | SubjectKind::Wildcard(id) => id,
            SubjectKind::Userset(slot) => {
                userset = Some(slot);
                self.slots.get(slot as usize).map_or(0, |info| info.type_id)
            }
        });
        let subject_types: Vec<u32> = subject_types.filter(|&id| seen.insert(id)).collect();
        if let Some(text) = userset.and_then(|slot| self.text_of(slot)) {
            let message = format!("the arrow starts at the objects of `{text}` and not at whom it holds");
            self.faults.report(Code::ArrowUserset, relation.span, message);
        }
        let target_of = |&id: &u32| self.slot_of(id, &target.text).map(|target| (id, target));
        let targets: Vec<(u32, u32)> = subject_types.iter().filter_map(target_of).collect();
        if targets.is_empty() && !subject_types.is_empty() {
            self.unknown_target(relation, target, &subject_types);
            return Rule::Nil;
        }
        for &(_, slot) in &targets {
            self.deprecated_slot(slot, target);
        }
        Rule::Arrow { relation: left, all, targets }
    }

    fn starts_arrow(&mut self, left: u32, relation: &Name) -> bool {
        let Some(info) = self.slots.get(left as usize) else { return false };
        let name = &relation.text;
        let wildcard = |allowed: &AllowedSubject| matches!(allowed.subject, SubjectKind::Wildcard(_));
        let fault = match self.language.dialect {
            Dialect::Native if info.kind == SlotKind::Permission => {
                format!("the left side of an arrow must be a relation, and `{name}` is a permission")
            }
            Dialect::Native if info.allowed.iter().any(wildcard) => {
                let message =
                    format!("the left side of an arrow holds objects, and `{name}` may hold a wildcard");
                self.faults.report(Code::ArrowWildcard, relation.span, message);
                return false;
            }
            Dialect::OpenFga if info.kind != SlotKind::Relation => {
                format!("the relation behind `from` must be stored only, and `{name}` is computed")
            }
            Dialect::OpenFga
                if info.allowed.iter().any(|allowed| !matches!(allowed.subject, SubjectKind::Object(_))) =>
            {
                format!("the relation behind `from` must hold objects only, and `{name}` holds more")
            }
            _ => return true,
        };
        self.faults.report(Code::ArrowStart, relation.span, fault);
        false
    }

    fn unknown_target(&mut self, relation: &Name, target: &Name, subject_types: &[u32]) {
        let message =
            format!("no type of `{}` has a relation or permission `{}`", relation.text, target.text);
        let (types, slots) = (&self.types, &self.slots);
        // What nobody holds takes nothing away: behind a minus a misspelt name would let everybody in.
        let lets_pass = self.language.dialect == Dialect::Native && !self.subtracted;
        let code = if lets_pass { Code::ArrowNowhere } else { Code::UnknownTarget };
        self.faults.report_with(code, target.span, message, || {
            let infos = subject_types.iter().filter_map(|&id| types.get(id as usize));
            let names = infos.flat_map(|info| info.names(slots));
            nearest(&target.text, names).map(did_you_mean)
        });
    }
}
