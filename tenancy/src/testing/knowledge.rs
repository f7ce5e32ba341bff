//! What an attacker knows of another tenant's rows.

use uuid::Uuid;

/// Keys of another tenant's rows, of which a twin can be made that exists nowhere.
///
/// An attack is run with both, and must be answered the same: otherwise an answer tells what exists.
pub trait Knowledge: Sized {
    /// Of the same shape, and in no row of any tenant.
    #[must_use]
    fn nowhere(&self) -> Self;

    /// How the keys are written where an answer repeats them, so that an echo is not taken for a difference. Nothing
    /// for numbers, which stand in any text.
    fn words(&self) -> Vec<String>;
}

impl Knowledge for () {
    fn nowhere(&self) -> Self {}

    fn words(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Knowledge for Uuid {
    fn nowhere(&self) -> Self {
        Self::new_v4()
    }

    fn words(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// As long as the other, as far as 32 random letters reach.
impl Knowledge for String {
    fn nowhere(&self) -> Self {
        let random = Uuid::new_v4().simple().to_string();
        random.chars().take(self.chars().count().max(8)).collect()
    }

    fn words(&self) -> Vec<String> {
        vec![self.clone()]
    }
}

/// Far above what a sequence has counted to.
impl Knowledge for i64 {
    fn nowhere(&self) -> Self {
        let (high, _) = Uuid::new_v4().as_u64_pair();
        (1 << 60) + i64::try_from(high >> 8).unwrap_or_default()
    }

    fn words(&self) -> Vec<String> {
        Vec::new()
    }
}

impl<K: Knowledge> Knowledge for Vec<K> {
    fn nowhere(&self) -> Self {
        self.iter().map(K::nowhere).collect()
    }

    fn words(&self) -> Vec<String> {
        self.iter().flat_map(K::words).collect()
    }
}

impl<A: Knowledge, B: Knowledge> Knowledge for (A, B) {
    fn nowhere(&self) -> Self {
        (self.0.nowhere(), self.1.nowhere())
    }

    fn words(&self) -> Vec<String> {
        [self.0.words(), self.1.words()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_has_the_same_shape() {
        let known = (vec![Uuid::now_v7(), Uuid::now_v7()], "ada@example".to_owned());
        let nowhere = known.nowhere();
        assert_eq!(nowhere.0.len(), 2);
        assert_ne!(nowhere.0, known.0);
        assert_eq!(nowhere.1.len(), known.1.len());
        assert_ne!(nowhere.1, known.1);
        assert!(7.nowhere() > 1 << 60);
        assert_eq!(known.words().len(), 3);
    }
}
