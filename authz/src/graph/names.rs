//! Ids of one type's objects as dense numbers, both ways; copies share what has not changed.
//!
//! A table has the keys themselves beside their numbers, so that finding one takes one line of memory;
//! the way back is the place of the number's key.

use std::sync::Arc;

use crate::graph::cow_map::CowMap;
use crate::graph::cow_vec::CowVec;
use crate::graph::key::{Key, Name, NameHash};

/// Names of a shard, on average, before the table is spread over more of them.
const FULL: usize = 128;
/// Bits of a place within its shard; the others say which shard.
const PLACE_BITS: u32 = 10;
/// More shards than that have no number: it is well below the numbers that stand for what is absent.
const MAX_NUMBER: u32 = 1 << (32 - PLACE_BITS + 5);

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    key: [u8; 16],
    /// The number + 1; 0 where nothing stands.
    number: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Open tables.
    shards: CowVec<Arc<[Entry]>>,
    /// By number: shard and place.
    places: CowVec<u32>,
    /// By number: text that is longer than its key.
    texts: CowMap<u32, Arc<str>>,
}

impl Names {
    pub(crate) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn name(&self, number: u32) -> Option<Name<'_>> {
        let place = *self.places.get(number as usize)?;
        let table = self.shards.get((place >> PLACE_BITS) as usize)?;
        let key = &table.get((place & ((1 << PLACE_BITS) - 1)) as usize)?.key;
        if Key::of_bytes(*key).is_long() { self.text(number).map(Name::Text) } else { Key::name(key) }
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number).map(|text| &**text)
    }

    pub(crate) fn find(&self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        self.seek(hash, space, name).number()
    }

    /// The first half of [`Names::find`]: who looks for several begins with all of them, so that they
    /// wait for memory together.
    #[inline]
    pub(crate) fn seek<'n>(&'n self, hash: &NameHash, space: u32, name: &'n str) -> Seek<'n> {
        let key = hash.key(name);
        self.seek_key(hash.hash(space, key), key, name)
    }

    #[inline]
    fn seek_key<'n>(&'n self, hash: u64, key: Key, name: &'n str) -> Seek<'n> {
        let shards = self.shards.len();
        let shard = if shards == 0 { None } else { self.shards.get(shard_of(hash, shards)) };
        let table: &[Entry] = shard.map_or(&[], |table| table);
        let at = start(table, hash);
        let entry = table.get(at).copied().unwrap_or_default();
        Seek { names: self, table, key, name, at, entry }
    }

    /// The next number for a name that is not known yet; `None` when there are too many.
    pub(crate) fn add(&mut self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        let number = self.len();
        if number >= MAX_NUMBER {
            return None;
        }
        let key = hash.key(name);
        if key.is_long() {
            self.texts.insert(number, name.into());
        }
        self.places.push(0);
        let of_name = (hash.hash(space, key), key, number);
        if self.places.len() > self.shards.len() * FULL {
            let entries = self.shards.iter().flat_map(|table| entries_of(table, hash, space));
            let entries: Vec<Hashed> = entries.chain([of_name]).collect();
            self.spread(&entries);
        } else {
            self.enter(hash, space, of_name);
        }
        Some(number)
    }

    fn enter(&mut self, hash: &NameHash, space: u32, name: Hashed) -> Option<()> {
        let shard = shard_of(name.0, self.shards.len());
        let table = self.shards.get_mut(shard)?;
        let used = table.iter().filter(|entry| entry.number != 0).count();
        if (used + 1) * 8 > table.len() * 7 {
            let all: Vec<Hashed> = entries_of(table, hash, space).chain([name]).collect();
            *table = table_of(&all);
            let moved = Arc::clone(table);
            self.note_places(shard, &moved);
        } else {
            let place = put(Arc::make_mut(table), name)?;
            *self.places.get_mut(name.2 as usize)? = place_of(shard, place);
        }
        Some(())
    }

    fn note_places(&mut self, shard: usize, table: &[Entry]) {
        for (place, entry) in table.iter().enumerate().filter(|(_, entry)| entry.number != 0) {
            if let Some(noted) = self.places.get_mut(entry.number as usize - 1) {
                *noted = place_of(shard, place);
            }
        }
    }

    /// Makes the shards anew.
    fn spread(&mut self, entries: &[Hashed]) {
        let count = entries.len().div_ceil(FULL / 2).next_power_of_two();
        let mut shards: Vec<Vec<Hashed>> = vec![Vec::new(); count];
        for entry in entries {
            if let Some(shard) = shards.get_mut(shard_of(entry.0, count)) {
                shard.push(*entry);
            }
        }
        let tables: Vec<Arc<[Entry]>> = shards.iter().map(|shard| table_of(shard)).collect();
        let mut places = vec![0; entries.len()];
        for (shard, table) in tables.iter().enumerate() {
            for (place, entry) in table.iter().enumerate().filter(|(_, entry)| entry.number != 0) {
                if let Some(noted) = places.get_mut(entry.number as usize - 1) {
                    *noted = place_of(shard, place);
                }
            }
        }
        self.places = places.into_iter().collect();
        self.shards = tables.into_iter().collect();
    }

    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(|table| table.len() * size_of::<Entry>() + 16).sum();
        let texts: usize = self.texts.iter().map(|(_, text)| text.len() + 16).sum();
        self.places.bytes() + self.shards.bytes() + self.texts.bytes() + texts + tables
    }
}

/// A name that is being looked for.
pub(crate) struct Seek<'n> {
    names: &'n Names,
    table: &'n [Entry],
    key: Key,
    name: &'n str,
    at: usize,
    /// What stands there.
    entry: Entry,
}

impl Seek<'_> {
    #[inline]
    pub(crate) fn number(mut self) -> Option<u32> {
        while let Some(number) = self.entry.number.checked_sub(1) {
            let text = || !self.key.is_long() || self.names.text(number) == Some(self.name);
            if Key::of_bytes(self.entry.key) == self.key && text() {
                return Some(number);
            }
            self.at = if self.at + 1 == self.table.len() { 0 } else { self.at + 1 };
            self.entry = *self.table.get(self.at)?;
        }
        None
    }
}

/// Hash, key and number.
type Hashed = (u64, Key, u32);

fn entries_of<'t>(table: &'t [Entry], hash: &NameHash, space: u32) -> impl Iterator<Item = Hashed> + use<'t> {
    let hash = *hash;
    table.iter().filter_map(move |entry| {
        let (key, number) = (Key::of_bytes(entry.key), entry.number.checked_sub(1)?);
        Some((hash.hash(space, key), key, number))
    })
}

/// Among a power of two; the bits are apart from those of the place.
#[inline]
fn shard_of(hash: u64, count: usize) -> usize {
    (hash >> 32) as usize & (count.wrapping_sub(1))
}

fn place_of(shard: usize, place: usize) -> u32 {
    ((shard as u32) << PLACE_BITS) | place as u32
}

/// Where the search for a hash begins.
#[inline]
fn start(table: &[Entry], hash: u64) -> usize {
    ((u64::from(hash as u32) * table.len() as u64) >> 32) as usize
}

fn table_of(entries: &[Hashed]) -> Arc<[Entry]> {
    // Room to grow, and never full: a search always meets a free place.
    let mut table = vec![Entry::default(); entries.len() * 4 / 3 + 2];
    for &entry in entries {
        put(&mut table, entry);
    }
    table.into()
}

fn put(table: &mut [Entry], (hash, key, number): Hashed) -> Option<usize> {
    let mut at = start(table, hash);
    while let Some(entry) = table.get_mut(at) {
        if entry.number == 0 {
            *entry = Entry { key: key.bytes(), number: number + 1 };
            return Some(at);
        }
        at = if at + 1 == table.len() { 0 } else { at + 1 };
    }
    None
}

/// Gives numbers to names in bulk; then they are [`Names`].
#[derive(Debug, Default)]
pub(crate) struct NamesBuilder {
    /// In the order of their numbers.
    all: Vec<Hashed>,
    texts: CowMap<u32, Arc<str>>,
    /// As a table of [`Names`].
    table: Vec<Entry>,
}

impl NamesBuilder {
    /// The number of a name, new or known; `None` when there are too many.
    pub(crate) fn intern(&mut self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        if (self.all.len() + 1) * 3 > self.table.len() * 2 {
            self.table = vec![Entry::default(); (self.all.len() + 8) * 3];
            for &entry in &self.all {
                put(&mut self.table, entry);
            }
        }
        let key = hash.key(name);
        let hash = hash.hash(space, key);
        let mut at = start(&self.table, hash);
        while let Some(known) = self.table.get(at)?.number.checked_sub(1) {
            let text = || !key.is_long() || self.texts.get(known).is_some_and(|text| **text == *name);
            if Key::of_bytes(self.table.get(at)?.key) == key && text() {
                return Some(known);
            }
            at = if at + 1 == self.table.len() { 0 } else { at + 1 };
        }
        let number = u32::try_from(self.all.len()).ok().filter(|&number| number < MAX_NUMBER)?;
        *self.table.get_mut(at)? = Entry { key: key.bytes(), number: number + 1 };
        if key.is_long() {
            self.texts.insert(number, name.into());
        }
        self.all.push((hash, key, number));
        Some(number)
    }

    pub(crate) fn finish(self) -> Names {
        let mut names = Names { texts: self.texts, ..Names::default() };
        if !self.all.is_empty() {
            names.spread(&self.all);
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
        // Short ones, UUIDs and longer ones.
        let name = |i: u32| match i % 3 {
            0 => format!("object-{i}"),
            1 => format!("0192f0c1-2b3c-7d4e-8f50-0000{i:08x}"),
            _ => format!("an object with a longer name {i}"),
        };
        for round in 0..2 {
            for i in 0..1_000 {
                assert_eq!(builder.intern(&hash, 0, &name(i)), Some(i), "round {round}");
            }
        }
        let built = builder.finish();
        let mut names = built.clone();
        for i in 1_000..5_000 {
            assert_eq!(names.find(&hash, 0, &name(i)), None);
            assert_eq!(names.add(&hash, 0, &name(i)), Some(i));
        }
        for i in 0..5_000 {
            assert_eq!(names.find(&hash, 0, &name(i)), Some(i));
            assert_eq!(names.name(i).as_deref(), Some(name(i).as_str()));
            assert_eq!(built.name(i).is_some(), i < 1_000);
        }
        assert_eq!((built.len(), names.len(), names.name(5_000)), (1_000, 5_000, None));
        assert_eq!(names.find(&hash, 0, "object"), None);
        assert_eq!(Names::default().find(&hash, 0, "object"), None);
        let mut few = Names::default();
        assert_eq!(few.add(&hash, 7, "first"), Some(0));
        assert_eq!(few.find(&hash, 7, "first"), Some(0));
    }

    #[test]
    fn equal_hashes_do_not_make_equal_names() {
        let mut names = Names::default();
        let hash = NameHash::new();
        for (number, name) in (0..).zip(["one", "two", "three"]) {
            assert_eq!(names.add(&hash, 0, name), Some(number));
        }
        let of_one = hash.hash(0, hash.key("one"));
        // It may be met on the way from there, but the other one's number is never given.
        assert_ne!(names.seek_key(of_one, hash.key("two"), "two").number(), Some(0));
        assert_eq!(names.seek_key(of_one, hash.key("one"), "one").number(), Some(0));
    }
}
