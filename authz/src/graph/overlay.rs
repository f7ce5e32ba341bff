//! What changed since the base was built: small, and cheap to copy for the next change.

use std::sync::Arc;

use crate::graph::base::Base;
use crate::graph::cow_map::CowMap;
use crate::graph::edges::pair;

/// How one list differs from the base's; both sides sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delta {
    pub(crate) added: Vec<u32>,
    pub(crate) removed: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    /// By edge and object.
    deltas: CowMap<u64, Delta>,
    /// Numbers of names that the base does not know, by type and hash.
    numbers: CowMap<u64, Vec<u32>>,
    /// The names, by type and number.
    texts: CowMap<u64, Arc<str>>,
    /// How many names each type has in the overlay; shorter when the last types have none.
    counts: Vec<u32>,
    /// Changes since the base was built, those that undid each other counted too.
    changes: usize,
}

impl Overlay {
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    pub(crate) fn delta(&self, edge: u32, object: u32) -> Option<&Delta> {
        self.deltas.get(pair(edge, object))
    }

    /// The differences of one edge's lists, by object, in no order.
    pub(crate) fn deltas(&self) -> impl Iterator<Item = (u64, &Delta)> {
        self.deltas.iter()
    }

    pub(crate) fn count(&self, type_id: u32) -> u32 {
        self.counts.get(type_id as usize).copied().unwrap_or(0)
    }

    pub(crate) fn find(&self, type_id: u32, hash: u64, name: &str) -> Option<u32> {
        let numbers = self.numbers.get(hash)?;
        numbers.iter().copied().find(|&number| self.name(type_id, number) == Some(name))
    }

    pub(crate) fn name(&self, type_id: u32, number: u32) -> Option<&str> {
        self.texts.get(pair(type_id, number)).map(|text| &**text)
    }

    /// Gives a new name the next number of its type.
    pub(crate) fn add_name(&mut self, base: &Base, type_id: u32, hash: u64, name: &str) -> Option<u32> {
        if self.counts.len() <= type_id as usize {
            self.counts.resize(type_id as usize + 1, 0);
        }
        let count = self.counts.get_mut(type_id as usize)?;
        // The two largest numbers stand for what is absent.
        let number = base.count(type_id).checked_add(*count).filter(|&number| number < u32::MAX - 1)?;
        *count += 1;
        self.numbers.entry(hash, Vec::new)?.push(number);
        self.texts.entry(pair(type_id, number), || name.into());
        Some(number)
    }

    /// Puts a subject into a list, or takes it out; says whether that changed anything.
    pub(crate) fn set(&mut self, base: &Base, edge: u32, object: u32, target: u32, present: bool) -> bool {
        let in_base = base.list(edge, object).binary_search(&target).is_ok();
        // What the base has is either untouched or in `removed`; what it has not, in `added` or nowhere.
        let side = |delta: &Delta| {
            let list = if in_base { &delta.removed } else { &delta.added };
            list.binary_search(&target)
        };
        let differs = self.delta(edge, object).is_some_and(|delta| side(delta).is_ok());
        if (in_base != differs) == present {
            return false;
        }
        let Some(delta) = self.deltas.entry(pair(edge, object), Delta::default) else { return false };
        let place = side(delta);
        let list = if in_base { &mut delta.removed } else { &mut delta.added };
        match place {
            Ok(at) => {
                list.remove(at);
            }
            Err(at) => list.insert(at, target),
        }
        self.changes += 1;
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        // Names are counted at their bound's quarter: an estimate that needs no walk.
        self.deltas.len() * 96 + self.texts.len() * 160 + self.changes * 4
    }
}
