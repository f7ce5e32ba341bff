//! Ids of one type's objects as dense numbers, both ways; copies share what has not changed.
//!
//! The table of a shard holds, beside each number, a part of its hash: that part is compared first, so
//! that a number is known before its name has been read, and the name confirms it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::graph::cow_vec::CowVec;

/// Names of one piece of text, as a power of two.
const PIECE_BITS: u32 = 4;
const PIECE: usize = 1 << PIECE_BITS;
/// Names of a shard, on average, before the table is spread over more of them.
const FULL: usize = 128;
/// The two largest numbers stand for what is absent.
const MAX_NUMBER: u32 = u32::MAX - 2;

/// Hashes ids under a secret key of this process: ids come from outside, and whoever could choose
/// colliding ones could make every lookup slow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameHash {
    first: u64,
    second: u64,
}

impl NameHash {
    pub(crate) fn new() -> Self {
        let state = RandomState::new();
        let key = |n: u64| {
            let mut hasher = state.build_hasher();
            hasher.write_u64(n);
            hasher.finish()
        };
        Self { first: key(1), second: key(2) | 1 }
    }

    /// A number that other graphs of this process have only by a rare chance.
    pub(crate) fn stamp(&self) -> u32 {
        (self.first >> 32) as u32 ^ self.second as u32
    }

    #[inline]
    pub(crate) fn hash(&self, space: u32, name: &str) -> u64 {
        let mut state = self.first ^ u64::from(space) ^ ((name.len() as u64) << 32);
        let (words, rest) = name.as_bytes().as_chunks::<8>();
        for word in words {
            state = fold(state ^ u64::from_le_bytes(*word), self.second);
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        fold(state ^ u64::from_le_bytes(last), self.second ^ self.first.rotate_left(32))
    }
}

/// Both halves of the product, so that every bit of the input reaches every bit of the output.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Sixteen names in one text.
#[derive(Debug, Clone)]
struct Piece {
    ends: [u16; PIECE],
    text: Arc<str>,
}

impl Piece {
    fn of(names: &[&str]) -> Self {
        let mut ends = [0; PIECE];
        let mut end = 0;
        for (at, slot) in ends.iter_mut().enumerate() {
            // No id is longer than 200 bytes.
            end += names.get(at).map_or(0, |name| name.len());
            *slot = end as u16;
        }
        Self { ends, text: names.concat().into() }
    }

    #[inline]
    fn name(&self, at: usize) -> Option<&str> {
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start as usize..*self.ends.get(at)? as usize)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pieces: CowVec<Piece>,
    /// Open tables; an entry has the upper half of a hash, and the number + 1.
    shards: CowVec<Arc<[u64]>>,
    len: u32,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        if number >= self.len {
            return None;
        }
        self.pieces.get((number >> PIECE_BITS) as usize)?.name(number as usize & (PIECE - 1))
    }

    #[inline]
    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<u32> {
        let table: &[u64] = self.shards.get(self.shard_of(hash)?)?;
        let mask = table.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let entry = *table.get(at)?;
            if entry == 0 {
                return None;
            }
            let number = (entry as u32).wrapping_sub(1);
            if (entry >> 32) == (hash >> 32) && self.name(number) == Some(name) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
    }

    fn shard_of(&self, hash: u64) -> Option<usize> {
        // The number of shards is a power of two; the bits are apart from those of the place in a table.
        Some((hash >> 40) as usize & self.shards.len().checked_sub(1)?)
    }

    /// The next number for a name that is not known yet; `None` when there are too many.
    pub(crate) fn add(&mut self, hash: u64, rehash: impl Fn(&str) -> u64, name: &str) -> Option<u32> {
        let number = self.len;
        if number >= MAX_NUMBER {
            return None;
        }
        let last = self.pieces.len().checked_sub(1).filter(|_| !(number as usize).is_multiple_of(PIECE));
        match last.and_then(|last| self.pieces.get_mut(last)) {
            Some(piece) => {
                let mut names: Vec<&str> =
                    (0..number as usize % PIECE).filter_map(|at| piece.name(at)).collect();
                names.push(name);
                *piece = Piece::of(&names);
            }
            None => self.pieces.push(Piece::of(&[name])),
        }
        self.len += 1;
        if self.len as usize > self.shards.len() * FULL {
            let hashes: Vec<u64> = (0..self.len).map(|number| self.name(number).map_or(0, &rehash)).collect();
            self.spread(&hashes);
        } else {
            let shard = self.shard_of(hash)?;
            self.enter(shard, hash, number, rehash);
        }
        Some(number)
    }

    fn enter(&mut self, shard: usize, hash: u64, number: u32, rehash: impl Fn(&str) -> u64) -> Option<()> {
        let table = self.shards.get(shard)?;
        let used = table.iter().filter(|&&entry| entry != 0).count();
        if (used + 1) * 4 > table.len() * 3 {
            let numbers = table.iter().filter(|&&entry| entry != 0).map(|&entry| entry as u32 - 1);
            let mut all: Vec<(u64, u32)> =
                numbers.map(|number| (self.name(number).map_or(0, &rehash), number)).collect();
            all.push((hash, number));
            *self.shards.get_mut(shard)? = table_of(&all);
        } else {
            put(Arc::make_mut(self.shards.get_mut(shard)?), hash, number);
        }
        Some(())
    }

    /// Makes the shards anew; `hashes` by number.
    fn spread(&mut self, hashes: &[u64]) {
        let count = hashes.len().div_ceil(FULL / 2).next_power_of_two();
        let mut shards: Vec<Vec<(u64, u32)>> = vec![Vec::new(); count];
        for (number, &hash) in (0..).zip(hashes) {
            if let Some(shard) = shards.get_mut((hash >> 40) as usize & (count - 1)) {
                shard.push((hash, number));
            }
        }
        self.shards = shards.iter().map(|shard| table_of(shard)).collect();
    }

    pub(crate) fn bytes(&self) -> usize {
        let text: usize = self.pieces.iter().map(|piece| piece.text.len() + 16).sum();
        let tables: usize = self.shards.iter().map(|table| table.len() * 8 + 16).sum();
        self.pieces.bytes() + self.shards.bytes() + text + tables
    }
}

fn table_of(entries: &[(u64, u32)]) -> Arc<[u64]> {
    // At most three quarters full, so that a search always meets a free place.
    let mut table = vec![0; (entries.len() * 4 / 3 + 1).next_power_of_two()];
    for &(hash, number) in entries {
        put(&mut table, hash, number);
    }
    table.into()
}

fn put(table: &mut [u64], hash: u64, number: u32) {
    let Some(mask) = table.len().checked_sub(1) else { return };
    let mut at = hash as usize & mask;
    while let Some(place) = table.get_mut(at) {
        if *place == 0 {
            *place = (hash >> 32 << 32) | u64::from(number + 1);
            return;
        }
        at = (at + 1) & mask;
    }
}

/// Gives numbers to names in bulk; then they are [`Names`].
#[derive(Debug, Default)]
pub(crate) struct NamesBuilder {
    text: String,
    /// End of each name in `text`.
    ends: Vec<usize>,
    hashes: Vec<u64>,
    /// As a table of [`Names`].
    table: Vec<u64>,
}

impl NamesBuilder {
    fn name(&self, number: u32) -> Option<&str> {
        let at = number as usize;
        let start = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.text.get(start..*self.ends.get(at)?)
    }

    /// The number of a name, new or known; `None` when there are too many.
    pub(crate) fn intern(&mut self, hash: u64, name: &str) -> Option<u32> {
        if (self.hashes.len() + 1) * 3 > self.table.len() * 2 {
            self.table = vec![0; (self.hashes.len() * 2 + 8).next_power_of_two() * 2];
            for (number, &hash) in (0..).zip(&self.hashes) {
                put(&mut self.table, hash, number);
            }
        }
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let entry = *self.table.get(at)?;
            if entry == 0 {
                break;
            }
            let number = (entry as u32).wrapping_sub(1);
            if (entry >> 32) == (hash >> 32) && self.name(number) == Some(name) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
        let number = u32::try_from(self.hashes.len()).ok().filter(|&number| number < MAX_NUMBER)?;
        *self.table.get_mut(at)? = (hash >> 32 << 32) | u64::from(number + 1);
        self.text.push_str(name);
        self.ends.push(self.text.len());
        self.hashes.push(hash);
        Some(number)
    }

    pub(crate) fn finish(self) -> Names {
        let all: Vec<&str> = (0..self.hashes.len() as u32).filter_map(|number| self.name(number)).collect();
        let mut names = Names {
            pieces: all.chunks(PIECE).map(Piece::of).collect(),
            shards: CowVec::default(),
            len: self.hashes.len() as u32,
        };
        if !self.hashes.is_empty() {
            names.spread(&self.hashes);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_number() {
        let hash = NameHash::new();
        let mut builder = NamesBuilder::default();
        let name = |i: u32| format!("object-{i}");
        for round in 0..2 {
            for i in 0..1_000 {
                assert_eq!(builder.intern(hash.hash(0, &name(i)), &name(i)), Some(i), "round {round}");
            }
        }
        let built = builder.finish();
        let mut names = built.clone();
        for i in 1_000..5_000 {
            assert_eq!(names.find(hash.hash(0, &name(i)), &name(i)), None);
            assert_eq!(names.add(hash.hash(0, &name(i)), |name| hash.hash(0, name), &name(i)), Some(i));
        }
        for i in 0..5_000 {
            assert_eq!(names.find(hash.hash(0, &name(i)), &name(i)), Some(i));
            assert_eq!(names.name(i), Some(name(i).as_str()));
            assert_eq!(built.name(i).is_some(), i < 1_000);
        }
        assert_eq!((built.len(), names.len(), names.name(5_000)), (1_000, 5_000, None));
        assert_eq!(names.find(hash.hash(0, "object"), "object"), None);
        assert_eq!(Names::default().find(1, "object"), None);
        let mut few = Names::default();
        assert_eq!(few.add(1, |_| 1, "first"), Some(0));
        assert_eq!(few.find(1, "first"), Some(0));
    }
}
