//! The Merkle tree of RFC 6962, section 2.1: leaves hashed behind `0x00`, nodes behind `0x01`.
//!
//! INVARIANT: a [`Frontier`] holds the roots of the full subtrees at the right edge, one for each bit of its size that
//! is set, the largest first.

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// Hash of a leaf's bytes.
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// Hash of a node over its two children.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A tree that can be added to, without its leaves: at most 64 hashes.
///
/// ```
/// use formwork_audit::seal::{Frontier, leaf_hash, node_hash};
///
/// let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
/// let mut tree = Frontier::new();
/// tree.push(a);
/// tree.push(b);
/// assert_eq!(tree.root(), node_hash(&a, &b));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf on the right.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The root; of the empty tree the hash of nothing.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else { return Sha256::digest([]).into() };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }

    /// As it is kept.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.roots.concat()
    }

    /// Back from what was kept; none when that cannot be a tree of this size.
    pub(crate) fn from_bytes(size: u64, bytes: &[u8]) -> Option<Self> {
        let (roots, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && roots.len() == size.count_ones() as usize;
        fits.then(|| Self { size, roots: roots.to_vec() })
    }
}

/// The root over these leaves.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// The largest power of two that is smaller than `size`, which is at least 2.
fn split(size: usize) -> usize {
    1 << (usize::BITS - 1 - (size - 1).leading_zeros())
}

/// PATH of RFC 6962: the siblings from the leaf at `position` up to the root. Empty when there is no such leaf.
pub(crate) fn inclusion_path(leaves: &[Hash], position: usize) -> Vec<Hash> {
    if leaves.len() < 2 || position >= leaves.len() {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = match position.checked_sub(left.len()) {
        None => (inclusion_path(left, position), root(right)),
        Some(position) => (inclusion_path(right, position), root(left)),
    };
    path.push(sibling);
    path
}

/// PROOF of RFC 6962: that the tree over the first `size` leaves became the one over all.
pub(crate) fn consistency_path(leaves: &[Hash], size: usize) -> Vec<Hash> {
    match size {
        0 => Vec::new(),
        size if size >= leaves.len() => Vec::new(),
        size => subproof(leaves, size, true),
    }
}

fn subproof(leaves: &[Hash], size: usize, known: bool) -> Vec<Hash> {
    if size == leaves.len() {
        return if known { Vec::new() } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = match size.checked_sub(left.len()) {
        None | Some(0) => (subproof(left, size, known), root(right)),
        Some(size) => (subproof(right, size, false), root(left)),
    };
    path.push(sibling);
    path
}

/// Does the path lead from this leaf to the root? (RFC 9162, section 2.1.3.2.)
pub(crate) fn includes(root: &Hash, size: u64, position: u64, leaf: &Hash, path: &[Hash]) -> bool {
    if position >= size {
        return false;
    }
    let (mut node, mut last, mut hash) = (position, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Did the tree with the first root grow into the one with the second? (RFC 9162, section 2.1.4.2.)
pub(crate) fn is_consistent(first: (u64, &Hash), second: (u64, &Hash), path: &[Hash]) -> bool {
    let ((from, old), (to, new)) = (first, second);
    if from == 0 || from == to {
        return path.is_empty() && from <= to && (from == 0 || old == new);
    }
    if from > to {
        return false;
    }
    let (mut node, mut last) = (from - 1, to - 1);
    let aligned = node.trailing_ones();
    node >>= aligned;
    last >>= aligned;
    let mut rest = path.iter();
    let seed = if from.is_power_of_two() { Some(old) } else { rest.next() };
    let Some(seed) = seed else { return false };
    let (mut first, mut second) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            first = node_hash(sibling, &first);
            second = node_hash(sibling, &second);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            second = node_hash(&second, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && first == *old && second == *new
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MTH of RFC 6962, as it is written there.
    fn naive(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&naive(left), &naive(right))
            }
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    #[test]
    fn the_frontier_is_the_tree_of_the_rfc() {
        let all = leaves(70);
        let mut tree = Frontier::new();
        for (count, leaf) in all.iter().enumerate() {
            assert_eq!(tree.root(), naive(&all[..count]), "{count}");
            let kept = Frontier::from_bytes(tree.size(), &tree.to_bytes()).unwrap();
            assert_eq!(kept, tree);
            tree.push(*leaf);
        }
        assert_eq!(Frontier::from_bytes(3, &[0; 32]), None);
    }

    #[test]
    fn every_inclusion_is_proved_and_no_other() {
        for size in 1..=33 {
            let all = leaves(size);
            let root = root(&all);
            for position in 0..size {
                let path = inclusion_path(&all, position as usize);
                let leaf = &all[position as usize];
                assert!(includes(&root, size, position, leaf, &path), "{position} of {size}");
                assert!(!includes(&root, size, position, &leaf_hash(b"other"), &path));
                assert!(!includes(&root, size, size, leaf, &path));
                if size > 1 {
                    assert!(
                        !includes(&root, size, (position + 1) % size, leaf, &path),
                        "{position} of {size}"
                    );
                    assert!(!includes(&root, size, position, leaf, &path[1..]));
                }
            }
        }
    }

    #[test]
    fn every_growth_is_proved_and_no_other() {
        for to in 1..=33 {
            let all = leaves(to);
            let new = root(&all);
            for from in 0..=to {
                let old = root(&all[..from as usize]);
                let path = consistency_path(&all, from as usize);
                assert!(is_consistent((from, &old), (to, &new), &path), "{from} to {to}");
                let other = leaf_hash(b"other");
                assert!(from == 0 || !is_consistent((from, &other), (to, &new), &path), "{from} to {to}");
                assert!(from == 0 || !is_consistent((from, &old), (to, &other), &path), "{from} to {to}");
            }
        }
    }
}
