//! What must hold of a schema as a whole: wildcards, exclusions, and that everything can be held by somebody.

use rustc_hash::FxHashSet;

use crate::schema::code::Code;
use crate::schema::reach::{self, Never};
use crate::schema::resolve::Resolver;
use crate::schema::rule::{Dialect, SlotKind};
use crate::schema::stratify::{self, MAX_LAYERS, Unstratified};
use crate::schema::{SlotInfo, SubjectKind};

impl Resolver<'_, '_> {
    /// A wildcard that is reached through a userset: SpiceDB refuses it.
    pub(super) fn wildcards(&mut self) {
        if self.language.dialect == Dialect::OpenFga {
            return;
        }
        let wild = wild(&self.slots);
        for (slot, info) in self.slots.iter().enumerate() {
            let found = info.allowed.iter().find_map(|allowed| match allowed.subject {
                SubjectKind::Userset(to) if to as usize != slot && wild.get(to as usize) == Some(&true) => {
                    Some(to)
                }
                _ => None,
            });
            let text = found.and_then(|to| self.text_of(to));
            if let (Some(text), Some(name)) = (text, self.places.get(slot)) {
                let message = format!("`{}` holds `{text}`, which may hold a wildcard", name.text);
                let help =
                    || Some("SpiceDB refuses this; allow the wildcard in the relation itself".to_owned());
                self.faults.report_with(Code::WildcardUserset, name.span, message, help);
            }
        }
    }

    pub(super) fn stratify(&mut self) {
        let code = match self.language.dialect {
            Dialect::Native => Code::ExcludesItself,
            Dialect::OpenFga => Code::CyclicExclusion,
        };
        let mut told = FxHashSet::default();
        for found in stratify::verify(&self.slots) {
            self.unstratified |= matches!(found, Unstratified::Cycle(_));
            let (code, slot, message, help) = match found {
                Unstratified::Cycle(slots) => {
                    let first = slots.first().copied().unwrap_or_default();
                    let way: Vec<String> = slots.iter().filter_map(|&slot| self.text_of(slot)).collect();
                    (code, first, "excludes itself through a cycle", way.join(" -> "))
                }
                Unstratified::TooDeep(slot) => (
                    Code::ExcludesTooDeep,
                    slot,
                    "excludes too deep",
                    format!("at most {MAX_LAYERS} exclusions may build on each other"),
                ),
            };
            if let (true, Some(name)) = (told.insert(slot), self.places.get(slot as usize)) {
                let message = format!("permission `{}` {message}", name.text);
                self.faults.report_with(code, name.span, message, || Some(help));
            }
        }
    }

    pub(super) fn reach(&mut self) {
        let reached = reach::reach(&self.slots, self.types.len());
        let never = reach::never(&self.slots, self.types.len(), &reached);
        for (slot, verdict) in never.into_iter().enumerate() {
            let (Some(verdict), Some(info), Some(name)) =
                (verdict, self.slots.get(slot), self.places.get(slot))
            else {
                continue;
            };
            let (code, message, help) = match verdict {
                _ if self.language.dialect == Dialect::OpenFga && verdict == Never::NoEntry => (
                    Code::NoEntryPoint,
                    "has no entry point",
                    "somewhere on its way a type must be allowed to be stored, such as `[user]`",
                ),
                Never::Disjoint => (
                    Code::Impossible,
                    "can never be held",
                    "no type of subject gets through every operand of its intersection",
                ),
                Never::NoEntry if info.kind == SlotKind::Relation => (
                    Code::NeverHeld,
                    "can never be held",
                    "whoever it holds leads back to it: allow a type of subject beside the usersets",
                ),
                Never::NoEntry => {
                    (Code::Unreachable, "can never be held", "everything it is made of is empty")
                }
            };
            let message = format!("`{}` {message}", name.text);
            self.faults.report_with(code, name.span, message, || Some(help.to_owned()));
        }
        for (slot, info) in self.slots.iter().enumerate() {
            let (Some(announced), Some(name), Some(reached)) =
                (&info.announced, self.places.get(slot), reached.get(slot))
            else {
                continue;
            };
            let more =
                (0..self.types.len() as u32).find(|id| reached.has_object(*id) && !announced.contains(id));
            if let Some(more) = more.and_then(|id| self.types.get(id as usize)) {
                let message = format!("`{}` can hold `{}`, which it does not announce", name.text, more.name);
                self.faults.report(Code::AnnotationMismatch, name.span, message);
            }
        }
    }

    pub(super) fn unused(&mut self) {
        for (condition, used) in self.declared.iter().zip(&self.used) {
            if !used {
                let message = format!("the condition `{}` is not used", condition.name.text);
                self.faults.report(Code::UnusedCondition, condition.name.span, message);
            }
        }
    }
}

/// The relations that may hold a wildcard, themselves or through usersets of relations.
fn wild(slots: &[SlotInfo]) -> Vec<bool> {
    let mut held_by: Vec<Vec<usize>> = vec![Vec::new(); slots.len()];
    let mut wild: Vec<bool> = vec![false; slots.len()];
    for (slot, info) in slots.iter().enumerate() {
        for allowed in &info.allowed {
            match allowed.subject {
                SubjectKind::Wildcard(_) => wild.get_mut(slot).into_iter().for_each(|wild| *wild = true),
                SubjectKind::Userset(to) => {
                    held_by.get_mut(to as usize).into_iter().for_each(|by| by.push(slot))
                }
                SubjectKind::Object(_) => {}
            }
        }
    }
    let mut todo: Vec<usize> = (0..slots.len()).filter(|&slot| wild.get(slot) == Some(&true)).collect();
    while let Some(slot) = todo.pop() {
        for &by in held_by.get(slot).into_iter().flatten() {
            if let Some(wild) = wild.get_mut(by)
                && !*wild
            {
                *wild = true;
                todo.push(by);
            }
        }
    }
    wild
}
