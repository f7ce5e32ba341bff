//! A sorted list of numbers: a slice of its record, or pages of its own when it is long.

use std::sync::Arc;

/// Numbers of one page of a long list; a change copies one page.
const PAGE: usize = 512;

/// A list that is too long for its record.
#[derive(Debug, Clone)]
pub(crate) struct Long {
    pages: Arc<[Arc<[u32]>]>,
    len: u32,
}

/// The numbers of one lane of a record, sorted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum List<'g> {
    Short(&'g [u32]),
    Long(&'g Long),
}

impl Long {
    pub(crate) fn new(numbers: &[u32]) -> Self {
        Self {
            pages: numbers.chunks(PAGE).map(Arc::from).collect(),
            len: u32::try_from(numbers.len()).unwrap_or(u32::MAX),
        }
    }

    fn page_of(&self, number: u32) -> usize {
        let behind = self.pages.partition_point(|page| page.first().is_some_and(|&first| first <= number));
        behind.saturating_sub(1)
    }

    fn contains(&self, number: u32) -> bool {
        self.pages.get(self.page_of(number)).is_some_and(|page| page.binary_search(&number).is_ok())
    }

    /// With or without a number, in time that grows with the page.
    pub(crate) fn set(&mut self, number: u32, present: bool) -> bool {
        let at = self.page_of(number);
        let Some(page) = self.pages.get(at) else { return false };
        let mut changed = page.to_vec();
        match (changed.binary_search(&number), present) {
            (Err(place), true) => changed.insert(place, number),
            (Ok(place), false) => {
                changed.remove(place);
            }
            _ => return false,
        }
        self.len = if present { self.len + 1 } else { self.len - 1 };
        if changed.is_empty() || changed.len() > 2 * PAGE {
            let mut pages: Vec<Arc<[u32]>> = self.pages.to_vec();
            pages.splice(at..=at, changed.chunks(PAGE).map(Arc::from));
            self.pages = pages.into();
        } else if let Some(page) = Arc::make_mut(&mut self.pages).get_mut(at) {
            *page = changed.into();
        }
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages.len() * 48 + self.len as usize * 4
    }
}

impl<'g> List<'g> {
    pub(crate) const EMPTY: Self = Self::Short(&[]);

    #[inline]
    pub(crate) fn contains(self, number: u32) -> bool {
        match self {
            Self::Short(numbers) if numbers.len() <= 16 => numbers.contains(&number),
            Self::Short(numbers) => numbers.binary_search(&number).is_ok(),
            Self::Long(long) => long.contains(number),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(self) -> usize {
        match self {
            Self::Short(numbers) => numbers.len(),
            Self::Long(long) => long.len as usize,
        }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u32> + use<'g> {
        self.slices().flatten().copied()
    }

    /// The list in pieces, in order.
    pub(crate) fn slices(self) -> impl Iterator<Item = &'g [u32]> + use<'g> {
        let (short, long) = match self {
            Self::Short(numbers) => (Some(numbers), None),
            Self::Long(long) => (None, Some(long)),
        };
        let pages = long.into_iter().flat_map(|long| long.pages.iter()).map(|page| &**page);
        short.into_iter().chain(pages)
    }

    /// Whether two lists have a number in common: the shorter one is looked for in the longer.
    #[inline]
    pub(crate) fn meets(self, other: Self) -> bool {
        let (few, many) = if self.len() <= other.len() { (self, other) } else { (other, self) };
        match (few, many) {
            (Self::Short(&[]), _) => false,
            (Self::Short(few), Self::Short(many)) if many.len() <= 8 => {
                few.iter().any(|few| many.iter().any(|many| few == many))
            }
            (Self::Short(&[only]), _) => many.contains(only),
            (Self::Short(few), Self::Short(many)) if many.len() <= 8 * few.len() => meet_in_step(few, many),
            _ => few.iter().any(|number| many.contains(number)),
        }
    }
}

fn meet_in_step(mut a: &[u32], mut b: &[u32]) -> bool {
    while let (Some((x, rest_of_a)), Some((y, rest_of_b))) = (a.split_first(), b.split_first()) {
        match x.cmp(y) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => a = rest_of_a,
            std::cmp::Ordering::Greater => b = rest_of_b,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_a_set() {
        let even: Vec<u32> = (0..10_000).map(|n| n * 2).collect();
        let mut long = Long::new(&even);
        let before = long.clone();
        for n in 0..10_000 {
            assert!(long.set(n * 2 + 1, true));
            assert!(!long.set(n * 2, true));
        }
        assert_eq!(List::Long(&long).iter().collect::<Vec<_>>(), (0..20_000).collect::<Vec<_>>());
        assert_eq!(List::Long(&before).iter().collect::<Vec<_>>(), even);
        for n in 0..20_000 {
            assert!(long.set(n, false));
        }
        assert!(List::Long(&long).is_empty() && !List::Long(&long).contains(5));
    }

    #[test]
    fn lists_meet_whatever_their_lengths() {
        let many: Vec<u32> = (0..1_000).map(|n| n * 3).collect();
        let long = Long::new(&many);
        for (few, meets) in [(&[][..], false), (&[3], true), (&[4], false), (&[1, 2, 2_997], true)] {
            for other in [List::Short(&many), List::Long(&long)] {
                assert_eq!(List::Short(few).meets(other), meets);
                assert_eq!(other.meets(List::Short(few)), meets);
            }
        }
        assert!(List::Short(&[1, 5, 9]).meets(List::Short(&[2, 5, 10])));
        assert!(!List::Short(&[1, 5, 9]).meets(List::Short(&[2, 6, 10])));
    }
}
