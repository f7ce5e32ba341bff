//! What the comparison with peers found, and how it is written down: tables and a plot.
//!
//! INVARIANT: every cell is a figure or a reason why there is none.

mod plot;
mod table;

use crate::workload::KINDS;

pub use plot::plot;
pub use table::{shape, splice, tables};

/// Names of the rows: the kinds of questions first, in their order.
pub const ROWS: [&str; KINDS.len() + 4] = [
    "direct hit, through an exclusion",
    "direct miss",
    "team four deep",
    "folder six deep",
    "full miss",
    "banned",
    "public",
    "administrator of the organisation",
    "documents of an editor, 1,000",
    "users of a document, 4,000",
    "loading",
    "bytes a tuple",
];

/// Ours, as it is asked.
pub const OURS: [&str; 2] = ["Formwork, by ids", "Formwork, from strings"];

/// Whom the design wants to be so many times as fast as, in every kind of question.
pub const LINES: [(&str, f64); 3] =
    [("cedar-policy", 10.0), ("simple-zanzibar", 10.0), ("Postgres, one indexed query", 80.0)];

/// Why an engine has no figure for what is public.
pub const NO_WILDCARD: &str =
    "It takes `user:*` for a user of that name: everyone else is denied what is public, which is wrong.";
/// Why an engine has no figure for a list.
pub const NO_LIST: &str = "It has no such list.";
/// Why there is no list of users by ids.
pub const BY_NAME: &str = "Users are listed by name.";
/// Why one query has no figure.
pub const ONE_TUPLE: &str = "One tuple does not answer it.";

/// All of it.
#[derive(Debug, Clone)]
pub struct Results {
    /// By the number of tuples.
    pub sizes: Vec<Size>,
}

/// What was found with so many tuples.
#[derive(Debug, Clone)]
pub struct Size {
    /// Different ones.
    pub tuples: usize,
    /// Who was asked.
    pub engines: Vec<Measured>,
}

/// One engine.
#[derive(Debug, Clone)]
pub struct Measured {
    /// With its version, if it has one.
    pub name: String,
    /// One for each of [`ROWS`].
    pub cells: Vec<Cell>,
}

/// A figure, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nanoseconds.
    Nanos(f64),
    /// Bytes.
    Bytes(f64),
    /// A reason.
    Empty(&'static str),
}

impl Cell {
    /// The figure with its unit.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Nanos(nanos) => Some(time(*nanos)),
            Self::Bytes(bytes) => Some(rounded(*bytes)),
            Self::Empty(_) => None,
        }
    }

    fn nanos(&self) -> Option<f64> {
        if let Self::Nanos(nanos) = self { Some(*nanos) } else { None }
    }
}

impl Size {
    fn engine(&self, name: &str) -> Option<&Measured> {
        self.engines.iter().find(|engine| engine.name.starts_with(name))
    }
}

/// Three digits, or two behind the first.
fn rounded(value: f64) -> String {
    if value >= 100.0 {
        with_commas(value.round() as u64)
    } else if value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        n if n < 995.0 => (n, "ns"),
        n if n < 995e3 => (n / 1e3, "us"),
        n if n < 995e6 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    format!("{} {unit}", rounded(value))
}

fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        assert_eq!(
            ["61 ns", "8.6 us", "43 us", "1.6 s"],
            [61.3, 8_640.0, 43_100.0, 1.6e9].map(time).map(|t| t.leak() as &str)
        );
        assert_eq!((time(995.0), time(994_999.0)), ("1.0 us".to_owned(), "995 us".to_owned()));
        assert_eq!(
            (rounded(1_688.2), rounded(14.26), with_commas(983_113)),
            ("1,688".into(), "14".into(), "983,113".into())
        );
    }
}
