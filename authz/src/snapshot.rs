//! A point in the database's history: which transactions are visible.

/// The text of a `pg_snapshot`, `xmin:xmax:in,progress`, taken while the asking transaction has no id
/// of its own or corrected for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(String);

impl Snapshot {
    /// From what `pg_current_snapshot()` says inside a transaction whose id, if it has one, is `own`.
    ///
    /// Postgres does not count a transaction among those in progress for itself. Read by others that
    /// text would say that the transaction is over, and its changes would be missed for ever; so its
    /// id is put back.
    pub(crate) fn corrected(text: &str, own: Option<u64>) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin: u64 = parts.next()?.parse().ok()?;
        let xmax: u64 = parts.next()?.parse().ok()?;
        let running = parts.next()?;
        let mut running: Vec<u64> =
            running.split(',').filter(|id| !id.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
        let Some(own) = own.filter(|&own| own < xmax) else { return Some(Self(text.to_owned())) };
        if let Err(at) = running.binary_search(&own) {
            running.insert(at, own);
        }
        let running: Vec<String> = running.iter().map(u64::to_string).collect();
        Some(Self(format!("{}:{xmax}:{}", xmin.min(own), running.join(","))))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, own: Option<u64>, expected: &str) {
        assert_eq!(Snapshot::corrected(text, own).unwrap().as_str(), expected);
    }

    #[test]
    fn the_own_transaction_counts_as_running() {
        check("10:10:", None, "10:10:");
        check("10:20:12,15", None, "10:20:12,15");
        check("10:20:", Some(13), "10:20:13");
        check("10:20:12,15", Some(13), "10:20:12,13,15");
        check("13:20:15", Some(12), "12:20:12,15");
        check("10:20:12", Some(20), "10:20:12");
        check("10:20:12", Some(25), "10:20:12");
        for broken in ["", "10", "10:20", "a:20:", "10:20:x"] {
            assert_eq!(Snapshot::corrected(broken, None), None, "{broken}");
        }
    }
}
