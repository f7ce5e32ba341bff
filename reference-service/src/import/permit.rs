//! One row of a file, checked: every problem it has, or the permit it states.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::header::Layout;
use super::mapping::Mapping;
use super::record::Record;
use super::{dates, money};
use crate::modules::projects::{ProjectStatus, Stage};

/// The longest texts, in characters. They bound what an index and a list must hold.
const LONGEST_KEY: usize = 400;
const LONGEST_LINE: usize = 500;
const LONGEST_TEXT: usize = 20_000;

/// A permit as a row of the file states it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermitRow {
    /// The physical line that the row begins on; the header is line 1.
    pub line: u64,
    /// The key columns. Of several, each has `\` and `|` escaped by `\`, and `|` joins them.
    pub key: String,
    /// The permit's number, spaces collapsed.
    pub number: String,
    /// The project's name: the mapped column, else the address, else the number.
    pub name: String,
    /// Where the work is, spaces collapsed.
    pub address: Option<String>,
    /// When the permit was applied for.
    pub applied_on: Option<NaiveDate>,
    /// When the permit was issued.
    pub issued_on: Option<NaiveDate>,
    /// When the work was completed.
    pub completed_on: Option<NaiveDate>,
    /// The value of the work; fits `NUMERIC(18,3)`.
    pub valuation: Option<Decimal>,
    /// The valuation's ISO 4217 currency, which is the mapping's.
    pub currency: String,
    /// The status as it is written, spaces collapsed; may be empty.
    pub status_raw: String,
    /// The stage that the written status means.
    pub stage: Stage,
    /// Who builds.
    pub contractor: Option<String>,
    /// Whose property it is.
    pub owner: Option<String>,
    /// What is built.
    pub description: Option<String>,
    /// SHA-256 of all of the above but the line: two rows with the same hash say the same. It is
    /// stable across runs and versions, so it may be stored to find that a row has nothing new.
    pub content_hash: [u8; 32],
}

impl PermitRow {
    /// The project's status, which follows from its stage.
    pub fn status(&self) -> ProjectStatus {
        self.stage.status()
    }
}

/// Why a row is refused: one for each cell at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The file's name of the column; empty where the whole row is at fault.
    pub(super) column: String,
    pub(super) value: String,
    pub(super) reason: String,
}

/// Reads a record as a permit.
pub(super) fn read(record: &Record, layout: &Layout, mapping: &Mapping) -> Result<PermitRow, Vec<Problem>> {
    if let Some(problem) = damage(record, layout) {
        return Err(vec![problem]);
    }
    let mut cells = Cells { record, layout, problems: Vec::new() };
    let key = cells.key();
    let number = cells.line(Some(layout.number)).unwrap_or_default();
    if number.is_empty() {
        cells.refuse(layout.number, "is empty: a permit needs its number");
    }
    let name = cells.line(layout.name);
    let address = cells.line(layout.address);
    let applied_on = cells.date(layout.applied_on, mapping);
    let issued_on = cells.date(layout.issued_on, mapping);
    let completed_on = cells.date(layout.completed_on, mapping);
    let valuation = cells.money(layout.valuation, mapping);
    let (status_raw, stage) = cells.status(mapping);
    let contractor = cells.line(layout.contractor);
    let owner = cells.line(layout.owner);
    let description = cells.paragraph(layout.description);
    let (Some(stage), true) = (stage, cells.problems.is_empty()) else { return Err(cells.problems) };
    let mut row = PermitRow {
        line: record.line(),
        key,
        name: name.or_else(|| address.clone()).unwrap_or_else(|| number.clone()),
        number,
        address,
        applied_on,
        issued_on,
        completed_on,
        valuation,
        currency: mapping.currency.0.clone(),
        status_raw,
        stage,
        contractor,
        owner,
        description,
        content_hash: [0; 32],
    };
    row.content_hash = content_hash(&row);
    Ok(row)
}

/// What makes the cells of a record unreadable.
fn damage(record: &Record, layout: &Layout) -> Option<Problem> {
    if record.len() != layout.width() && record.fault().is_none() {
        return Some(Problem {
            column: String::new(),
            value: format!("{} cells", record.len()),
            reason: format!(
                "the header has {} columns: look for a missing quote or delimiter",
                layout.width()
            ),
        });
    }
    let fault = record.fault().map(|(cell, fault)| (cell, fault.reason()));
    let damaged =
        || record.damaged().map(|cell| (cell, "the cell has bytes that the file's encoding does not"));
    let (cell, reason) = fault.or_else(damaged)?;
    let value = String::from_utf8_lossy(record.cell(cell)).into_owned();
    Some(Problem { column: layout.name_of(cell).to_owned(), value, reason: reason.to_owned() })
}

/// Reads cells and gathers their problems.
struct Cells<'a> {
    record: &'a Record,
    layout: &'a Layout,
    problems: Vec<Problem>,
}

impl<'a> Cells<'a> {
    fn text(&self, cell: usize) -> &'a str {
        // Damaged text was refused before.
        std::str::from_utf8(self.record.cell(cell)).unwrap_or_default().trim()
    }

    fn refuse(&mut self, cell: usize, reason: impl Into<String>) {
        let column = self.layout.name_of(cell).to_owned();
        self.problems.push(Problem { column, value: self.text(cell).to_owned(), reason: reason.into() });
    }

    fn key(&mut self) -> String {
        let parts: Vec<String> = self.layout.key.iter().map(|cell| collapse(self.text(*cell))).collect();
        let key = joined(&parts);
        let first = self.layout.key.first().copied().unwrap_or_default();
        // An empty number has its own problem; the same cell needs no second.
        if parts.iter().all(String::is_empty) && self.layout.key != [self.layout.number] {
            self.refuse(first, "is empty: a row needs its key");
        } else if key.chars().count() > LONGEST_KEY {
            self.refuse(first, format!("the row's key is longer than {LONGEST_KEY} characters"));
        }
        key
    }

    fn line(&mut self, cell: Option<usize>) -> Option<String> {
        let cell = cell?;
        self.bounded(cell, collapse(self.text(cell)), LONGEST_LINE)
    }

    /// Text that may have lines of its own.
    fn paragraph(&mut self, cell: Option<usize>) -> Option<String> {
        let cell = cell?;
        self.bounded(cell, self.text(cell).to_owned(), LONGEST_TEXT)
    }

    fn bounded(&mut self, cell: usize, text: String, longest: usize) -> Option<String> {
        if text.len() > longest && text.chars().count() > longest {
            self.refuse(cell, format!("is longer than {longest} characters"));
        }
        (!text.is_empty()).then_some(text)
    }

    fn date(&mut self, cell: Option<usize>, mapping: &Mapping) -> Option<NaiveDate> {
        self.parsed(cell, |text| dates::read(text, &mapping.date_formats))
    }

    fn money(&mut self, cell: Option<usize>, mapping: &Mapping) -> Option<Decimal> {
        self.parsed(cell, |text| money::read(text, &mapping.currency.0, mapping.decimal))
    }

    fn parsed<T>(&mut self, cell: Option<usize>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let cell = cell?;
        let text = self.text(cell);
        if text.is_empty() {
            return None;
        }
        parse(text).map_err(|reason| self.refuse(cell, reason)).ok()
    }

    fn status(&mut self, mapping: &Mapping) -> (String, Option<Stage>) {
        let written = self.line(self.layout.status).unwrap_or_default();
        let stage = mapping.stage(&written);
        if let (None, Some(cell)) = (stage, self.layout.status) {
            self.refuse(cell, "is not in the mapping's [status]: add it there, or set `unknown_status`");
        }
        (written, stage)
    }
}

/// The text with each run of spaces as one space, and none at its ends.
pub(super) fn collapse(text: &str) -> String {
    let mut collapsed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !collapsed.is_empty() {
            collapsed.push(' ');
        }
        collapsed.push_str(word);
    }
    collapsed
}

/// A key of one column is that column; of several, no two different rows of cells join to the same.
fn joined(parts: &[String]) -> String {
    match parts {
        [only] => only.clone(),
        _ => {
            let escaped = parts.iter().map(|part| part.replace('\\', r"\\").replace('|', r"\|"));
            escaped.collect::<Vec<_>>().join("|")
        }
    }
}

fn content_hash(row: &PermitRow) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"formwork permit 1");
    // A length before each text: no two different rows make the same bytes.
    let mut text = |value: Option<&str>| {
        hash.update(value.map_or(u64::MAX, |text| text.len() as u64).to_be_bytes());
        hash.update(value.unwrap_or_default());
    };
    let day = |date: Option<NaiveDate>| date.map(|date| date.to_string());
    text(Some(&row.key));
    text(Some(&row.number));
    text(Some(&row.name));
    text(row.address.as_deref());
    text(day(row.applied_on).as_deref());
    text(day(row.issued_on).as_deref());
    text(day(row.completed_on).as_deref());
    text(row.valuation.map(|amount| amount.normalize().to_string()).as_deref());
    text(Some(&row.currency));
    text(Some(&row.status_raw));
    text(Some(row.stage.as_str()));
    text(row.contractor.as_deref());
    text(row.owner.as_deref());
    text(row.description.as_deref());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_spaces_are_one() {
        assert_eq!(collapse("  2501 Carlow Drive \u{a0}   A  00000 "), "2501 Carlow Drive A 00000");
        assert_eq!(collapse(" \t "), "");
    }

    #[test]
    fn different_cells_never_join_to_the_same_key() {
        let join = |parts: &[&str]| joined(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(join(&["a|b"]), "a|b");
        assert_eq!(join(&["a", "b"]), "a|b");
        assert_ne!(join(&["a|b", "c"]), join(&["a", "b|c"]));
        assert_ne!(join(&["a\\", "b"]), join(&["a", "\\b"]));
        assert_ne!(join(&["a\\|b", ""]), join(&["a\\", "b|"]));
    }
}
