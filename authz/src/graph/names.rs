//! Ids of one type's objects as dense numbers, both ways; copies share what has not changed.
//!
//! A table has the keys themselves beside their numbers, three to a line of memory: finding one takes a
//! line, seldom two, and no guess about what stands there. The way back is the place of the number's key.

use std::hint::black_box;
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

/// Names of one line.
const SLOTS: usize = 3;
/// Of a place within its shard: the bits that say which of the line.
const SLOT_BITS: u32 = 2;

/// One line of memory, filled from the front.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    keys: [[u8; 16]; SLOTS],
    /// The numbers + 1; 0 where nothing stands.
    numbers: [u32; SLOTS],
}

impl Line {
    fn entries(&self) -> impl Iterator<Item = (usize, Key, u32)> {
        let all = self.keys.iter().zip(self.numbers).enumerate();
        all.filter_map(|(slot, (key, number))| Some((slot, Key::of_bytes(*key), number.checked_sub(1)?)))
    }

    /// The number of a key, `same` says whether that of a longer text is the one.
    #[inline]
    fn number(&self, key: Key, same: impl Fn(u32) -> bool) -> Option<u32> {
        if key.is_long() {
            return self
                .entries()
                .find(|&(_, other, number)| other == key && same(number))
                .map(|found| found.2);
        }
        // All three are compared: which one it is cannot be guessed, and a wrong guess would wait for memory.
        let pairs = self.keys.iter().zip(self.numbers);
        let found = pairs
            .fold(0, |found, (other, number)| found | if Key::of_bytes(*other) == key { number } else { 0 });
        found.checked_sub(1)
    }

    /// Whether a search ends here.
    #[inline]
    fn has_room(&self) -> bool {
        self.numbers.last() == Some(&0)
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Open tables.
    shards: CowVec<Arc<[Line]>>,
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
        let place = place & ((1 << PLACE_BITS) - 1);
        let line = table.get((place >> SLOT_BITS) as usize)?;
        let key = line.keys.get((place & ((1 << SLOT_BITS) - 1)) as usize)?;
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
        let table: &[Line] = shard.map_or(&[], |table| table);
        let at = start(table, hash);
        // Read here, so that whoever seeks several waits for all of them at once.
        black_box(table.get(at).map(|line| line.has_room()));
        Seek { names: self, table, key, name, at }
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
        let used = table.iter().flat_map(Line::entries).count();
        if (used + 1) * 8 > table.len() * SLOTS * 7 {
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

    fn note_places(&mut self, shard: usize, table: &[Line]) {
        for (place, number) in places_of(table) {
            if let Some(noted) = self.places.get_mut(number as usize) {
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
        let tables: Vec<Arc<[Line]>> = shards.iter().map(|shard| table_of(shard)).collect();
        let mut places = vec![0; entries.len()];
        for (shard, table) in tables.iter().enumerate() {
            for (place, number) in places_of(table) {
                if let Some(noted) = places.get_mut(number as usize) {
                    *noted = place_of(shard, place);
                }
            }
        }
        self.places = places.into_iter().collect();
        self.shards = tables.into_iter().collect();
    }

    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.shards.iter().map(|table| table.len() * size_of::<Line>() + 64).sum();
        let texts: usize = self.texts.iter().map(|(_, text)| text.len() + 16).sum();
        self.places.bytes() + self.shards.bytes() + self.texts.bytes() + texts + tables
    }
}

/// A name that is being looked for.
pub(crate) struct Seek<'n> {
    names: &'n Names,
    table: &'n [Line],
    key: Key,
    name: &'n str,
    at: usize,
}

impl Seek<'_> {
    #[inline]
    pub(crate) fn number(mut self) -> Option<u32> {
        loop {
            let line = self.table.get(self.at)?;
            let number = line.number(self.key, |number| self.names.text(number) == Some(self.name));
            if number.is_some() || line.has_room() {
                return number;
            }
            self.at = after(self.table, self.at);
        }
    }
}

/// Hash, key and number.
type Hashed = (u64, Key, u32);

fn entries_of<'t>(table: &'t [Line], hash: &NameHash, space: u32) -> impl Iterator<Item = Hashed> + use<'t> {
    let hash = *hash;
    let all = table.iter().flat_map(Line::entries);
    all.map(move |(_, key, number)| (hash.hash(space, key), key, number))
}

/// Places and numbers.
fn places_of(table: &[Line]) -> impl Iterator<Item = (usize, u32)> {
    let lines = table.iter().enumerate();
    lines.flat_map(|(at, line)| {
        line.entries().map(move |(slot, _, number)| ((at << SLOT_BITS) | slot, number))
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
fn start(table: &[Line], hash: u64) -> usize {
    ((u64::from(hash as u32) * table.len() as u64) >> 32) as usize
}

#[inline]
fn after(table: &[Line], at: usize) -> usize {
    if at + 1 == table.len() { 0 } else { at + 1 }
}

fn table_of(entries: &[Hashed]) -> Arc<[Line]> {
    // A quarter is free: room to grow, and a search always meets a line that is not full.
    let mut table = vec![Line::default(); entries.len() * 4 / (3 * SLOTS) + 1];
    for &entry in entries {
        put(&mut table, entry);
    }
    table.into()
}

fn put(table: &mut [Line], (hash, key, number): Hashed) -> Option<usize> {
    let mut at = start(table, hash);
    loop {
        let line = table.get_mut(at)?;
        let mut slots = line.keys.iter_mut().zip(&mut line.numbers).enumerate();
        if let Some((slot, free)) = slots.find(|(_, (_, number))| **number == 0) {
            (*free.0, *free.1) = (key.bytes(), number + 1);
            return Some((at << SLOT_BITS) | slot);
        }
        at = after(table, at);
    }
}

/// Gives numbers to names in bulk; then they are [`Names`].
#[derive(Debug, Default)]
pub(crate) struct NamesBuilder {
    /// In the order of their numbers.
    all: Vec<Hashed>,
    texts: CowMap<u32, Arc<str>>,
    /// As a table of [`Names`].
    table: Vec<Line>,
}

impl NamesBuilder {
    /// The number of a name, new or known; `None` when there are too many.
    pub(crate) fn intern(&mut self, hash: &NameHash, space: u32, name: &str) -> Option<u32> {
        if self.all.len() + 1 > self.table.len() * 2 {
            self.table = vec![Line::default(); self.all.len() + 8];
            for &entry in &self.all {
                put(&mut self.table, entry);
            }
        }
        let key = hash.key(name);
        let hash = hash.hash(space, key);
        let mut at = start(&self.table, hash);
        loop {
            let line = self.table.get(at)?;
            let same = |known| self.texts.get(known).is_some_and(|text| **text == *name);
            if let Some(known) = line.number(key, same) {
                return Some(known);
            }
            if line.has_room() {
                break;
            }
            at = after(&self.table, at);
        }
        let number = u32::try_from(self.all.len()).ok().filter(|&number| number < MAX_NUMBER)?;
        put(&mut self.table, (hash, key, number))?;
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
        assert_eq!(names.seek_key(of_one, hash.key("two"), "two").number(), None);
        assert_eq!(names.seek_key(of_one, hash.key("one"), "one").number(), Some(0));
    }
}
