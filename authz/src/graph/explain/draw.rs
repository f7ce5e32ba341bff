//! An explanation as a picture: Graphviz and Mermaid.

use std::fmt::Write;

use crate::graph::explain::Explanation;
use crate::graph::explain::step::{Claim, Step};

/// Steps that are drawn; who would read more of them?
const MAX_DRAWN: usize = 300;
/// A longer line is broken.
const MAX_LINE: usize = 44;

/// A box, and the one above it.
struct Drawn<'t> {
    step: &'t Step,
    above: Option<usize>,
    taken_away: bool,
}

impl Explanation {
    /// The tree as a Graphviz graph: green holds, red does not, yellow depends on what is missing; what is taken away
    /// hangs on a dashed line. Of a large tree the beginning.
    ///
    /// ```
    /// # use formwork_authz::{Context, Graph, Object, Schema, Subject};
    /// # let graph = Graph::load(
    /// #     Schema::parse("definition user {} definition document { relation viewer: user }")?,
    /// #     ["document:7#viewer@user:anna".parse()?],
    /// # );
    /// let (anna, document) = (Subject::new("user", "anna"), Object::new("document", 7));
    /// let why = graph.explain(&Context::new(), &anna, "viewer", &document)?;
    /// assert!(why.to_dot().contains(r#"label="document:7#viewer@user:anna""#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let mut text = String::from(
            "digraph explanation {\n  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=11];\n  \
             edge [fontname=\"sans-serif\", fontsize=10];\n",
        );
        for (at, drawn) in boxes(&self.tree).iter().enumerate() {
            let label = broken(&drawn.step.claim.to_string(), "\\n", |c| matches!(c, '"' | '\\'));
            let color = match drawn.step.holds {
                Some(true) => "#d5f0d5",
                Some(false) => "#f8d7d4",
                None => "#fdf3c4",
            };
            let _ = writeln!(text, "  n{at} [label=\"{label}\", fillcolor=\"{color}\"];");
            if let Some(above) = drawn.above {
                let line = if drawn.taken_away { " [style=dashed, label=\"but not\"]" } else { "" };
                let _ = writeln!(text, "  n{above} -> n{at}{line};");
            }
        }
        text.push_str("}\n");
        text
    }

    /// The same as a Mermaid flowchart, as web pages of code hosts draw it.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart TD\n");
        for (at, drawn) in boxes(&self.tree).iter().enumerate() {
            let label = broken(&drawn.step.claim.to_string(), "<br/>", |_| false);
            let class = match drawn.step.holds {
                Some(true) => "yes",
                Some(false) => "no",
                None => "open",
            };
            let _ = writeln!(text, "  n{at}[\"{label}\"]:::{class}");
            if let Some(above) = drawn.above {
                let line = if drawn.taken_away { "-. but not .->" } else { "-->" };
                let _ = writeln!(text, "  n{above} {line} n{at}");
            }
        }
        text.push_str("  classDef yes fill:#d5f0d5,stroke:#4a4;\n  classDef no fill:#f8d7d4,stroke:#a44;\n  classDef open fill:#fdf3c4,stroke:#aa4;\n");
        text
    }
}

/// The steps in the order in which they are drawn; what is taken away is a line and no box.
fn boxes(tree: &Step) -> Vec<Drawn<'_>> {
    let mut drawn: Vec<Drawn<'_>> = Vec::new();
    let mut todo = vec![Drawn { step: tree, above: None, taken_away: false }];
    while let Some(next) = todo.pop() {
        if drawn.len() == MAX_DRAWN {
            break;
        }
        let (above, step) = (next.above, next.step);
        let is_line = step.claim == Claim::Except;
        let at = if is_line { above } else { Some(drawn.len()) };
        let below = step.below.iter().rev().map(|step| Drawn { step, above: at, taken_away: is_line });
        todo.extend(below);
        if !is_line {
            drawn.push(next);
        }
    }
    drawn
}

/// The text in lines, with what would end it or mark it up made harmless.
fn broken(text: &str, line_end: &str, escaped: fn(char) -> bool) -> String {
    let mut broken = String::with_capacity(text.len() + 8);
    let mut length = 0;
    for c in text.chars() {
        length += 1;
        if c == ' ' && length > MAX_LINE {
            broken.push_str(line_end);
            length = 0;
            continue;
        }
        match c {
            c if escaped(c) => {
                broken.push('\\');
                broken.push(c);
            }
            // Mermaid reads these as its own.
            '"' if line_end == "<br/>" => broken.push_str("#quot;"),
            '#' if line_end == "<br/>" => broken.push_str("#35;"),
            '<' if line_end == "<br/>" => broken.push_str("#lt;"),
            '>' if line_end == "<br/>" => broken.push_str("#gt;"),
            '`' if line_end == "<br/>" => broken.push('\''),
            c if c.is_control() => broken.push(' '),
            c => broken.push(c),
        }
    }
    broken
}
