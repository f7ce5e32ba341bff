//! The names of a schema, or of one type, as numbers: every check from strings looks three of them up.
//!
//! INVARIANT: at least half of the cells are free, so a search ends soon.

use rustc_hash::FxHashMap;

use crate::packed::{fold, pack};

/// The key of a free cell: no text has it.
const FREE: u128 = u128::MAX;
/// Two odd numbers without a pattern. Names are those of a schema, not what somebody asks for: no secret is needed.
const MIX: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

#[derive(Debug, Clone, Default)]
pub(crate) struct NameTable {
    /// Names of up to fifteen bytes, which are their own keys: an open table of a power of two.
    cells: Vec<(u128, u32)>,
    used: usize,
    /// The others.
    long: FxHashMap<Box<str>, u32>,
}

impl NameTable {
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        let Some(key) = pack(name.as_bytes()) else { return self.long.get(name).copied() };
        let mut at = start(key, self.cells.len());
        loop {
            let &(found, number) = self.cells.get(at)?;
            if found == key {
                return Some(number);
            }
            if found == FREE {
                return None;
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a name that is not there yet.
    pub(crate) fn insert(&mut self, name: &str, number: u32) {
        let Some(key) = pack(name.as_bytes()) else {
            self.long.insert(name.into(), number);
            return;
        };
        self.used += 1;
        if self.used * 2 > self.cells.len() {
            let more = vec![(FREE, 0); (self.used * 2).next_power_of_two().max(8)];
            for (key, number) in std::mem::replace(&mut self.cells, more) {
                if key != FREE {
                    self.put(key, number);
                }
            }
        }
        self.put(key, number);
    }

    fn put(&mut self, key: u128, number: u32) {
        let mut at = start(key, self.cells.len());
        while let Some(cell) = self.cells.get_mut(at) {
            if cell.0 == FREE {
                *cell = (key, number);
                return;
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
    }
}

#[inline]
fn start(key: u128, cells: usize) -> usize {
    fold(key as u64 ^ MIX[0], (key >> 64) as u64 ^ MIX[1]) as usize & cells.wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_the_number_that_it_was_given() {
        let mut table = NameTable::default();
        let name = |i: u32| {
            if i.is_multiple_of(3) { format!("a_relation_with_a_long_name_{i}") } else { format!("r{i}") }
        };
        assert_eq!((table.get(""), table.get("r1"), table.get(&name(0))), (None, None, None));
        for i in 0..1_000 {
            assert!(!table.contains(&name(i)));
            table.insert(&name(i), i);
        }
        for i in 0..1_000 {
            assert_eq!(table.get(&name(i)), Some(i));
        }
        assert_eq!((table.get(""), table.get("r"), table.get("r1000")), (None, None, None));
    }
}
