//! How far an import is: a bar on a terminal, else one line when a step starts and one when it ends.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const BYTES: &str = "{prefix:>8} {wide_bar} {bytes}/{total_bytes}, {msg}{binary_bytes_per_sec}, {eta} left";
const ROWS: &str = "{prefix:>8} {wide_bar} {human_pos}/{human_len} rows, {rate}, {eta} left";

/// Shows the steps of an import on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
}

impl Progress {
    /// A bar if standard error is a terminal, else plain lines.
    pub fn stderr() -> Self {
        let plain = !std::io::stderr().is_terminal();
        let target =
            if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        Self { bar: ProgressBar::with_draw_target(None, target), plain }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), plain: false }
    }

    /// Starts a step that reads a file.
    pub fn start_bytes(&self, step: &'static str, bytes: u64) {
        self.start(step, bytes, BYTES);
        if self.plain {
            eprintln!("{step}: {}", HumanBytes(bytes));
        }
    }

    /// Starts a step that goes through rows.
    pub fn start_rows(&self, step: &'static str, rows: u64) {
        self.start(step, rows, ROWS);
        if self.plain {
            eprintln!("{step}: {} rows", HumanCount(rows));
        }
    }

    /// Sets how many bytes or rows of the step are done.
    pub fn advance(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Names the rows that a step over bytes has read.
    pub fn rows(&self, rows: u64) {
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{} rows, ", HumanCount(rows)));
        }
    }

    /// Ends a step with one line that stays.
    pub fn end(&self, outcome: &str) {
        let step = self.bar.prefix();
        if self.plain {
            eprintln!("{step}: {outcome} in {:.1} s", self.bar.elapsed().as_secs_f64());
        } else if !self.bar.is_hidden() {
            self.bar.println(format!("{step:>8} {outcome} in {:.1} s", self.bar.elapsed().as_secs_f64()));
        }
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
    }

    fn start(&self, step: &'static str, length: u64, template: &str) {
        // The style first: every call after it may draw.
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.with_key("rate", rate));
        }
        self.bar.set_prefix(step);
        self.bar.set_message("");
        self.bar.set_length(length);
        self.bar.reset();
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

/// Whole rows a second: the bar's own rate has four decimals.
fn rate(state: &ProgressState, to: &mut dyn std::fmt::Write) {
    // A line that cannot be drawn is no failure of the import.
    let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_sound() {
        for template in [BYTES, ROWS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
