//! The lists of one type's objects: a record an object, found by its number without a hash.
//!
//! A record has a bitmap of the lanes that are not empty, the lengths of those in four bits each, and
//! then their numbers, so that a question about one object is mostly about one cache line. Records
//! stand in chunks; a change copies a chunk, and copies of a table share all others.
//!
//! INVARIANT: a record knows no place outside itself but its long lists, which are the chunk's: a
//! chunk may move its records.

use std::sync::Arc;

use crate::graph::cow_vec::CowVec;
use crate::graph::list::{List, Long};

/// Objects of one chunk, as a power of two.
const CHUNK_BITS: u32 = 5;
const CHUNK: usize = 1 << CHUNK_BITS;
/// A list of more numbers has pages of its own, so that a change does not copy all of it.
const MAX_INSIDE: usize = 384;
/// Stands for a length that does not fit its four bits: the list lies behind the short ones.
const FAR: u32 = 15;
/// In the place of a far list: it is one of the chunk's long ones.
const IS_LONG: u32 = 1 << 31;

#[derive(Debug, Clone, Default)]
struct Chunk {
    /// Where each record starts, where the last one ends, and the records.
    words: Option<Arc<[u32]>>,
    long: Option<Arc<[Long]>>,
}

/// All lists of the objects of a type, by number and lane.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    chunks: CowVec<Chunk>,
    lanes: u32,
}

/// The lists of one object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'g> {
    words: &'g [u32],
    long: Option<&'g [Long]>,
    /// Words of the bitmap.
    bitmap: usize,
}

impl<'g> Record<'g> {
    pub(crate) const EMPTY: Self = Self { words: &[], long: None, bitmap: 1 };

    #[inline]
    pub(crate) fn list(&self, lane: u32) -> List<'g> {
        let (word, bit) = ((lane >> 5) as usize, lane & 31);
        let bits = self.words.get(word).copied().unwrap_or(0);
        if bits & (1 << bit) == 0 {
            return List::EMPTY;
        }
        let mut rank = (bits & ((1 << bit) - 1)).count_ones() as usize;
        let mut lanes = 0;
        for (at, &bits) in self.words.iter().take(self.bitmap).enumerate() {
            let ones = bits.count_ones() as usize;
            lanes += ones;
            rank += if at < word { ones } else { 0 };
        }
        self.nth(rank, self.bitmap, self.bitmap + lanes.div_ceil(8))
    }

    /// The list of this rank among those that are not empty.
    #[inline]
    fn nth(&self, rank: usize, lengths: usize, entries: usize) -> List<'g> {
        let mut start = entries;
        let mut at = lengths;
        let mut before = rank;
        while before >= 8 {
            start += words_of(self.words.get(at).copied().unwrap_or(0));
            at += 1;
            before -= 8;
        }
        let word = self.words.get(at).copied().unwrap_or(0);
        let shift = before as u32 * 4;
        start += words_of(word & ((1_u32 << shift) - 1));
        let len = (word >> shift) & 15;
        if len != FAR {
            return List::Short(self.words.get(start..start + len as usize).unwrap_or(&[]));
        }
        self.far(self.words.get(start).copied().unwrap_or(0))
    }

    fn far(&self, place: u32) -> List<'g> {
        if place & IS_LONG != 0 {
            let long = self.long.and_then(|long| long.get((place & !IS_LONG) as usize));
            return long.map_or(List::EMPTY, List::Long);
        }
        let start = place as usize + 1;
        let len = self.words.get(place as usize).copied().unwrap_or(0) as usize;
        List::Short(self.words.get(start..start + len).unwrap_or(&[]))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Every list that is not empty, with its lane.
    pub(crate) fn lists(self) -> impl Iterator<Item = (u32, List<'g>)> {
        let words = self.words.iter().take(self.bitmap);
        let lanes = words.zip(0..).flat_map(|(&bits, word)| {
            (0..32).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 32 + bit)
        });
        lanes.map(move |lane| (lane, self.list(lane)))
    }
}

/// Words that lists of these eight lengths take among the entries.
#[inline]
fn words_of(lengths: u32) -> usize {
    let pairs = (lengths & 0x0f0f_0f0f) + ((lengths >> 4) & 0x0f0f_0f0f);
    let sum = pairs.wrapping_mul(0x0101_0101) >> 24;
    let far = lengths & (lengths >> 1) & (lengths >> 2) & (lengths >> 3) & 0x1111_1111;
    // A far list takes one word, which says where it is.
    (sum - far.count_ones() * (FAR - 1)) as usize
}

impl Table {
    pub(crate) fn new(lanes: u32) -> Self {
        Self { chunks: CowVec::default(), lanes }
    }

    fn bitmap(&self) -> usize {
        (self.lanes.div_ceil(32) as usize).max(1)
    }

    #[inline]
    pub(crate) fn record(&self, object: u32) -> Record<'_> {
        let Some(chunk) = self.chunks.get((object >> CHUNK_BITS) as usize) else { return Record::EMPTY };
        chunk.record(object as usize & (CHUNK - 1), self.bitmap())
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
        let mut numbers: Vec<u32> = list.iter().collect();
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
        let place = record.far_place(lane).filter(|place| place & IS_LONG != 0);
        let chunk = self.chunks.get_mut((object >> CHUNK_BITS) as usize);
        let (Some(place), Some(Chunk { long: Some(long), .. })) = (place, chunk) else { return false };
        let long = Arc::make_mut(long).get_mut((place & !IS_LONG) as usize);
        long.is_some_and(|long| long.set(number, present))
    }

    /// Gives an object a list in place of its old one.
    pub(crate) fn replace(&mut self, object: u32, lane: u32, numbers: &[u32]) {
        let record = self.record(object);
        if record.is_empty() && numbers.is_empty() {
            return;
        }
        let mut lists: Vec<(u32, Vec<u32>)> = record
            .lists()
            .filter(|(other, _)| *other != lane)
            .map(|(other, list)| (other, list.iter().collect()))
            .collect();
        if !numbers.is_empty() {
            let at = lists.partition_point(|(other, _)| *other < lane);
            lists.insert(at, (lane, numbers.to_vec()));
        }
        self.put(object, &lists);
    }

    /// Gives an object lists for all lanes in place of what it had.
    pub(crate) fn replace_all(&mut self, object: u32, by_lane: Vec<Vec<u32>>) {
        let lists = (0..).zip(by_lane).filter(|(_, numbers)| !numbers.is_empty());
        self.put(object, &lists.collect::<Vec<_>>());
    }

    /// Gives an object its lists, by lane; what it had is gone.
    fn put(&mut self, object: u32, lists: &[(u32, Vec<u32>)]) {
        let (chunk, at) = ((object >> CHUNK_BITS) as usize, object as usize & (CHUNK - 1));
        while self.chunks.len() <= chunk {
            self.chunks.push(Chunk::default());
        }
        let bitmap = self.bitmap();
        let Some(chunk) = self.chunks.get_mut(chunk) else { return };
        chunk.put(at, bitmap, lists);
    }

    /// Builds all records at once, from (object, lane, number) in that order, each once.
    pub(crate) fn build(lanes: u32, entries: &[(u32, u32, u32)]) -> Self {
        let mut table = Self::new(lanes);
        let bitmap = table.bitmap();
        let mut chunks: Vec<Chunk> = Vec::new();
        for of_chunk in entries.chunk_by(|a, b| a.0 >> CHUNK_BITS == b.0 >> CHUNK_BITS) {
            let Some(number) = of_chunk.first().map(|entry| (entry.0 >> CHUNK_BITS) as usize) else {
                continue;
            };
            chunks.resize(number, Chunk::default());
            let mut records: Vec<Vec<u32>> = Vec::new();
            let mut long = Vec::new();
            for of_object in of_chunk.chunk_by(|a, b| a.0 == b.0) {
                let Some(at) = of_object.first().map(|entry| entry.0 as usize & (CHUNK - 1)) else {
                    continue;
                };
                let lists: Vec<(u32, Vec<u32>)> = of_object
                    .chunk_by(|a, b| a.1 == b.1)
                    .map(|list| (list.first().map_or(0, |entry| entry.1), list.iter().map(|e| e.2).collect()))
                    .collect();
                records.resize(at, Vec::new());
                records.push(encode(bitmap, &lists, &mut long));
            }
            chunks.push(Chunk::assembled(&records, long));
        }
        table.chunks = chunks.into_iter().collect();
        table
    }

    pub(crate) fn bytes(&self) -> usize {
        let chunk = |chunk: &Chunk| {
            let words = chunk.words.as_ref().map_or(0, |words| words.len() * 4 + 16);
            let long = chunk.long.iter().flat_map(|long| long.iter());
            words + long.map(|long| long.bytes() + size_of::<Long>()).sum::<usize>()
        };
        self.chunks.bytes() + self.chunks.iter().map(chunk).sum::<usize>()
    }
}

/// A long list becomes an inner one only well below the limit, so that it does not go to and fro.
fn long_stays(len: usize) -> bool {
    len > MAX_INSIDE / 2
}

impl Record<'_> {
    /// The word that says where a far list is.
    fn far_place(&self, lane: u32) -> Option<u32> {
        let List::Long(wanted) = self.list(lane) else { return None };
        let at = self.long?.iter().position(|long| std::ptr::eq(long, wanted))?;
        Some(at as u32 | IS_LONG)
    }
}

impl Chunk {
    #[inline]
    fn record(&self, at: usize, bitmap: usize) -> Record<'_> {
        let Some(words) = self.words.as_deref() else { return Record::EMPTY };
        // The first word says how many records there are: a chunk at the end has fewer.
        let count = words.first().copied().unwrap_or(0) as usize;
        if at >= count {
            return Record::EMPTY;
        }
        let start = words.get(at + 1).copied().unwrap_or(0) as usize;
        let end = words.get(at + 2).copied().unwrap_or(0) as usize;
        Record { words: words.get(start..end).unwrap_or(&[]), long: self.long.as_deref(), bitmap }
    }

    fn assembled(records: &[Vec<u32>], long: Vec<Long>) -> Self {
        let head = records.len() + 2;
        let total = head + records.iter().map(Vec::len).sum::<usize>();
        let mut words = Vec::with_capacity(total);
        words.push(records.len() as u32);
        let mut at = head;
        for record in records {
            words.push(at as u32);
            at += record.len();
        }
        words.push(at as u32);
        records.iter().for_each(|record| words.extend_from_slice(record));
        Self { words: Some(words.into()), long: (!long.is_empty()).then(|| long.into()) }
    }

    fn put(&mut self, at: usize, bitmap: usize, lists: &[(u32, Vec<u32>)]) {
        let count = self.words.as_ref().and_then(|words| words.first().copied()).unwrap_or(0) as usize;
        let mut records: Vec<Vec<u32>> = Vec::with_capacity(count.max(at + 1));
        let mut long = Vec::new();
        if self.long.is_none() {
            // Nothing to number anew: the other records are taken as they are.
            records.extend((0..count).map(|other| self.record(other, bitmap).words.to_vec()));
        } else {
            for other in 0..count {
                let lists: Vec<(u32, List<'_>)> =
                    if other == at { Vec::new() } else { self.record(other, bitmap).lists().collect() };
                records.push(recode(bitmap, &lists, &mut long));
            }
        }
        if records.len() <= at {
            records.resize(at + 1, Vec::new());
        }
        if let Some(record) = records.get_mut(at) {
            *record = encode(bitmap, lists, &mut long);
        }
        *self = Self::assembled(&records, long);
    }
}

fn recode(bitmap: usize, lists: &[(u32, List<'_>)], long: &mut Vec<Long>) -> Vec<u32> {
    let short: Vec<(u32, Vec<u32>)> = lists
        .iter()
        .map(|(lane, list)| match list {
            List::Short(numbers) => (*lane, numbers.to_vec()),
            List::Long(_) => (*lane, Vec::new()),
        })
        .collect();
    let kept = lists.iter().map(|(_, list)| match list {
        List::Long(long) => Some((*long).clone()),
        List::Short(_) => None,
    });
    record_of(bitmap, &short, kept, long)
}

fn encode(bitmap: usize, lists: &[(u32, Vec<u32>)], long: &mut Vec<Long>) -> Vec<u32> {
    let new = lists.iter().map(|(_, numbers)| (numbers.len() > MAX_INSIDE).then(|| Long::new(numbers)));
    record_of(bitmap, lists, new, long)
}

/// The words of a record; a list that has pages of its own is given as such.
fn record_of(
    bitmap: usize,
    lists: &[(u32, Vec<u32>)],
    pages: impl Iterator<Item = Option<Long>>,
    long: &mut Vec<Long>,
) -> Vec<u32> {
    if lists.is_empty() {
        return Vec::new();
    }
    let lengths = bitmap;
    let entries = lengths + lists.len().div_ceil(8);
    let mut words = vec![0; entries];
    let mut behind: Vec<(usize, &[u32])> = Vec::new();
    for (rank, ((lane, numbers), pages)) in lists.iter().zip(pages).enumerate() {
        if let Some(word) = words.get_mut((lane >> 5) as usize) {
            *word |= 1 << (lane & 31);
        }
        let near = pages.is_none() && numbers.len() < FAR as usize;
        let length = if near { numbers.len() as u32 } else { FAR };
        if let Some(word) = words.get_mut(lengths + rank / 8) {
            *word |= length << (rank as u32 % 8 * 4);
        }
        match pages {
            Some(pages) => {
                words.push(long.len() as u32 | IS_LONG);
                long.push(pages);
            }
            None if near => words.extend_from_slice(numbers),
            None => {
                behind.push((words.len(), numbers));
                words.push(0);
            }
        }
    }
    for (place, numbers) in behind {
        let start = words.len() as u32;
        if let Some(word) = words.get_mut(place) {
            *word = start;
        }
        words.push(numbers.len() as u32);
        words.extend_from_slice(numbers);
    }
    words
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
        for lanes in [1, 9, 33, 70] {
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
                    table.replace(object, lane, &[]);
                }
            }
            same(&table, &Model::new(), lanes);
            same(&copy, &model, lanes);
        }
    }
}
