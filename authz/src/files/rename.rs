//! Names of OpenFGA as native ones: what another language allows in a name, and what it stores where.
//!
//! INVARIANT: two names that differ before differ afterwards; a name that is native already stays.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::name::{MAX_NAME, check_name, check_type_name};
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::parse::RESERVED;
use crate::schema::{Schema, SlotKind};
use crate::subject::Subject;

/// What each name of a model is called natively.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renames {
    types: FxHashMap<String, String>,
    slots: FxHashMap<String, String>,
    conditions: FxHashMap<String, String>,
    /// By type and relation, as they were called: the relation that stores what was stored and computed at once.
    stored: FxHashMap<(String, String), String>,
}

impl Renames {
    pub(crate) fn of(model: &Schema) -> Self {
        let is_type = |name: &str| {
            check_type_name(name).is_ok() && !name.split('/').any(|part| RESERVED.contains(&part))
        };
        let is_name = |name: &str| check_name(name).is_ok() && !RESERVED.contains(&name);
        let types = renamed(model.types.iter().map(|info| &*info.name), is_type);
        let slots = renamed(model.slots.iter().map(|slot| &*slot.name), is_name);
        let conditions = renamed(model.conditions.iter().map(|condition| &*condition.name), is_name);
        let mut renames = Self { types, slots, conditions, stored: FxHashMap::default() };
        let mut taken: BTreeSet<String> = renames.slots.values().cloned().collect();
        for info in &model.types {
            for slot in info.slots.iter().filter_map(|&slot| model.slot(slot)) {
                if slot.kind == SlotKind::Mixed {
                    let wanted = format!("direct_{}", renames.slot(&slot.name));
                    let name = free(&wanted, &|name| taken.contains(name));
                    let key = (info.name.to_string(), slot.name.to_string());
                    // One relation of each name, in whatever type, so that the same ones are called the same.
                    if wanted.len() > MAX_NAME {
                        taken.insert(name.clone());
                    }
                    renames.stored.insert(key, name);
                }
            }
        }
        renames
    }

    pub(crate) fn object_type<'n>(&'n self, name: &'n str) -> &'n str {
        self.types.get(name).map_or(name, String::as_str)
    }

    pub(crate) fn slot<'n>(&'n self, name: &'n str) -> &'n str {
        self.slots.get(name).map_or(name, String::as_str)
    }

    pub(crate) fn condition<'n>(&'n self, name: &'n str) -> &'n str {
        self.conditions.get(name).map_or(name, String::as_str)
    }

    /// The relation that stores what stood in this one.
    pub(crate) fn stored<'n>(&'n self, object_type: &str, relation: &'n str) -> &'n str {
        let key = (object_type.to_owned(), relation.to_owned());
        self.stored.get(&key).map_or_else(|| self.slot(relation), String::as_str)
    }

    /// What is called otherwise, before and after, in order.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        let changed = |names: &FxHashMap<String, String>| -> Vec<(String, String)> {
            let changed = names.iter().filter(|(before, after)| before != after);
            changed.map(|(before, after)| (before.clone(), after.clone())).collect()
        };
        let mut all = [changed(&self.types), changed(&self.slots), changed(&self.conditions)].concat();
        all.extend(self.stored.iter().map(|((object_type, relation), after)| {
            (format!("{object_type}#{relation} as it is stored"), after.clone())
        }));
        all.sort();
        all
    }

    /// A relationship as it is stored natively, or a question about it as it is asked there.
    pub(crate) fn apply(&self, fact: &Relationship, is_stored: bool) -> Relationship {
        let object =
            Object::new(self.object_type(fact.object().object_type()).to_owned(), fact.object().id());
        let relation = match is_stored {
            true => self.stored(fact.object().object_type(), fact.relation()),
            false => self.slot(fact.relation()),
        };
        let subject = fact.subject();
        let subject_type = self.object_type(subject.subject_type()).to_owned();
        let subject = match subject.relation() {
            Some(relation) => Subject::userset(subject_type, subject.id(), self.slot(relation).to_owned()),
            None => Subject::new(subject_type, subject.id()),
        };
        let condition = fact.condition().map(|name| self.condition(name).to_owned());
        Relationship::new(object, relation.to_owned(), subject).with_terms(
            condition,
            fact.context().map(str::to_owned),
            fact.expires_at(),
        )
    }
}

fn renamed<'n>(
    names: impl Iterator<Item = &'n str>,
    is_native: impl Fn(&str) -> bool,
) -> FxHashMap<String, String> {
    let names: BTreeSet<&str> = names.collect();
    let mut taken: BTreeSet<String> =
        names.iter().filter(|name| is_native(name)).map(|name| (*name).to_owned()).collect();
    let mut found = FxHashMap::default();
    for name in names {
        if is_native(name) {
            found.insert(name.to_owned(), name.to_owned());
            continue;
        }
        let after = free(&native(name), &|name| taken.contains(name) || !is_native(name));
        taken.insert(after.clone());
        found.insert(name.to_owned(), after);
    }
    found
}

/// Small letters, digits and `_`.
fn native(name: &str) -> String {
    let mut native = String::new();
    for c in name.chars() {
        match c {
            'A'..='Z' => {
                if native.chars().last().is_some_and(|last| last.is_ascii_lowercase()) {
                    native.push('_');
                }
                native.push(c.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' => native.push(c),
            _ => native.push('_'),
        }
    }
    let begins = native.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    if begins { native } else { format!("x{native}") }
}

/// The name, or with a number where it is taken or too long.
fn free(wanted: &str, is_taken: &dyn Fn(&str) -> bool) -> String {
    if wanted.len() <= MAX_NAME && !is_taken(wanted) {
        return wanted.to_owned();
    }
    let head = wanted.get(..wanted.len().min(MAX_NAME - 7)).unwrap_or("x");
    (2..).map(|n: u32| format!("{head}_{n}")).find(|name| !is_taken(name)).unwrap_or_default()
}
