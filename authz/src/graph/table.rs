//! The lists of one type's objects: a record an object, found by its number without a hash.
//!
//! Records stand in chunks; a change copies a chunk, and copies of a table share all others.

use crate::graph::chunk::{CHUNK, CHUNK_BITS, Chunk, Entry, MAX_INSIDE};
use crate::graph::cow_vec::CowVec;
use crate::graph::list::List;
use crate::graph::record::Record;

/// All lists of the objects of a type, by number and lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    chunks: CowVec<Chunk>,
    lanes: u32,
}

impl Table {
    pub(crate) fn new(lanes: u32) -> Self {
        Self { chunks: CowVec::default(), lanes }
    }

    #[inline]
    pub(crate) fn record(&self, object: u32) -> Record<'_> {
        let Some(chunk) = self.chunks.get((object >> CHUNK_BITS) as usize) else { return Record::EMPTY };
        chunk.record(object as usize & (CHUNK - 1), self.lanes)
    }

    #[inline]
    pub(crate) fn list(&self, object: u32, lane: u32) -> List<'_> {
        self.record(object).list(lane)
    }

    /// Puts a number into a list, or takes it out; says whether that changed anything.
    pub(crate) fn set(&mut self, object: u32, lane: u32, number: u32, present: bool) -> bool {
        let list = self.list(object, lane);
        if list.contains(number) == present {
            return false;
        }
        // More than half of what fits inside: it stays long, and only a page changes.
        if matches!(list, List::Long(_)) && long_stays(list.len()) {
            return self.set_long(object, lane, number, present);
        }
        let mut numbers: Vec<u32> = Vec::with_capacity(list.len() + 1);
        numbers.extend(list.iter());
        match numbers.binary_search(&number) {
            Err(place) => numbers.insert(place, number),
            Ok(place) => {
                numbers.remove(place);
            }
        }
        self.replace(object, lane, &numbers);
        true
    }

    fn set_long(&mut self, object: u32, lane: u32, number: u32, present: bool) -> bool {
        let record = self.record(object);
        let List::Long(wanted) = record.list(lane) else { return false };
        let Some(at) = record.chunk.long().iter().position(|long| std::ptr::eq(long, wanted)) else {
            return false;
        };
        let chunk = self.chunks.get_mut((object >> CHUNK_BITS) as usize);
        let long = chunk.and_then(Chunk::long_mut).and_then(|long| long.get_mut(at));
        long.is_some_and(|long| long.set(number, present))
    }

    /// Gives an object a list in place of its old one.
    pub(crate) fn replace(&mut self, object: u32, lane: u32, numbers: &[u32]) {
        self.put(object, |other| other == lane, &[(lane, numbers)]);
    }

    /// Gives an object lists for all lanes in place of what it had.
    pub(crate) fn replace_all(&mut self, object: u32, by_lane: &[Vec<u32>]) {
        let lists: Vec<(u32, &[u32])> = (0..).zip(by_lane.iter().map(Vec::as_slice)).collect();
        self.put(object, |_| true, &lists);
    }

    /// Gives an object lists, by lane, in place of those that are replaced.
    fn put(&mut self, object: u32, replaced: impl Fn(u32) -> bool, lists: &[(u32, &[u32])]) {
        let (number, at) = ((object >> CHUNK_BITS) as usize, object as usize & (CHUNK - 1));
        while self.chunks.len() <= number {
            self.chunks.push(Chunk::EMPTY);
        }
        let lanes = self.lanes;
        let Some(chunk) = self.chunks.get_mut(number) else { return };
        let mut entries: Vec<Entry<'_>> = Vec::with_capacity(CHUNK * 4);
        for other in 0..chunk.count().max(at + 1) {
            let kept = chunk.record(other, lanes).lists().map(move |(lane, list)| (other, lane, list));
            if other != at {
                entries.extend(kept);
                continue;
            }
            let start = entries.len();
            entries.extend(kept.filter(|(_, lane, _)| !replaced(*lane)));
            let new = lists.iter().filter(|(_, numbers)| !numbers.is_empty());
            entries.extend(new.map(|&(lane, numbers)| (at, lane, List::Short(numbers))));
            if let Some(record) = entries.get_mut(start..) {
                record.sort_unstable_by_key(|(_, lane, _)| *lane);
            }
        }
        *chunk = Chunk::of(lanes, &entries);
    }

    /// Builds all records at once, from (object, lane, number) in that order, each once.
    pub(crate) fn build(lanes: u32, entries: &[(u32, u32, u32)]) -> Self {
        let mut chunks: Vec<Chunk> = Vec::new();
        let mut numbers: Vec<u32> = Vec::new();
        for of_chunk in entries.chunk_by(|a, b| a.0 >> CHUNK_BITS == b.0 >> CHUNK_BITS) {
            let Some(number) = of_chunk.first().map(|entry| (entry.0 >> CHUNK_BITS) as usize) else {
                continue;
            };
            chunks.resize(number, Chunk::EMPTY);
            numbers.clear();
            numbers.extend(of_chunk.iter().map(|entry| entry.2));
            let mut rest = numbers.as_slice();
            let mut lists: Vec<Entry<'_>> = Vec::with_capacity(of_chunk.len());
            for of_list in of_chunk.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let (Some(&(object, lane, _)), Some((list, others))) =
                    (of_list.first(), rest.split_at_checked(of_list.len()))
                else {
                    continue;
                };
                rest = others;
                lists.push((object as usize & (CHUNK - 1), lane, List::Short(list)));
            }
            chunks.push(Chunk::of(lanes, &lists));
        }
        Self { chunks: chunks.into_iter().collect(), lanes }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.bytes() + self.chunks.iter().map(Chunk::bytes).sum::<usize>()
    }
}

/// A long list becomes an inner one only well below the limit, so that it does not go to and fro.
fn long_stays(len: usize) -> bool {
    len > MAX_INSIDE / 2
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Model = BTreeMap<(u32, u32), BTreeSet<u32>>;

    fn same(table: &Table, model: &Model, lanes: u32) {
        for object in 0..100 {
            let record = table.record(object);
            for lane in 0..lanes {
                let expected: Vec<u32> = model.get(&(object, lane)).into_iter().flatten().copied().collect();
                assert_eq!(record.list(lane).iter().collect::<Vec<_>>(), expected, "{object} {lane}");
                assert_eq!(record.list(lane).len(), expected.len());
            }
            let listed = record.lists().filter(|(_, list)| !list.is_empty()).count();
            assert_eq!(listed, model.iter().filter(|((o, _), set)| *o == object && !set.is_empty()).count());
        }
    }

    #[test]
    fn a_table_is_a_map_of_sets_whatever_the_lengths() {
        for lanes in [1, 8, 9, 16, 17, 70] {
            let mut seed = 7_u64;
            let mut random = |below: u32| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as u32 % below
            };
            let mut model = Model::new();
            let mut table = Table::new(lanes);
            for round in 0..1_500 {
                let (object, lane) = (random(70), random(lanes));
                let many = if round % 200 == 0 { 900 } else { 1 };
                for _ in 0..many {
                    let number = random(2_000);
                    let present = random(4) > 0;
                    let set = model.entry((object, lane)).or_default();
                    let changes = if present { set.insert(number) } else { set.remove(&number) };
                    assert_eq!(table.set(object, lane, number, present), changes);
                }
            }
            same(&table, &model, lanes);
            let mut entries = Vec::new();
            for ((object, lane), set) in &model {
                entries.extend(set.iter().map(|&number| (*object, *lane, number)));
            }
            same(&Table::build(lanes, &entries), &model, lanes);
            let copy = table.clone();
            for object in 0..70 {
                for lane in 0..lanes {
                    let numbers: Vec<u32> = table.list(object, lane).iter().collect();
                    numbers.into_iter().for_each(|number| assert!(table.set(object, lane, number, false)));
                }
            }
            same(&table, &Model::new(), lanes);
            same(&copy, &model, lanes);
        }
    }
}
