//! Times at which limits are full again, in bounded memory.
//!
//! A limit that is full again is as good as one that was never used: only such ones are ever forgotten. When all that
//! is kept is in use, a newcomer finds no place and shares one entry with the others that found none ([`Place`]).
//!
//! INVARIANT: the keys of one call have one anchor, so they lie in one shard, under one lock.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Locks; calls of different anchors rarely meet at one.
const SHARDS: usize = 16;
/// Entries are gone over once for so many times fewer newcomers: eight looked at for each.
const SWEEP: usize = 8;
/// Fewer are not worth going over.
const FEW: usize = 64;
/// Nanoseconds after which a shard without room is gone over in any case, so that the end of a flood is noticed.
const PATIENCE: u64 = 50_000_000;

/// A limit's key: hashes of its anchor and of the rest, keyed with secrets of the process, so that nobody can choose
/// two that are alike. Two among a million are alike once in 10^26 tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) anchor: u64,
    pub(super) rest: u64,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.anchor ^ self.rest);
    }
}

/// Takes a hash for what it is.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Hashed>>;

/// Entries of many anchors.
#[derive(Debug)]
pub(super) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    /// Most entries of a shard.
    most: usize,
    /// Most entries of one anchor.
    share: usize,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    /// When each is full again, in nanoseconds of the limiter's clock.
    full_at: Map<Key, u64>,
    /// Entries of each anchor.
    held: Map<u64, usize>,
    /// Newcomers until the next sweep.
    until_sweep: usize,
    /// When the last one was, in nanoseconds.
    swept_at: u64,
}

/// Where an entry stands or will stand.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// It has one.
    Own(u64),
    /// There is room for it.
    New,
    /// There is none.
    Crowded,
}

impl Table {
    /// Room for `keys` entries, of which one anchor takes at most `share` parts.
    pub(super) fn new(keys: usize, share: usize) -> Self {
        let most = keys.div_ceil(SHARDS).max(1);
        Self { shards: Default::default(), most, share: (most / share.max(1)).max(1) }
    }

    /// The part of an anchor's hash that its shard is chosen by: an anchor of all in that shard.
    pub(super) fn home_of(anchor: u64) -> u64 {
        (anchor >> 32) % SHARDS as u64 * (1 << 32)
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder of the number of shards")]
    pub(super) fn lock(&self, anchor: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(Self::home_of(anchor) >> 32) as usize % SHARDS];
        // Nothing panics in between, and if it did, every entry stands for itself.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the key's place, `taken` newcomers of the same call before it.
    pub(super) fn place(&self, shard: &mut Shard, key: Key, now: u64, taken: usize) -> Place {
        if let Some(&full_at) = shard.full_at.get(&key) {
            return Place::Own(full_at);
        }
        if shard.until_sweep == 0 || (!self.has_room(shard, key, taken) && now >= shard.swept_at + PATIENCE) {
            shard.sweep(now);
        }
        shard.until_sweep -= 1;
        if self.has_room(shard, key, taken) { Place::New } else { Place::Crowded }
    }

    fn has_room(&self, shard: &Shard, key: Key, taken: usize) -> bool {
        let held = shard.held.get(&key.anchor).copied().unwrap_or(0);
        shard.full_at.len() + taken < self.most && held + taken < self.share
    }

    /// Entries, and bytes that the maps take up, as far as they tell.
    pub(super) fn size(&self) -> (usize, usize) {
        let mut size = (0, 0);
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            size.0 += shard.full_at.len();
            // A slot and its control byte, one in eight free.
            size.1 += shard.full_at.capacity() * 8 / 7 * (size_of::<(Key, u64)>() + 1);
            size.1 += shard.held.capacity() * 8 / 7 * (size_of::<(u64, usize)>() + 1);
        }
        size
    }
}

impl Shard {
    pub(super) fn full_at(&self, key: Key) -> u64 {
        self.full_at.get(&key).copied().unwrap_or(0)
    }

    pub(super) fn set(&mut self, key: Key, full_at: u64) {
        if self.full_at.insert(key, full_at).is_none() {
            *self.held.entry(key.anchor).or_default() += 1;
        }
    }

    /// Forgets what is full again. Not at every newcomer, or a flood would have each of them go over everything.
    fn sweep(&mut self, now: u64) {
        self.swept_at = now;
        let held = &mut self.held;
        self.full_at.retain(|key, full_at| {
            let in_use = *full_at > now;
            if !in_use && let Some(count) = held.get_mut(&key.anchor) {
                *count -= 1;
                if *count == 0 {
                    held.remove(&key.anchor);
                }
            }
            in_use
        });
        let left = self.full_at.len();
        if self.full_at.capacity() > 4 * left.max(FEW) {
            self.full_at.shrink_to(2 * left);
            self.held.shrink_to(2 * left);
        }
        self.until_sweep = (left / SWEEP).max(FEW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(anchor: u64, rest: u64) -> Key {
        // As hashes are: spread over all bits.
        let spread = |value: u64| (value + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Key { anchor: spread(anchor), rest: spread(rest).rotate_left(17) }
    }

    fn enter(table: &Table, key: Key, now: u64, full_at: u64) -> bool {
        let mut shard = table.lock(key.anchor);
        let entered = !matches!(table.place(&mut shard, key, now, 0), Place::Crowded);
        if entered {
            shard.set(key, full_at);
        }
        entered
    }

    #[test]
    fn what_is_in_use_is_never_forgotten_and_what_is_full_again_makes_room() {
        let table = Table::new(SHARDS * 1_000, 1);
        let entered: Vec<u64> = (0..100_000).filter(|&n| enter(&table, key(n, 0), 0, 10)).collect();
        assert_eq!(table.size().0, SHARDS * 1_000);
        assert!(entered.iter().all(|&n| table.lock(key(n, 0).anchor).full_at(key(n, 0)) == 10));
        let later = (0..100_000).filter(|&n| enter(&table, key(n, 1), 10, 20)).count();
        assert!(later >= SHARDS * 900, "{later}");
        assert!(table.size().0 <= SHARDS * 1_000);
        // Newcomers that leave no trace give the memory back.
        let full = table.size().1;
        let later = 20 + PATIENCE;
        let passing = (0..20_000).filter(|&n| enter(&table, key(n, 2), later + n, later + n)).count();
        assert_eq!(passing, 20_000);
        assert!(table.size().1 < full / 4, "{} of {full}", table.size().1);
    }

    #[test]
    fn one_anchor_leaves_room_for_the_others() {
        let table = Table::new(SHARDS * 1_000, 4);
        let of_one = (0..5_000).filter(|&n| enter(&table, key(7, n), 0, 10)).count();
        assert_eq!(of_one, 250);
        let others = (100..1_000).filter(|&n| enter(&table, key(n, 0), 0, 10)).count();
        assert_eq!(others, 900);
    }
}
