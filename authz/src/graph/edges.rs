//! Who is in a relation, for one kind of subject: a sorted list of numbers an object.

/// The lists of one relation and one kind of subject, as one array and where each list starts.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    index: Index,
    targets: Vec<u32>,
}

/// Where an object's list lies in the targets.
#[derive(Debug)]
enum Index {
    /// By the object's number: one load, four bytes for every object of the type.
    Dense(Vec<u32>),
    /// Only the objects that have a list, sorted.
    Sparse { objects: Vec<u32>, starts: Vec<u32> },
}

impl Default for Index {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

/// An object in the upper half, the subject in the lower one: pairs sort by object, then subject.
pub(crate) fn pair(object: u32, target: u32) -> u64 {
    (u64::from(object) << 32) | u64::from(target)
}

pub(crate) fn unpair(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

impl Edges {
    /// Builds the lists from pairs in any order, with repetitions; `objects` is the type's count.
    pub(crate) fn build(mut pairs: Vec<u64>, objects: u32) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let targets: Vec<u32> = pairs.iter().map(|&pair| unpair(pair).1).collect();
        let mut with_list: Vec<u32> = Vec::new();
        let mut starts: Vec<u32> = Vec::new();
        for (at, &pair) in pairs.iter().enumerate() {
            let object = unpair(pair).0;
            if with_list.last() != Some(&object) {
                with_list.push(object);
                starts.push(at as u32);
            }
        }
        starts.push(targets.len() as u32);
        if with_list.len() * 4 < objects as usize {
            with_list.shrink_to_fit();
            starts.shrink_to_fit();
            return Self { index: Index::Sparse { objects: with_list, starts }, targets };
        }
        let mut dense = Vec::with_capacity(objects as usize + 1);
        for (object, &start) in with_list.iter().zip(&starts) {
            while dense.len() <= *object as usize {
                dense.push(start);
            }
        }
        dense.push(targets.len() as u32);
        Self { index: Index::Dense(dense), targets }
    }

    /// The subjects of an object, sorted.
    pub(crate) fn list(&self, object: u32) -> &[u32] {
        let at = object as usize;
        let (starts, at) = match &self.index {
            Index::Dense(starts) => (starts, at),
            Index::Sparse { objects, starts } => match objects.binary_search(&object) {
                Ok(at) => (starts, at),
                Err(_) => return &[],
            },
        };
        match (starts.get(at), starts.get(at.saturating_add(1))) {
            (Some(&start), Some(&end)) => self.targets.get(start as usize..end as usize).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// Every pair, in order.
    pub(crate) fn pairs(&self) -> Vec<u64> {
        let mut pairs = Vec::with_capacity(self.targets.len());
        let mut extend = |object: u32| pairs.extend(self.list(object).iter().map(|&to| pair(object, to)));
        match &self.index {
            Index::Dense(starts) => (0..starts.len().saturating_sub(1) as u32).for_each(&mut extend),
            Index::Sparse { objects, .. } => objects.iter().copied().for_each(&mut extend),
        }
        pairs
    }

    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let index = match &self.index {
            Index::Dense(starts) => starts.capacity(),
            Index::Sparse { objects, starts } => objects.capacity() + starts.capacity(),
        };
        4 * (index + self.targets.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_whole_and_apart() {
        for objects in [10, 10_000] {
            let pairs = vec![pair(3, 9), pair(0, 5), pair(3, 1), pair(3, 9), pair(7, 0)];
            let edges = Edges::build(pairs, objects);
            assert_eq!(edges.list(0), [5]);
            assert!(edges.list(1).is_empty());
            assert_eq!(edges.list(3), [1, 9]);
            assert_eq!(edges.list(7), [0]);
            assert!(edges.list(8).is_empty());
            assert!(edges.list(u32::MAX).is_empty());
            assert_eq!(edges.len(), 4);
            assert_eq!(edges.pairs(), [pair(0, 5), pair(3, 1), pair(3, 9), pair(7, 0)]);
        }
        assert!(Edges::build(Vec::new(), 0).list(0).is_empty());
    }
}
