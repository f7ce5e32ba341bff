//! Who can ever hold what: the types of subject that can reach each relation and permission.
//!
//! The least fixed point over the rules, with types for subjects. A slot that nothing reaches can never be
//! held, whatever is stored.

use std::collections::VecDeque;

use crate::schema::rule::Rule;
use crate::schema::{SlotInfo, SubjectKind};

/// A set of types; an object of a type and a userset of it are two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Types(Vec<u64>);

impl Types {
    fn none(types: usize) -> Self {
        Self(vec![0; (2 * types).div_ceil(64)])
    }

    fn insert(&mut self, element: usize) {
        if let Some(word) = self.0.get_mut(element / 64) {
            *word |= 1 << (element % 64);
        }
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Objects of this type, or everyone of it, can be subjects.
    pub(crate) fn has_object(&self, type_id: u32) -> bool {
        let element = 2 * type_id as usize;
        self.0.get(element / 64).is_some_and(|word| word & (1 << (element % 64)) != 0)
    }
}

/// Why nobody can hold a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Never {
    /// There is no way in: what it leads to leads back, or nowhere.
    NoEntry,
    /// There are ways in, but an intersection lets no type of subject through.
    Disjoint,
}

/// For each slot, the types that can reach it.
pub(crate) fn reach(slots: &[SlotInfo], types: usize) -> Vec<Types> {
    fixed_point(slots, types, true)
}

/// For each slot, why it can never be held, if so. What is `nil` on purpose is left out.
pub(crate) fn never(slots: &[SlotInfo], types: usize, reached: &[Types]) -> Vec<Option<Never>> {
    let loose = fixed_point(slots, types, false);
    let verdicts = slots.iter().zip(reached).zip(&loose).map(|((slot, reached), loose)| {
        if !reached.is_empty() || slot.rule == Rule::Nil {
            return None;
        }
        Some(if loose.is_empty() { Never::NoEntry } else { Never::Disjoint })
    });
    verdicts.collect()
}

/// `strict`: an intersection lets through what all of its operands do, and not what any of them does.
fn fixed_point(slots: &[SlotInfo], types: usize, strict: bool) -> Vec<Types> {
    let mut led_to_by: Vec<Vec<u32>> = vec![Vec::new(); slots.len()];
    for (from, slot) in slots.iter().enumerate() {
        for to in leads_to(slot) {
            if let Some(list) = led_to_by.get_mut(to as usize)
                && list.last() != Some(&(from as u32))
            {
                list.push(from as u32);
            }
        }
    }
    let mut reached: Vec<Types> = slots.iter().map(|_| Types::none(types)).collect();
    let mut waiting = vec![true; slots.len()];
    let mut todo: VecDeque<u32> = (0..slots.len() as u32).collect();
    while let Some(at) = todo.pop_front() {
        let Some(slot) = slots.get(at as usize) else { continue };
        if let Some(waiting) = waiting.get_mut(at as usize) {
            *waiting = false;
        }
        let now = through(slot, &slot.rule, slots, &reached, types, strict);
        let Some(before) = reached.get_mut(at as usize) else { continue };
        if *before == now {
            continue;
        }
        *before = now;
        for &from in led_to_by.get(at as usize).into_iter().flatten() {
            if let Some(waiting) = waiting.get_mut(from as usize)
                && !*waiting
            {
                *waiting = true;
                todo.push_back(from);
            }
        }
    }
    reached
}

/// The slots whose subjects can become subjects of this one.
fn leads_to(slot: &SlotInfo) -> Vec<u32> {
    let (mut found, mut todo) = (Vec::new(), vec![&slot.rule]);
    while let Some(rule) = todo.pop() {
        match rule {
            Rule::Nil | Rule::Itself => {}
            Rule::This => found.extend(slot.allowed.iter().filter_map(|allowed| match allowed.subject {
                SubjectKind::Userset(to) => Some(to),
                _ => None,
            })),
            Rule::Slot(to) => found.push(*to),
            Rule::Arrow { relation, targets, .. } => {
                found.push(*relation);
                found.extend(targets.iter().map(|&(_, to)| to));
            }
            Rule::Union(rules) | Rule::Intersection(rules) => todo.extend(rules),
            Rule::Exclusion(rule, _) | Rule::Conditional(rule, _) => todo.push(rule),
        }
    }
    found
}

/// Recursion is bounded: rules are.
fn through(
    slot: &SlotInfo,
    rule: &Rule,
    slots: &[SlotInfo],
    reached: &[Types],
    types: usize,
    strict: bool,
) -> Types {
    let part = |rule: &Rule| through(slot, rule, slots, reached, types, strict);
    let mut found = Types::none(types);
    match rule {
        Rule::Nil => {}
        Rule::Itself => found.insert(2 * slot.type_id as usize),
        Rule::This => {
            for allowed in &slot.allowed {
                match allowed.subject {
                    SubjectKind::Object(id) | SubjectKind::Wildcard(id) => found.insert(2 * id as usize),
                    SubjectKind::Userset(to) => {
                        let Some(below) = reached.get(to as usize) else { continue };
                        found.add(below);
                        // The userset itself can be asked about once somebody can be in it.
                        if !below.is_empty() {
                            let of = slots.get(to as usize).map_or(0, |info| info.type_id);
                            found.insert(2 * of as usize + 1);
                        }
                    }
                }
            }
        }
        Rule::Slot(to) => reached.get(*to as usize).into_iter().for_each(|below| found.add(below)),
        Rule::Arrow { targets, .. } => {
            targets.iter().filter_map(|&(_, to)| reached.get(to as usize)).for_each(|below| found.add(below));
        }
        Rule::Union(rules) => rules.iter().for_each(|rule| found.add(&part(rule))),
        Rule::Intersection(rules) if !strict => rules.iter().for_each(|rule| found.add(&part(rule))),
        Rule::Intersection(rules) => {
            let mut parts = rules.iter().map(part);
            found = parts.next().unwrap_or(found);
            parts.for_each(|part| found.keep(&part));
        }
        Rule::Exclusion(rule, _) | Rule::Conditional(rule, _) => found = part(rule),
    }
    found
}
