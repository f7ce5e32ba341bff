//! The lists of one object: a header with the length of each, and their numbers behind it.
//!
//! Up to sixteen lanes the header has four bits for each lane, so that a list is found by a little
//! arithmetic on one word. With more lanes most are empty: then a bitmap says which are not, and only
//! those have a length.

use crate::graph::chunk::Chunk;
use crate::graph::list::List;
use crate::schema::program::NARROW;

/// Stands for a length that does not fit its four bits: the list lies elsewhere in the chunk.
pub(super) const FAR: u32 = 15;
/// In the place of a far list: it is one of the chunk's long ones.
pub(super) const IS_LONG: u32 = 1 << 31;

/// The lists of one object. Small: a check hands it on at every step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'g> {
    pub(super) chunk: &'g Chunk,
    /// The lengths by lane; of a wide record whether there is one.
    pub(super) header: u64,
    /// Where in the chunk the numbers begin; of a wide record the bitmap.
    pub(super) start: u32,
    pub(super) lanes: u32,
}

impl<'g> Record<'g> {
    pub(crate) const EMPTY: Self = Self { chunk: &Chunk::EMPTY, header: 0, start: 0, lanes: 1 };

    pub(crate) fn is_empty(&self) -> bool {
        self.header == 0
    }

    /// Always inline: a call would cost as much as the work.
    #[inline(always)]
    pub(crate) fn list(&self, lane: u32) -> List<'g> {
        if lane >= NARROW || self.lanes > NARROW {
            return self.wide(lane);
        }
        let shift = lane * 4;
        let len = (self.header >> shift) as u32 & FAR;
        if len == 0 {
            return List::EMPTY;
        }
        let at = self.start as usize + sum_of(self.header & ((1 << shift) - 1));
        if len == FAR { self.far(at) } else { self.near(at, len) }
    }

    /// Whether the list of a lane has the number.
    #[inline(always)]
    #[expect(
        clippy::manual_contains,
        reason = "`contains` is made for longer lists: twice the work for three numbers"
    )]
    pub(crate) fn has(&self, lane: u32, number: u32) -> bool {
        match self.list(lane) {
            List::Short(numbers) if numbers.len() < FAR as usize => numbers.iter().any(|&n| n == number),
            list => list.contains(number),
        }
    }

    /// All numbers of all lists in a row; `None` when some lie elsewhere.
    #[inline(always)]
    pub(crate) fn row(&self) -> Option<&'g [u32]> {
        if self.lanes > NARROW || far_of(self.header) != 0 {
            return None;
        }
        let start = self.start as usize;
        self.chunk.words().get(start..start + sum_of(self.header))
    }

    #[inline(always)]
    fn near(&self, at: usize, len: u32) -> List<'g> {
        List::Short(self.chunk.words().get(at..at + len as usize).unwrap_or(&[]))
    }

    #[inline(never)]
    fn far(&self, at: usize) -> List<'g> {
        let place = self.chunk.words().get(at).copied().unwrap_or(0);
        if place & IS_LONG != 0 {
            return self.chunk.long().get((place & !IS_LONG) as usize).map_or(List::EMPTY, List::Long);
        }
        let start = place as usize + 1;
        let len = self.chunk.words().get(place as usize).copied().unwrap_or(0) as usize;
        List::Short(self.chunk.words().get(start..start + len).unwrap_or(&[]))
    }

    #[cold]
    fn wide(&self, lane: u32) -> List<'g> {
        let record = self.chunk.words().get(self.start as usize..).unwrap_or(&[]);
        let bitmap = self.lanes.div_ceil(32) as usize;
        let (word, bit) = ((lane >> 5) as usize, lane & 31);
        if self.lanes <= NARROW || self.is_empty() || lane >= self.lanes {
            return List::EMPTY;
        }
        if record.get(word).is_none_or(|bits| bits & (1 << bit) == 0) {
            return List::EMPTY;
        }
        let (mut rank, mut present) = (0, 0);
        for (at, &bits) in record.iter().take(bitmap).enumerate() {
            present += bits.count_ones();
            rank += match at.cmp(&word) {
                std::cmp::Ordering::Less => bits.count_ones(),
                std::cmp::Ordering::Equal => (bits & ((1 << bit) - 1)).count_ones(),
                std::cmp::Ordering::Greater => 0,
            };
        }
        let lengths = |nth: u32| record.get(bitmap + nth as usize / 8).copied().unwrap_or(0);
        let full: usize = (0..rank / 8).map(|nth| sum_of(u64::from(lengths(nth * 8)))).sum();
        let (last, shift) = (lengths(rank), rank % 8 * 4);
        let entries = self.start as usize + bitmap + present.div_ceil(8) as usize;
        let at = entries + full + sum_of(u64::from(last) & ((1 << shift) - 1));
        match (last >> shift) & FAR {
            FAR => self.far(at),
            len => self.near(at, len),
        }
    }

    /// Every list that is not empty, with its lane.
    pub(crate) fn lists(self) -> impl Iterator<Item = (u32, List<'g>)> {
        let wide = self.lanes > NARROW && !self.is_empty();
        let words = if wide { self.chunk.words().get(self.start as usize..).unwrap_or(&[]) } else { &[] };
        let bitmap = words.iter().take(self.lanes.div_ceil(32) as usize);
        let of_bitmap = (0..).zip(bitmap).flat_map(|(word, &bits)| {
            (0..32).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 32 + bit)
        });
        let narrow = if wide { 0 } else { self.lanes.min(NARROW) };
        let of_header = (0..narrow).filter(move |lane| (self.header >> (lane * 4)) & u64::from(FAR) != 0);
        of_header.chain(of_bitmap).map(move |lane| (lane, self.list(lane)))
    }
}

/// Words that lists of these lengths take: a far one takes one, which says where it is.
#[inline(always)]
fn sum_of(lengths: u64) -> usize {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (lengths & LOW) + ((lengths >> 4) & LOW);
    let sum = (pairs.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
    let far = far_of(lengths);
    if far == 0 { sum } else { sum - far.count_ones() as usize * (FAR as usize - 1) }
}

/// A bit for each far list.
#[inline(always)]
fn far_of(lengths: u64) -> u64 {
    let twos = lengths & (lengths >> 1);
    twos & (twos >> 2) & 0x1111_1111_1111_1111
}
