//! The lists of one object: a header with the length of each, and their numbers behind it.
//!
//! Up to sixteen lanes the header has four bits for each lane, so that a list is found by a little
//! arithmetic on one word. With more lanes most are empty: then a bitmap says which are not, and only
//! those have a length.

use crate::graph::chunk::Chunk;
use crate::graph::list::List;

/// Lanes whose lengths fit the header.
pub(super) const NARROW: u32 = 16;
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

    #[inline]
    pub(crate) fn list(&self, lane: u32) -> List<'g> {
        if self.lanes > NARROW {
            return self.wide(lane);
        }
        if lane >= NARROW {
            return List::EMPTY;
        }
        let shift = lane * 4;
        let len = (self.header >> shift) as u32 & FAR;
        if len == 0 {
            return List::EMPTY;
        }
        let at = self.start as usize + sum_of(self.header & ((1 << shift) - 1));
        self.at(at, len)
    }

    /// The list whose numbers, or whose place, stand there.
    #[inline]
    fn at(&self, at: usize, len: u32) -> List<'g> {
        if len == FAR {
            return self.far(at);
        }
        List::Short(self.chunk.words().get(at..at + len as usize).unwrap_or(&[]))
    }

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
        if self.is_empty() || lane >= self.lanes || record.get(word).is_none_or(|bits| bits & (1 << bit) == 0)
        {
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
        self.at(entries + full + sum_of(u64::from(last) & ((1 << shift) - 1)), (last >> shift) & FAR)
    }

    /// Every list that is not empty, with its lane.
    pub(crate) fn lists(self) -> impl Iterator<Item = (u32, List<'g>)> {
        (0..self.lanes).map(move |lane| (lane, self.list(lane))).filter(|(_, list)| !list.is_empty())
    }
}

/// Words that lists of these lengths take: a far one takes one, which says where it is.
#[inline]
fn sum_of(lengths: u64) -> usize {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (lengths & LOW) + ((lengths >> 4) & LOW);
    let sum = (pairs.wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
    let twos = lengths & (lengths >> 1);
    let far = twos & (twos >> 2) & 0x1111_1111_1111_1111;
    if far == 0 { sum } else { sum - far.count_ones() as usize * (FAR as usize - 1) }
}
