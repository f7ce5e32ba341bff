//! A point in the history of a database cluster: which transactions are visible.

use std::{fmt, str::FromStr};

/// Which transactions had ended at a moment, as `pg_snapshot` says it: `xmin:xmax:running,running`
/// (PostgreSQL manual, "Transaction ID and Snapshot Information Functions").
///
/// Everything below `xmin` had ended, nothing from `xmax` on had, and between them all but those that are
/// listed. It must be taken on a primary: a standby leaves out the transactions that are running.
///
/// ```
/// use formwork_tenancy::Snapshot;
///
/// let before: Snapshot = "10:20:10,14".parse()?;
/// assert!(before.sees(12) && !before.sees(14) && !before.sees(20));
/// let after: Snapshot = "14:21:14".parse()?;
/// assert!(after.includes(&before) && !before.includes(&after));
/// # Ok::<(), formwork_tenancy::InvalidSnapshot>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    text: String,
    /// INVARIANT: at least 1.
    xmax: u64,
    /// INVARIANT: ascending, each below `xmax`.
    running: Vec<u64>,
}

/// Text that is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no snapshot: it reads `xmin:xmax:running,running`")]
pub struct InvalidSnapshot {
    given: String,
}

impl Snapshot {
    /// In which nothing is visible: all that there is comes after it.
    pub fn before_everything() -> Self {
        Self { text: "1:1:".to_owned(), xmax: 1, running: Vec::new() }
    }

    /// From what `pg_current_snapshot()` says inside a transaction whose id, if it has one
    /// (`pg_current_xact_id_if_assigned()`), is `own`.
    ///
    /// Postgres does not count a transaction among those in progress for itself. Read by others that
    /// text would say that the transaction is over, and its changes would be missed for ever; so its
    /// id is put back.
    ///
    /// # Errors
    ///
    /// [`InvalidSnapshot`].
    pub fn corrected(text: &str, own: Option<u64>) -> Result<Self, InvalidSnapshot> {
        let snapshot: Self = text.parse()?;
        let Some(own) = own.filter(|&own| own < snapshot.xmax) else { return Ok(snapshot) };
        let Self { mut running, xmax, .. } = snapshot;
        if let Err(at) = running.binary_search(&own) {
            running.insert(at, own);
        }
        let first = running.first().copied().unwrap_or(xmax);
        let xmin =
            text.split(':').next().and_then(|xmin| xmin.parse().ok()).map_or(first, |xmin| first.min(xmin));
        let listed: Vec<String> = running.iter().map(u64::to_string).collect();
        Ok(Self { text: format!("{xmin}:{xmax}:{}", listed.join(",")), xmax, running })
    }

    /// As Postgres reads it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Had this transaction ended? (Whether by a commit, the snapshot does not say.)
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && self.running.binary_search(&xid).is_err()
    }

    /// Is everything that is visible in `other` visible here?
    pub fn includes(&self, other: &Self) -> bool {
        self.xmax >= other.xmax && self.running.iter().all(|&xid| !other.sees(xid))
    }

    /// Below it lie all transactions that are visible.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// Those below [`xmax`](Self::xmax) that were running, ascending.
    pub fn running(&self) -> &[u64] {
        &self.running
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Snapshot {
    type Err = InvalidSnapshot;

    fn from_str(text: &str) -> Result<Self, InvalidSnapshot> {
        let parse = || {
            let mut parts = text.split(':');
            let (xmin, xmax) = (number(parts.next()?)?, number(parts.next()?)?);
            let listed = parts.next().filter(|_| parts.next().is_none())?;
            let running: Vec<u64> = match listed {
                "" => Vec::new(),
                listed => listed.split(',').map(number).collect::<Option<_>>()?,
            };
            let ascending = running.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
            let inside = running.iter().all(|&xid| (xmin..xmax).contains(&xid));
            (1 <= xmin && xmin <= xmax && ascending && inside).then_some((xmax, running))
        };
        match parse() {
            Some((xmax, running)) => Ok(Self { text: text.to_owned(), xmax, running }),
            None => Err(InvalidSnapshot { given: text.chars().take(80).collect() }),
        }
    }
}

/// Digits and nothing else: `u64::from_str` takes a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, own: Option<u64>, expected: &str) {
        let corrected = Snapshot::corrected(text, own).unwrap();
        assert_eq!(corrected.as_str(), expected);
        assert_eq!(corrected, expected.parse().unwrap(), "its parts say what its text says");
    }

    #[test]
    fn the_own_transaction_counts_as_running() {
        check("10:10:", None, "10:10:");
        check("10:20:12,15", None, "10:20:12,15");
        check("10:20:", Some(13), "10:20:13");
        check("10:20:12,15", Some(13), "10:20:12,13,15");
        check("10:20:12,15", Some(12), "10:20:12,15");
        check("13:20:15", Some(12), "12:20:12,15");
        check("10:20:12", Some(20), "10:20:12");
        check("10:20:12", Some(25), "10:20:12");
    }

    #[test]
    fn text_that_is_no_snapshot_is_refused() {
        for broken in [
            "",
            "10",
            "10:20",
            "a:20:",
            "10:20:x",
            "10:20:+12",
            "0:0:",
            "20:10:",
            "10:20:,",
            "10:20:20",
            "10:20:9",
            "10:20:12,12",
            "10:20::",
        ] {
            assert!(Snapshot::corrected(broken, None).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_later_snapshot_includes_an_earlier_one() {
        let snapshot = |text: &str| text.parse::<Snapshot>().unwrap();
        let earlier = snapshot("10:20:10,14");
        for later in ["10:20:10,14", "14:20:14", "14:30:14,25", "20:20:"] {
            assert!(snapshot(later).includes(&earlier), "{later}");
        }
        for other in ["10:19:10,14", "10:20:10,12,14", "12:30:12"] {
            assert!(!snapshot(other).includes(&earlier), "{other}");
        }
        assert!(earlier.includes(&Snapshot::before_everything()));
        assert!(!Snapshot::before_everything().sees(1));
    }
}
