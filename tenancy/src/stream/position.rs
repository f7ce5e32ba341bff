//! How far a follower has come, as text that it can keep.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use super::StreamTable;
use crate::Snapshot;

/// How far a follower has come in a stream: opaque text for whoever keeps it (`Display`, `FromStr`).
///
/// It names the history that it is of. In a database that was restored, or on a standby that was promoted, the
/// transaction ids after the fork are given out again, so a position of before is refused rather than believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// None before the first page.
    history: Option<History>,
    /// All rows that are visible in it have been read.
    seen: Snapshot,
    open: Option<Open>,
}

/// A stretch that is longer than a page: of the rows that are visible in `until` and not in `seen`, in the order of
/// (xid, id), all up to this one have been read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Open {
    until: Snapshot,
    xid: u64,
    key: String,
}

/// Whose transaction ids a position speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct History {
    /// The cluster, by what `initdb` gave it.
    pub(crate) system: i64,
    pub(crate) database: i64,
    /// Raised when a standby is promoted and when a backup is restored to a point in time.
    pub(crate) timeline: u32,
}

impl Position {
    /// Before the first row that is kept.
    pub fn beginning() -> Self {
        Self { history: None, seen: Snapshot::before_everything(), open: None }
    }

    pub(super) fn new(history: History, seen: Snapshot) -> Self {
        Self { history: Some(history), seen, open: None }
    }

    pub(super) fn inside(history: History, seen: Snapshot, until: Snapshot, xid: u64, key: String) -> Self {
        Self { history: Some(history), seen, open: Some(Open { until, xid, key }) }
    }

    pub(crate) fn history(&self) -> Option<History> {
        self.history
    }

    /// All rows that are visible in it have been read.
    pub(crate) fn seen(&self) -> &Snapshot {
        &self.seen
    }

    /// The snapshot that is being read up to, where one is.
    pub(crate) fn until(&self) -> Option<&Snapshot> {
        self.open.as_ref().map(|open| &open.until)
    }

    /// The row to go on behind, among transactions that ran in `seen`; the first of all when a stretch begins.
    pub(crate) fn after(&self, table: &StreamTable) -> (u64, &str) {
        match &self.open {
            Some(open) => (open.xid, &open.key),
            None => (0, table.key().lowest()),
        }
    }

    /// The row to go on behind, among transactions that came after `seen`.
    pub(super) fn after_later(&self, table: &StreamTable) -> (u64, &str) {
        match &self.open {
            Some(open) if open.xid >= self.seen.xmax() => (open.xid, &open.key),
            _ => (self.seen.xmax() - 1, table.key().highest()),
        }
    }

    /// The lowest transaction whose rows may not have been read; none where a follower begins with what is kept.
    pub(crate) fn oldest_unread(&self) -> Option<u64> {
        self.history?;
        let read_below = self.open.as_ref().map_or(0, |open| open.xid);
        let running = self.seen.running().iter().copied().find(|&xid| xid >= read_below);
        Some(running.unwrap_or_else(|| self.seen.xmax().max(read_below)))
    }

    /// The same for a position that was kept in the database itself, beside the rows.
    ///
    /// It was committed after the transactions that it counts as ended, so a history that has the position has them,
    /// and their ids are not given out again.
    pub(crate) fn kept_beside_the_rows(mut self, now: History) -> Self {
        if let Some(history) = self.history.as_mut().filter(|history| history.system == now.system) {
            *history = now;
        }
        self
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let History { system, database, timeline } =
            self.history.unwrap_or(History { system: 0, database: 0, timeline: 0 });
        write!(f, "v1.{system}.{database}.{timeline}.{}", self.seen)?;
        match &self.open {
            None => Ok(()),
            Some(Open { until, xid, key }) => write!(f, ".{until}.{xid}.{key}"),
        }
    }
}

/// Text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no position in a stream: pass back the text that a page gave")]
pub struct InvalidPosition {
    given: String,
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parse = || {
            let mut parts = text.strip_prefix("v1.")?.split('.');
            let system = parts.next()?.parse().ok()?;
            let database = parts.next()?.parse().ok()?;
            let timeline = parts.next()?.parse().ok()?;
            let history = Some(History { system, database, timeline }).filter(|_| timeline != 0);
            let seen: Snapshot = parts.next()?.parse().ok()?;
            let open = match parts.next() {
                None => None,
                Some(until) => {
                    let until: Snapshot = until.parse().ok()?;
                    let xid = parts.next()?.parse().ok()?;
                    let key = parts.next().filter(|key| is_key(key))?.to_owned();
                    (until.includes(&seen) && parts.next().is_none()).then_some(())?;
                    Some(Open { until, xid, key })
                }
            };
            let position = Self { history, seen, open };
            // Only what is written: numbers have other forms.
            (position.to_string() == text).then_some(position)
        };
        parse().ok_or_else(|| InvalidPosition { given: text.chars().take(80).collect() })
    }
}

fn is_key(text: &str) -> bool {
    text.parse::<i64>().is_ok() || Uuid::try_parse(text).is_ok_and(|id| id.hyphenated().to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: History = History { system: 7_312, database: 16_384, timeline: 2 };

    fn snapshot(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        let key = Uuid::now_v7().to_string();
        for position in [
            Position::beginning(),
            Position::new(HISTORY, snapshot("10:20:10,14")),
            Position::inside(HISTORY, snapshot("10:20:10,14"), snapshot("14:30:14"), 22, key),
            Position::inside(
                HISTORY,
                Snapshot::before_everything(),
                snapshot("14:30:14"),
                22,
                "-5".to_owned(),
            ),
        ] {
            assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        }
    }

    #[test]
    fn text_that_is_no_position_is_refused() {
        let good = "v1.7312.16384.2.10:20:10,14.14:30:14.22.-5";
        assert!(good.parse::<Position>().is_ok());
        for text in [
            "",
            "v1",
            "v2.7312.16384.2.10:20:",
            "v1.7312.16384.2",
            "v1.7312.16384.2.10:20",
            "v1.7312.16384.2.10:20:.",
            "v1.7312.16384.2.10:20:.14:30:14",
            "v1.7312.16384.2.10:20:.14:30:14.22",
            "v1.7312.16384.2.10:20:.14:30:14.22.x';drop",
            "v1.7312.16384.2.10:20:.14:30:14.22.5.6",
            "v1.7312.16384.2.10:40:.14:30:14.22.5",
            "v1.+7312.16384.2.10:20:",
            "v1.7312.16384.02.10:20:",
            "v1.7312.16384.-2.10:20:",
            &format!("{good} "),
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_oldest_unread_transaction() {
        assert_eq!(Position::beginning().oldest_unread(), None);
        assert_eq!(Position::new(HISTORY, snapshot("10:20:10,14")).oldest_unread(), Some(10));
        assert_eq!(Position::new(HISTORY, snapshot("20:20:")).oldest_unread(), Some(20));
        let inside = |xid| {
            Position::inside(HISTORY, snapshot("10:20:10,14"), snapshot("30:30:"), xid, "1".into())
                .oldest_unread()
        };
        assert_eq!(
            (inside(10), inside(11), inside(15), inside(25)),
            (Some(10), Some(14), Some(20), Some(25))
        );
    }

    #[test]
    fn only_a_position_of_the_same_cluster_is_carried_over() {
        let position = Position::new(HISTORY, snapshot("10:20:"));
        let promoted = History { timeline: 3, ..HISTORY };
        assert_eq!(position.clone().kept_beside_the_rows(promoted).history(), Some(promoted));
        let foreign = History { system: 1, ..HISTORY };
        assert_eq!(position.kept_beside_the_rows(foreign).history(), Some(HISTORY));
    }
}
