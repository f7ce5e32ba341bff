//! The records of thirty-two objects, side by side in one piece of memory.
//!
//! Each record has a slot of the same size, so that it is found by its number alone, and its header
//! and numbers stand together. What does not fit its slot stands behind all slots.
//!
//! INVARIANT: a record knows no place outside its chunk.

use std::sync::Arc;

use crate::graph::list::{List, Long};
use crate::graph::record::{FAR, IS_LONG, Record};
use crate::schema::program::NARROW;

/// Objects of one chunk, as a power of two; `behind` has a bit for each.
pub(super) const CHUNK_BITS: u32 = 5;
pub(super) const CHUNK: usize = 1 << CHUNK_BITS;
/// A list of more numbers has pages of its own, so that a change does not copy all of it.
pub(super) const MAX_INSIDE: usize = 384;
/// Words of the largest slot that is tried.
const MAX_SLOT: usize = 24;

#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    words: Option<Arc<[u32]>>,
    long: Option<Arc<Vec<Long>>>,
    /// The records whose numbers stand behind the slots, as bits.
    behind: u32,
    /// Words of a slot.
    slot: u8,
    /// Slots: those of the last objects may be left out.
    count: u8,
}

/// A list of a chunk that is to be: the object's place in the chunk, the lane, the numbers.
pub(super) type Entry<'a> = (usize, u32, List<'a>);

impl Chunk {
    pub(super) const EMPTY: Self = Self { words: None, long: None, behind: 0, slot: 0, count: 0 };

    #[inline]
    pub(super) fn record(&self, at: usize, lanes: u32) -> Record<'_> {
        if at >= self.count as usize {
            return Record::EMPTY;
        }
        let words = self.words();
        let slot = at * self.slot as usize;
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let head = head(lanes);
        let mut header = u64::from(word(slot));
        if head == 2 {
            header |= u64::from(word(slot + 1)) << 32;
        }
        let start = match head {
            0 => header as u32,
            _ if self.behind & (1 << at) == 0 => (slot + head) as u32,
            _ => word(slot + head),
        };
        Record { chunk: self, header, start, lanes }
    }

    #[inline]
    pub(super) fn words(&self) -> &[u32] {
        self.words.as_deref().unwrap_or(&[])
    }

    pub(super) fn long(&self) -> &[Long] {
        self.long.as_deref().map_or(&[], Vec::as_slice)
    }

    pub(super) fn long_mut(&mut self) -> Option<&mut Vec<Long>> {
        self.long.as_mut().map(Arc::make_mut)
    }

    /// The number of records that there is room for.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// A chunk of these lists, sorted by object and lane; none is empty.
    pub(super) fn of(lanes: u32, entries: &[Entry<'_>]) -> Self {
        let Some(&(last, ..)) = entries.last() else { return Self::EMPTY };
        let (count, head) = (last + 1, head(lanes));
        let slot = if lanes > NARROW { 1 } else { slot_for(entries, count, head) };
        let mut draft = Draft { words: vec![0; count * slot], long: Vec::new(), numbers: Vec::new() };
        let mut behind = 0;
        for record in entries.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(at, ..)) = record.first() else { continue };
            let header = if head == 0 { draft.wide(lanes, record) } else { draft.narrow(record) };
            if !draft.put(at * slot, slot, head, header) {
                behind |= 1 << at;
            }
        }
        Self {
            words: Some(draft.words.into()),
            long: (!draft.long.is_empty()).then(|| Arc::new(draft.long)),
            behind,
            slot: slot as u8,
            count: count as u8,
        }
    }

    /// Bytes of what the chunk owns.
    pub(super) fn bytes(&self) -> usize {
        let words = self.words.as_ref().map_or(0, |words| words.len() * 4 + 16);
        let long = self.long.as_ref().map_or(0, |long| {
            long.iter().map(Long::bytes).sum::<usize>() + long.capacity() * size_of::<Long>() + 40
        });
        words + long
    }
}

/// Words of a header; a wide record has it with its numbers.
#[inline]
fn head(lanes: u32) -> usize {
    if lanes <= NARROW / 2 {
        1
    } else if lanes <= NARROW {
        2
    } else {
        0
    }
}

/// Whether a list is named by its place only.
fn is_far(list: List<'_>) -> bool {
    list.len() >= FAR as usize
}

/// The size of slots that takes the least memory.
fn slot_for(entries: &[Entry<'_>], count: usize, head: usize) -> usize {
    let mut records = [0; CHUNK];
    for &(at, _, list) in entries {
        if let Some(record) = records.get_mut(at) {
            *record += if is_far(list) { 1 } else { list.len() };
        }
    }
    let cost = |slot: usize| {
        let behind = records.iter().filter(|&&numbers| head + numbers > slot);
        // One more for the place behind, which is another line of the cache.
        count * slot + behind.map(|&numbers| numbers + 1).sum::<usize>()
    };
    (head + 1..=MAX_SLOT).min_by_key(|&slot| cost(slot)).unwrap_or(MAX_SLOT)
}

/// A chunk in the making.
struct Draft {
    words: Vec<u32>,
    long: Vec<Long>,
    /// Of the record that is being made.
    numbers: Vec<u32>,
}

impl Draft {
    /// Collects the numbers of a list, or its place; gives its length for the header.
    fn take(&mut self, list: List<'_>) -> u32 {
        let numbers = match list {
            List::Short(numbers) if numbers.len() <= MAX_INSIDE => numbers,
            List::Short(numbers) => return self.take_long(Long::new(numbers)),
            List::Long(long) => return self.take_long(long.clone()),
        };
        if !is_far(list) {
            self.numbers.extend_from_slice(numbers);
            return numbers.len() as u32;
        }
        self.numbers.push(self.words.len() as u32);
        self.words.push(numbers.len() as u32);
        self.words.extend_from_slice(numbers);
        FAR
    }

    fn take_long(&mut self, long: Long) -> u32 {
        self.numbers.push(self.long.len() as u32 | IS_LONG);
        self.long.push(long);
        FAR
    }

    fn narrow(&mut self, record: &[Entry<'_>]) -> u64 {
        self.numbers.clear();
        record.iter().fold(0, |header, &(_, lane, list)| header | (u64::from(self.take(list)) << (lane * 4)))
    }

    /// Writes a wide record behind the slots; gives its place.
    fn wide(&mut self, lanes: u32, record: &[Entry<'_>]) -> u64 {
        self.numbers.clear();
        let bitmap = lanes.div_ceil(32) as usize;
        let mut start = vec![0_u32; bitmap + record.len().div_ceil(8)];
        for (rank, &(_, lane, list)) in record.iter().enumerate() {
            let length = self.take(list);
            if let Some(bits) = start.get_mut((lane >> 5) as usize) {
                *bits |= 1 << (lane & 31);
            }
            if let Some(lengths) = start.get_mut(bitmap + rank / 8) {
                *lengths |= length << (rank % 8 * 4);
            }
        }
        let place = self.words.len() as u64;
        self.words.append(&mut start);
        self.words.append(&mut self.numbers);
        place
    }

    /// Fills the slot; says whether the numbers fitted.
    fn put(&mut self, at: usize, slot: usize, head: usize, header: u64) -> bool {
        let fits = head + self.numbers.len() <= slot;
        let start = [header as u32, (header >> 32) as u32];
        let place = self.words.len() as u32;
        if !fits {
            self.words.extend_from_slice(&self.numbers);
        }
        let numbers = if fits { self.numbers.as_slice() } else { std::slice::from_ref(&place) };
        let words = start.iter().take(head.max(1)).chain(numbers);
        self.words.iter_mut().skip(at).take(slot).zip(words).for_each(|(to, from)| *to = *from);
        fits
    }
}
