//! Rounds that are few in every run of the tests and many in the long one.

use std::{
    fs::OpenOptions,
    io::Write,
    time::{Duration, Instant},
};

/// A test whose rounds are many when `FORMWORK_LONG` is set. At its end it then adds a line to the file that
/// `FORMWORK_LONG_REPORT` names: what, how many, how long.
///
/// ```
/// use formwork_tenancy::testing::LongRound;
///
/// let round = LongRound::begin("cancel", 1_000, 10_000);
/// for _ in 0..round.count() {
///     // ...
/// }
/// ```
#[derive(Debug)]
pub struct LongRound {
    name: &'static str,
    count: usize,
    begun: Instant,
}

impl LongRound {
    /// `short` rounds, or `long` ones.
    pub fn begin(name: &'static str, short: usize, long: usize) -> Self {
        let count = if Self::is_asked_for() { long } else { short };
        Self { name, count, begun: Instant::now() }
    }

    /// Is this the long run?
    pub fn is_asked_for() -> bool {
        std::env::var_os("FORMWORK_LONG").is_some()
    }

    /// Rounds to be run.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl Drop for LongRound {
    fn drop(&mut self) {
        let report = std::env::var_os("FORMWORK_LONG_REPORT");
        if let (Some(path), true, false) = (report, Self::is_asked_for(), std::thread::panicking()) {
            let line = line(self.name, self.count, self.begun.elapsed());
            // One write at the end of the file, whoever else writes: many tests run at once.
            let file = OpenOptions::new().append(true).create(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        }
    }
}

fn line(name: &str, count: usize, took: Duration) -> String {
    format!("{:>8.1} s  {count:>6}  {name}\n", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_how_many_and_how_long() {
        assert_eq!(line("cancel", 10_000, Duration::from_millis(61_234)), "    61.2 s   10000  cancel\n");
    }
}
