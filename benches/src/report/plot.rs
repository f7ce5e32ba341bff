//! Bars on a logarithmic scale, as SVG that is read on a light and on a dark page.

use std::fmt::Write as _;

use super::{Cell, ROWS, Size, with_commas};
use crate::workload::KINDS;

/// Rows that are drawn: the questions and both lists.
const DRAWN: usize = KINDS.len() + 2;
/// Decades of nanoseconds: 10 ns to 100 s.
const DECADES: std::ops::RangeInclusive<i32> = 1..=11;
const WIDTH: f64 = 960.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 60.0;
const TOP: f64 = 126.0;
const BAR: f64 = 13.0;
const GAP: f64 = 14.0;

/// Classes and not variables: not every program that shows pictures knows variables.
const STYLE: &str = "
  .page { fill: #ffffff } text { fill: #1f2328 } .faint, .axis { fill: #656d76 } line { stroke: #d8dee4 }
  .a { fill: #0550ae } .b { fill: #6cb6ff } .c { fill: #e08700 } .d { fill: #12876b } .e { fill: #c2418b }
  .f { fill: #b0b7bf } .g { fill: #6e7781 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .faint, .axis { fill: #9198a1 } line { stroke: #30363d }
    .a { fill: #79c0ff } .b { fill: #2f74c8 } .c { fill: #f0a23c } .d { fill: #3fb68f } .e { fill: #e06fb0 }
    .f { fill: #6e7681 } .g { fill: #b6bec8 }
  }
  text { font-family: system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; font-size: 12px }
  .title { font-size: 17px; font-weight: 600 }
  .row { font-weight: 600; text-anchor: end }
  .faint, .axis { font-size: 11px }
  .axis { text-anchor: middle }
  .value { font-size: 10.5px }
";

const COLOURS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// The picture of one size.
pub fn plot(size: &Size) -> String {
    let group = BAR * size.engines.len() as f64 + GAP;
    let bottom = TOP + group * DRAWN as f64;
    let height = bottom + 34.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">Time of one question by kind \
         and engine</title>\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" class=\"page\"/>\n"
    );
    let tuples = with_commas(size.tuples as u64);
    let _ = writeln!(
        text,
        "<text class=\"title\" x=\"20\" y=\"30\">One permission check among {tuples} relationships</text>\n\
         <text class=\"faint\" x=\"20\" y=\"49\">Time of one question, logarithmic: each line is ten times the one \
         before. Shorter is better.</text>"
    );
    legend(&mut text, size);
    axis(&mut text, bottom);
    for (row, name) in ROWS.iter().take(DRAWN).enumerate() {
        bars(&mut text, size, row, name, TOP + group * row as f64 + GAP / 2.0);
    }
    text += "</svg>\n";
    text
}

fn colour(engine: usize) -> &'static str {
    COLOURS.get(engine % COLOURS.len()).copied().unwrap_or("g")
}

fn legend(text: &mut String, size: &Size) {
    for (at, engine) in size.engines.iter().enumerate() {
        let (x, y) = (20.0 + 232.0 * (at % 4) as f64, 64.0 + 19.0 * (at / 4) as f64);
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{y}\" width=\"11\" height=\"11\" rx=\"2\" class=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            colour(at),
            x + 17.0,
            y + 10.0,
            engine.name
        );
    }
}

/// Where so many nanoseconds lie.
fn place(nanos: f64) -> f64 {
    let (first, last) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
    LEFT + (nanos.log10().clamp(first, last) - first) / (last - first) * (WIDTH - LEFT - RIGHT)
}

fn axis(text: &mut String, bottom: f64) {
    for decade in DECADES {
        let nanos = 10_f64.powi(decade);
        let (value, unit) = match decade {
            ..3 => (nanos, "ns"),
            3..6 => (nanos / 1e3, "us"),
            6..9 => (nanos / 1e6, "ms"),
            _ => (nanos / 1e9, "s"),
        };
        let x = place(nanos);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"axis\" x=\"{x:.1}\" y=\"{}\">{value:.0} {unit}</text>\
             <text class=\"axis\" x=\"{x:.1}\" y=\"{}\">{value:.0} {unit}</text>",
            TOP - 7.0,
            bottom + 17.0
        );
    }
}

fn bars(text: &mut String, size: &Size, row: usize, name: &str, top: f64) {
    let middle = top + BAR * size.engines.len() as f64 / 2.0 + 4.0;
    let _ = writeln!(text, "<text class=\"row\" x=\"{}\" y=\"{middle}\">{name}</text>", LEFT - 12.0);
    for (at, engine) in size.engines.iter().enumerate() {
        let y = top + BAR * at as f64;
        let base = y + BAR - 3.5;
        match engine.cells.get(row) {
            Some(cell @ Cell::Nanos(nanos)) => {
                let width = (place(*nanos) - LEFT).max(1.0);
                let _ = writeln!(
                    text,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" rx=\"1.5\" class=\"{}\"/>\
                     <text class=\"value\" x=\"{:.1}\" y=\"{base}\">{}</text>",
                    BAR - 2.0,
                    colour(at),
                    LEFT + width + 5.0,
                    cell.text().unwrap_or_default()
                );
            }
            Some(Cell::Empty(_)) => {
                let _ = writeln!(
                    text,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"2\" height=\"{}\" class=\"{}\"/>\
                     <text class=\"faint\" x=\"{}\" y=\"{base}\">none</text>",
                    BAR - 2.0,
                    colour(at),
                    LEFT + 7.0
                );
            }
            _ => {}
        }
    }
}
