//! Positions in the write-ahead log, in order.

use crate::CommitToken;

/// A position in the write-ahead log of one history, as `pg_lsn` has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WalPosition(u64);

impl WalPosition {
    /// `16/B374D848`
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |part| u32::from_str_radix(part, 16).ok();
        Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
    }

    /// Where the log stood after the token's commit. One that cannot be read asks for more than there is.
    pub(crate) fn of(token: &CommitToken) -> Self {
        Self::parse(token.wal()).unwrap_or(Self(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_as_numbers() {
        let position = |text| WalPosition::parse(text).unwrap();
        assert!(position("0/FFFFFFFF") < position("1/0"));
        assert!(position("9/0") < position("10/0"));
        assert_eq!(position("0/0"), WalPosition::default());
        for text in ["", "1", "1/", "1/x", "1/100000000"] {
            assert_eq!(WalPosition::parse(text), None, "{text}");
        }
    }
}
