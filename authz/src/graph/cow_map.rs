//! A map whose copies share what has not changed: changing one entry copies one shard.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

const SHARDS: usize = 64;

type Shards<K, V> = [Arc<FxHashMap<K, V>>; SHARDS];

/// Takes no memory while it is empty: most graphs of small tenants have no recent changes.
#[derive(Debug, Clone)]
pub(crate) struct CowMap<K, V> {
    shards: Option<Arc<Shards<K, V>>>,
    len: usize,
}

impl<K, V> Default for CowMap<K, V> {
    fn default() -> Self {
        Self { shards: None, len: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> CowMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: K) -> Option<&V> {
        self.shards.as_ref()?.get(shard_of(key))?.get(&key)
    }

    /// The value of a key, made when there is none, to be changed in this copy only.
    pub(crate) fn entry(&mut self, key: K, missing: impl FnOnce() -> V) -> Option<&mut V> {
        let empty = || Arc::new(std::array::from_fn(|_| Arc::new(FxHashMap::default())));
        let shards = Arc::make_mut(self.shards.get_or_insert_with(empty));
        let shard = Arc::make_mut(shards.get_mut(shard_of(key))?);
        Some(shard.entry(key).or_insert_with(|| {
            self.len += 1;
            missing()
        }))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let shards = self.shards.iter().flat_map(|shards| shards.iter());
        shards.flat_map(|shard| shard.iter()).map(|(key, value)| (*key, value))
    }
}

fn shard_of<K: Hash>(key: K) -> usize {
    // Away from both ends, which the maps inside use for themselves.
    (FxBuildHasher.hash_one(key) >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_changed_with_its_original() {
        let mut first = CowMap::<u64, Vec<u32>>::default();
        assert_eq!(first.get(7), None);
        first.entry(7, Vec::new).unwrap().push(1);
        let mut second = first.clone();
        second.entry(7, Vec::new).unwrap().push(2);
        second.entry(8, Vec::new).unwrap().push(3);
        assert_eq!(first.get(7), Some(&vec![1]));
        assert_eq!(first.get(8), None);
        assert_eq!(second.get(7), Some(&vec![1, 2]));
        assert_eq!((first.len(), second.len()), (1, 2));
        assert_eq!(second.iter().count(), 2);
    }
}
