//! Which rows repeat a key: in 40 bytes a key, however long the keys and the rows are.
//!
//! Keys are told apart by 128 bits of SHA-256, so a file made to collide is out of reach. Contents
//! are compared only between two rows of one key, for which 64 bits are plenty.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use sha2::{Digest, Sha256};

/// Maps by the key's first bits. A map that grows holds its old and its new table at once: of
/// sixteen small maps only one does so at a time.
const SHARDS: usize = 16;

/// What a row is among the rows of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    First,
    /// The same content as the row that held until now.
    Same {
        line: u64,
    },
    /// Another content, which holds from now on.
    Differs {
        line: u64,
    },
}

#[derive(Debug, Clone, Copy)]
struct Holding {
    line: u64,
    content: u64,
}

/// The row that holds, for each key.
pub(super) struct Keys {
    shards: [HashMap<(u64, u64), Holding>; SHARDS],
}

impl Keys {
    pub(super) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| HashMap::new()) }
    }

    pub(super) fn add(&mut self, key: &str, content: &[u8; 32], line: u64) -> Repeat {
        let hash: [u8; 32] = Sha256::digest(key).into();
        let (high, low) = (word(&hash, 0), word(&hash, 8));
        let holding = Holding { line, content: word(content, 0) };
        let Some(shard) = self.shards.get_mut(high as usize % SHARDS) else { return Repeat::First };
        match shard.entry((high, low)) {
            Entry::Vacant(vacant) => {
                vacant.insert(holding);
                Repeat::First
            }
            Entry::Occupied(held) if held.get().content == holding.content => {
                Repeat::Same { line: held.get().line }
            }
            Entry::Occupied(mut held) => Repeat::Differs { line: held.insert(holding).line },
        }
    }
}

/// Eight of the hash's bytes.
fn word(hash: &[u8; 32], at: usize) -> u64 {
    hash.iter().skip(at).take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// A set of line numbers, one bit each up to the largest.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    bits: Vec<u64>,
}

impl Lines {
    pub(super) fn insert(&mut self, line: u64) {
        let at = (line / 64) as usize;
        if at >= self.bits.len() {
            self.bits.resize(at + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(at) {
            *bits |= 1 << (line % 64);
        }
    }

    pub(super) fn contains(&self, line: u64) -> bool {
        self.bits.get((line / 64) as usize).is_some_and(|bits| bits >> (line % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_told_from_the_row_that_holds() {
        let mut keys = Keys::new();
        let (a, b) = ([1; 32], [2; 32]);
        assert_eq!(keys.add("k", &a, 2), Repeat::First);
        assert_eq!(keys.add("other", &a, 3), Repeat::First);
        assert_eq!(keys.add("k", &a, 4), Repeat::Same { line: 2 });
        assert_eq!(keys.add("k", &b, 5), Repeat::Differs { line: 2 });
        assert_eq!(keys.add("k", &a, 6), Repeat::Differs { line: 5 });
        assert_eq!(keys.add("k", &a, 7), Repeat::Same { line: 6 });
    }

    #[test]
    fn lines_are_a_set() {
        let mut lines = Lines::default();
        assert!(!lines.contains(0) && !lines.contains(1_000_000));
        for line in [1, 63, 64, 65, 1_000_000] {
            lines.insert(line);
        }
        for line in [1, 63, 64, 65, 1_000_000] {
            assert!(lines.contains(line) && !lines.contains(line + 10), "{line}");
        }
    }
}
