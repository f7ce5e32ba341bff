//! Which relationships, newly stored, can take a permission away from somebody.
//!
//! Everything below a subtrahend can, and everything that an `.all()` goes over: one more object there is one more on
//! which it must hold. What only ever adds is left out. An exclusion inside an exclusion counts as well: it is more than
//! need be.

use rustc_hash::FxHashSet;

use crate::schema::rule::Rule;
use crate::schema::{Schema, SlotInfo, SubjectKind};

/// The slots whose stored relationships can deny.
pub(crate) fn denying(schema: &Schema) -> FxHashSet<u32> {
    let mut found = FxHashSet::default();
    let mut todo: Vec<u32> =
        (0..).zip(&schema.slots).flat_map(|(number, slot)| begins(number, slot)).collect();
    while let Some(number) = todo.pop() {
        if found.insert(number)
            && let Some(slot) = schema.slot(number)
        {
            todo.extend(all_of(number, slot, &slot.rule));
        }
    }
    found
}

/// What stands under a subtrahend in the slot's rule, and what its `.all()`s go over.
fn begins(number: u32, slot: &SlotInfo) -> Vec<u32> {
    let (mut found, mut todo) = (Vec::new(), vec![&slot.rule]);
    while let Some(rule) = todo.pop() {
        match rule {
            Rule::Arrow { relation, all: true, .. } => found.push(*relation),
            Rule::Exclusion(rule, subtrahend) => {
                found.extend(all_of(number, slot, subtrahend));
                todo.extend([&**rule, subtrahend]);
            }
            Rule::Union(rules) | Rule::Intersection(rules) => todo.extend(rules),
            Rule::Conditional(rule, _) => todo.push(rule),
            Rule::Nil | Rule::This | Rule::Itself | Rule::Slot(_) | Rule::Arrow { .. } => {}
        }
    }
    found
}

/// Every slot that a rule asks, those of stored usersets as well.
fn all_of(number: u32, slot: &SlotInfo, rule: &Rule) -> Vec<u32> {
    let (mut found, mut todo) = (Vec::new(), vec![rule]);
    while let Some(rule) = todo.pop() {
        match rule {
            Rule::Nil | Rule::Itself => {}
            Rule::This => {
                found.push(number);
                found.extend(slot.allowed.iter().filter_map(|allowed| match allowed.subject {
                    SubjectKind::Userset(to) => Some(to),
                    _ => None,
                }));
            }
            Rule::Slot(to) => found.push(*to),
            Rule::Arrow { relation, targets, .. } => {
                found.push(*relation);
                found.extend(targets.iter().map(|&(_, to)| to));
            }
            Rule::Union(rules) | Rule::Intersection(rules) => todo.extend(rules),
            Rule::Exclusion(rule, subtrahend) => todo.extend([&**rule, subtrahend]),
            Rule::Conditional(rule, _) => todo.push(rule),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let schema = Schema::parse(text).unwrap();
        let mut found: Vec<String> =
            denying(&schema).into_iter().map(|slot| schema.slot_text(slot)).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_only_adds_is_left_out() {
        check(
            "definition user {}
             definition team { relation member: user | team#member }
             definition document {
                 relation viewer: user | team#member
                 relation banned: user | team#member
                 permission view = viewer - banned
             }",
            &["document#banned", "team#member"],
        );
    }

    #[test]
    fn what_all_goes_over_is_in() {
        check(
            "definition user {}
             definition site { relation manager: user }
             definition permit {
                 relation site: site
                 permission sign = site.all(manager)
             }",
            &["permit#site"],
        );
    }
}
