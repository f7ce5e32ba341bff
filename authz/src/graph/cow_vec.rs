//! A list whose copies share what has not changed: changing one item copies one page.

use std::sync::Arc;

/// Items of one page, as a power of two.
const PAGE_BITS: usize = 6;
const PAGE: usize = 1 << PAGE_BITS;

/// Takes no memory of its own while it is empty.
#[derive(Debug, Clone)]
pub(crate) struct CowVec<T> {
    pages: Option<Arc<[Arc<[T]>]>>,
    len: usize,
}

impl<T> Default for CowVec<T> {
    fn default() -> Self {
        Self { pages: None, len: 0 }
    }
}

impl<T> FromIterator<T> for CowVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let (mut pages, mut page, mut len) = (Vec::new(), Vec::with_capacity(PAGE), 0);
        for item in items {
            page.push(item);
            len += 1;
            if page.len() == PAGE {
                pages.push(std::mem::replace(&mut page, Vec::with_capacity(PAGE)).into());
            }
        }
        if !page.is_empty() {
            pages.push(page.into());
        }
        Self { pages: (len > 0).then(|| pages.into()), len }
    }
}

impl<T: Clone> CowVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.as_ref()?.get(at >> PAGE_BITS)?.get(at & (PAGE - 1))
    }

    /// The item, to be changed in this copy only.
    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        let pages = Arc::make_mut(self.pages.as_mut()?);
        Arc::make_mut(pages.get_mut(at >> PAGE_BITS)?).get_mut(at & (PAGE - 1))
    }

    pub(crate) fn push(&mut self, item: T) {
        self.len += 1;
        let Some(pages) = &mut self.pages else {
            self.pages = Some([Arc::from([item])].into());
            return;
        };
        match pages.last() {
            Some(last) if last.len() < PAGE => {
                let longer: Arc<[T]> = last.iter().cloned().chain([item]).collect();
                if let Some(last) = Arc::make_mut(pages).last_mut() {
                    *last = longer;
                }
            }
            _ => *pages = pages.iter().cloned().chain([Arc::from([item])]).collect(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|pages| pages.iter()).flat_map(|page| page.iter())
    }

    /// Bytes of the pages; what items own elsewhere is not counted.
    pub(crate) fn bytes(&self) -> usize {
        // Each page is one allocation with two counters before it.
        self.len * size_of::<T>() + self.len.div_ceil(PAGE) * (size_of::<Arc<[T]>>() + 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_and_do_not_disturb_each_other() {
        let mut first: CowVec<u32> = CowVec::default();
        assert_eq!((first.len(), first.get(0)), (0, None));
        for n in 0..200 {
            first.push(n);
        }
        let mut second = first.clone();
        *second.get_mut(70).unwrap() = 7;
        second.push(200);
        assert_eq!((first.get(70), second.get(70)), (Some(&70), Some(&7)));
        assert_eq!((first.get(200), second.get(200)), (None, Some(&200)));
        assert_eq!(first.iter().copied().collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
        let collected: CowVec<u32> = (0..129).collect();
        assert_eq!((collected.len(), collected.get(128), collected.get(129)), (129, Some(&128), None));
    }
}
