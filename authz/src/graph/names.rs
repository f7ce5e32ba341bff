//! Ids of one type's objects as dense numbers: text in one piece, an open table over it.

use std::hash::{BuildHasher, Hasher, RandomState};

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
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    text: String,
    /// End of each name in `text`.
    ends: Vec<u32>,
    /// Number + 1 of a name, or 0; its length is a power of two, or zero.
    table: Vec<u32>,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    pub(crate) fn name(&self, number: u32) -> Option<&str> {
        let end = *self.ends.get(number as usize)? as usize;
        let start = match number.checked_sub(1) {
            Some(before) => *self.ends.get(before as usize)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    pub(crate) fn find(&self, hash: u64, name: &str) -> Option<u32> {
        let mask = self.table.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let number = self.table.get(at)?.checked_sub(1)?;
            if self.name(number) == Some(name) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of a name, new or known; `None` when four gigabytes of names are full.
    pub(crate) fn intern(&mut self, hash: u64, rehash: impl Fn(&str) -> u64, name: &str) -> Option<u32> {
        if let Some(known) = self.find(hash, name) {
            return Some(known);
        }
        let end = u32::try_from(self.text.len() + name.len()).ok()?;
        let number = self.len();
        self.text.push_str(name);
        self.ends.push(end);
        // At most two thirds full, so that a search always meets a free place.
        if self.ends.len() * 3 > self.table.len() * 2 {
            self.table = vec![0; (self.ends.len() * 2).next_power_of_two()];
            for known in 0..self.len() {
                let hash = self.name(known).map_or(0, &rehash);
                self.enter(hash, known);
            }
        } else {
            self.enter(hash, number);
        }
        Some(number)
    }

    fn enter(&mut self, hash: u64, number: u32) {
        let Some(mask) = self.table.len().checked_sub(1) else { return };
        let mut at = hash as usize & mask;
        while let Some(place) = self.table.get_mut(at) {
            if *place == 0 {
                *place = number + 1;
                return;
            }
            at = (at + 1) & mask;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|number| self.name(number))
    }

    pub(crate) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.capacity() + 4 * (self.ends.capacity() + self.table.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_number() {
        let hash = NameHash::new();
        let mut names = Names::default();
        for round in 0..2 {
            for i in 0..1_000_u32 {
                let name = format!("object-{i}");
                let number = names.intern(hash.hash(0, &name), |name| hash.hash(0, name), &name);
                assert_eq!(number, Some(i), "round {round}");
            }
        }
        assert_eq!(names.len(), 1_000);
        assert_eq!(names.name(999), Some("object-999"));
        assert_eq!(names.find(hash.hash(0, "object-7"), "object-7"), Some(7));
        assert_eq!(names.find(hash.hash(0, "object"), "object"), None);
        assert_eq!(Names::default().find(1, "object"), None);
    }
}
