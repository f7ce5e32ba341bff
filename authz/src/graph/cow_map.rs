//! A map whose copies share what has not changed: changing one entry copies one shard.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::graph::cow_vec::CowVec;

/// Entries of a shard, on average, before the map is spread over more of them.
const FULL: usize = 64;

/// Takes no memory while it is empty: most graphs have no conditions.
#[derive(Debug, Clone)]
pub(crate) struct CowMap<K, V> {
    /// A power of two, or none.
    shards: CowVec<Arc<FxHashMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { shards: CowVec::default(), len: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> CowMap<K, V> {
    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.shards.get(self.shard_of(key)?)?.get(&key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if self.len >= self.shards.len() * FULL {
            self.spread();
        }
        let shard = self.shard_of(key)?;
        let before = Arc::make_mut(self.shards.get_mut(shard)?).insert(key, value);
        self.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        let shard = self.shard_of(key)?;
        self.shards.get(shard)?.get(&key)?;
        let before = Arc::make_mut(self.shards.get_mut(shard)?).remove(&key);
        self.len -= usize::from(before.is_some());
        before
    }

    fn spread(&mut self) {
        let count = (self.shards.len() * 4).max(1);
        let mut shards: Vec<FxHashMap<K, V>> = (0..count).map(|_| FxHashMap::default()).collect();
        for (key, value) in self.iter() {
            if let Some(shard) = shards.get_mut(shard_among(key, count)) {
                shard.insert(key, value.clone());
            }
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (*key, value))
    }

    fn shard_of(&self, key: K) -> Option<usize> {
        let count = self.shards.len();
        (count > 0).then(|| shard_among(key, count))
    }

    /// Bytes of the tables; what values own elsewhere is not counted.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.bytes() + self.shards.len() * 64 + self.len * (size_of::<(K, V)>() + 1) * 2
    }
}

fn shard_among<K: Hash>(key: K, count: usize) -> usize {
    // Away from both ends, which the maps inside use for themselves.
    (FxBuildHasher.hash_one(key) >> 20) as usize & (count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_changed_with_its_original() {
        let mut first = CowMap::<u64, u32>::default();
        assert_eq!(first.remove(7), None);
        for n in 0..1_000 {
            assert_eq!(first.insert(n, 1), None);
        }
        let mut second = first.clone();
        assert_eq!(second.insert(7, 2), Some(1));
        assert_eq!(second.remove(8), Some(1));
        assert_eq!((first.get(7), second.get(7)), (Some(&1), Some(&2)));
        assert_eq!((first.get(8), second.get(8)), (Some(&1), None));
        assert_eq!((first.len, second.len, second.iter().count()), (1_000, 999, 999));
    }
}
