//! Back from the compiled program to the text: which rule stands behind a group or an operation.
//!
//! Only explanations ask, so nothing is kept for them but the slot; the rule is found by walking it again.

use crate::schema::program::Numbered;
use crate::schema::{Dialect, Rule, Schema};

/// A rule, or a part of one, and the slot to which it belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind<'s> {
    pub(crate) slot: u32,
    pub(crate) rule: &'s Rule,
}

impl Schema {
    /// What a group stands for: a whole slot, or an operand without a name.
    pub(crate) fn behind_group(&self, group: u32) -> Option<Behind<'_>> {
        let Some(nth) = (group as usize).checked_sub(self.slots.len()) else {
            return Some(Behind { slot: group, rule: &self.slot(group)?.rule });
        };
        let (slot, nth) = within(&self.program.operand_slots, nth)?;
        let rule = Numbered::of(&self.slot(slot)?.rule).operands.get(nth).copied()?;
        Some(Behind { slot, rule })
    }

    /// The expression of an operation.
    pub(crate) fn behind_op(&self, op: u32) -> Option<Behind<'_>> {
        let (slot, nth) = within(&self.program.op_slots, op as usize)?;
        let rule = Numbered::of(&self.slot(slot)?.rule).ops.get(nth).copied()?;
        Some(Behind { slot, rule })
    }

    /// A rule in the language that the schema was written in.
    pub(crate) fn rule_text(&self, Behind { slot, rule }: Behind<'_>) -> String {
        match (self.dialect, self.slot(slot)) {
            (Dialect::OpenFga, Some(info)) => self.rewrite(info, rule, 0),
            _ => self.text(rule, true),
        }
    }
}

/// The slot, and the place among those of the slot.
fn within(slots: &[u32], nth: usize) -> Option<(u32, usize)> {
    let slot = *slots.get(nth)?;
    let first = slots.partition_point(|&other| other < slot);
    Some((slot, nth - first))
}

/// What is looked for on the way down from a rule, on one object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal<'s> {
    /// What is stored in the slot.
    Stored(u32),
    /// The slot itself.
    Slot(u32),
    /// An arrow over the relation.
    Arrow(u32),
    /// This expression.
    Rule(&'s Rule),
}

impl Schema {
    /// The slots that are entered on a shortest way from a rule to a goal, through unions alone.
    pub(crate) fn way_to(&self, from: Behind<'_>, goal: Goal<'_>) -> Vec<u32> {
        // Each with the place of the one that led to it.
        let mut met: Vec<(Behind<'_>, usize)> = vec![(from, usize::MAX)];
        let mut at = 0;
        while let Some(&(Behind { slot, rule }, _)) = met.get(at) {
            let mut todo = vec![rule];
            while let Some(rule) = todo.pop() {
                if is_at(goal, slot, rule) {
                    return entered(&met, at, goal);
                }
                match rule {
                    Rule::Union(rules) => todo.extend(rules.iter().rev()),
                    Rule::Slot(next) => {
                        // An operand has a slot and is not the whole of it.
                        let is_known = met.iter().skip(1).any(|(behind, _)| behind.slot == *next);
                        if let Some(info) = self.slot(*next).filter(|_| !is_known) {
                            met.push((Behind { slot: *next, rule: &info.rule }, at));
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        Vec::new()
    }

    /// The number of an operation.
    pub(crate) fn op_of(&self, Behind { slot, rule }: Behind<'_>) -> Option<u32> {
        let nth = Numbered::of(&self.slot(slot)?.rule).ops.iter().position(|op| std::ptr::eq(*op, rule))?;
        Some((self.program.op_slots.partition_point(|&other| other < slot) + nth) as u32)
    }
}

fn is_at(goal: Goal<'_>, slot: u32, rule: &Rule) -> bool {
    match (goal, rule) {
        (Goal::Stored(wanted), Rule::This) => wanted == slot,
        (Goal::Slot(wanted), Rule::Slot(named)) => wanted == *named,
        (Goal::Arrow(wanted), Rule::Arrow { relation, all: false, .. }) => wanted == *relation,
        (Goal::Rule(wanted), rule) => std::ptr::eq(wanted, rule),
        _ => false,
    }
}

fn entered(met: &[(Behind<'_>, usize)], mut at: usize, goal: Goal<'_>) -> Vec<u32> {
    let mut way = match goal {
        Goal::Slot(slot) => vec![slot],
        _ => Vec::new(),
    };
    while let Some(&(behind, before)) = met.get(at).filter(|(_, before)| *before != usize::MAX) {
        way.push(behind.slot);
        at = before;
    }
    way.reverse();
    way
}
