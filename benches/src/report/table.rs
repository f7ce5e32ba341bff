//! The tables, as Markdown between two marks of a page.

use std::fmt::Write as _;

use super::{Cell, LINES, OURS, ROWS, Results, Size, with_commas};
use crate::workload::KINDS;

const BEGIN: &str = "<!-- peers: script/bench-checks writes from here -->\n";
const END: &str = "<!-- peers: to here -->\n";

/// The tables of all sizes, why cells are empty, and whether the design's lines hold.
pub fn tables(results: &Results) -> String {
    let mut text = String::new();
    let mut reasons: Vec<&str> = Vec::new();
    for size in &results.sizes {
        times(&mut text, size, &mut reasons);
    }
    for (at, reason) in reasons.iter().enumerate() {
        text += &format!("{}. {reason}\n", at + 1);
    }
    for size in &results.sizes {
        lines(&mut text, size);
    }
    text
}

fn times(text: &mut String, size: &Size, reasons: &mut Vec<&'static str>) {
    let names: Vec<&str> = size.engines.iter().map(|engine| engine.name.as_str()).collect();
    *text += &format!("| {} tuples | {} |\n", with_commas(size.tuples as u64), names.join(" | "));
    *text += &format!("|---|{}\n", "---|".repeat(names.len()));
    for (row, name) in ROWS.iter().enumerate() {
        *text += &format!("| {name} |");
        for cell in size.engines.iter().filter_map(|engine| engine.cells.get(row)) {
            let shown = match cell {
                Cell::Empty(reason) => format!("- ({})", number(reasons, reason)),
                figure => figure.text().unwrap_or_default(),
            };
            *text += &format!(" {shown} |");
        }
        text.push('\n');
    }
    text.push('\n');
}

/// A reason's number among those given so far.
fn number(reasons: &mut Vec<&'static str>, reason: &'static str) -> usize {
    if let Some(at) = reasons.iter().position(|known| *known == reason) {
        return at + 1;
    }
    reasons.push(reason);
    reasons.len()
}

/// How many times as long the other takes, in the kind of question where that is least.
fn least(size: &Size, ours: &str, other: &str) -> Option<(f64, &'static str)> {
    let (ours, other) = (size.engine(ours)?, size.engine(other)?);
    // One query costs the same whatever kind of question it is a part of.
    let one_query =
        if other.name.starts_with("Postgres") { other.cells.iter().find_map(Cell::nanos) } else { None };
    let ratios = KINDS.iter().zip(ROWS).zip(ours.cells.iter().zip(&other.cells));
    ratios
        .filter_map(|((_, row), (ours, other))| Some((other.nanos().or(one_query)? / ours.nanos()?, row)))
        .min_by(|(one, _), (two, _)| one.total_cmp(two))
}

fn lines(text: &mut String, size: &Size) {
    let _ = write!(
        text,
        "\n| {} tuples, times as fast as | the design's line |",
        with_commas(size.tuples as u64)
    );
    for ours in OURS {
        let _ = write!(text, " {ours}, at least |");
    }
    *text += "\n|---|---|---|---|\n";
    for (other, line) in LINES {
        let _ = write!(text, "| {other} | {line:.0} |");
        for ours in OURS {
            if let Some((ratio, row)) = least(size, ours, other) {
                let word = if ratio >= line { "holds" } else { "does not hold" };
                let _ = write!(text, " {ratio:.0} ({row}): {word} |");
            }
        }
        text.push('\n');
    }
}

/// The page with what stands between the marks replaced; none when it has no marks.
pub fn splice(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// What stays the same from run to run of what stands between the marks: every figure is taken out.
pub fn shape(page: &str) -> Option<Vec<String>> {
    let (_, rest) = page.split_once(BEGIN)?;
    let (tables, _) = rest.split_once(END)?;
    Some(tables.lines().map(line_shape).collect())
}

fn line_shape(line: &str) -> String {
    let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
        return line.to_owned();
    };
    let cells: Vec<String> = cells.split(" | ").map(cell_shape).collect();
    cells.join(" | ")
}

/// Figures, versions and verdicts change; names and which cells are empty do not.
fn cell_shape(cell: &str) -> String {
    let cell = cell.split_once(" (").filter(|_| cell.contains("hold")).map_or(cell, |(ratio, _)| ratio);
    let mut text = String::new();
    for letter in cell.chars() {
        match letter {
            '0'..='9' | ',' | '.' if text.ends_with('#') => {}
            '0'..='9' => text.push('#'),
            other => text.push(other),
        }
    }
    match text.as_str() {
        "# ns" | "# us" | "# ms" | "# s" => "# of time".to_owned(),
        _ => text,
    }
}
