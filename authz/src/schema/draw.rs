//! A schema as a picture: what is stored on what, and what follows from it.
//!
//! A type is a box with its relations and permissions. Lines lead to the types that matter for who holds what: solid where a
//! permission is taken over from there, dashed where usersets of it stand in relations. Lines to types that have nothing
//! of their own, such as users, are left out; their names stand in the boxes.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::schema::behind::Behind;
use crate::schema::{Rule, Schema, SlotInfo, SlotKind, SubjectKind};

/// A longer rule is broken.
const MAX_LINE: usize = 46;

/// Lines between two types: which, and the relations on it.
type Lines<'s> = BTreeMap<(u32, u32, Kind), Vec<&'s str>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A permission is taken over along it.
    Followed,
    /// Its objects, or those who hold something on them, are subjects.
    Held,
}

impl Schema {
    /// The schema as a Graphviz graph.
    ///
    /// # How does the model look?
    ///
    /// ```
    /// use formwork_authz::Schema;
    ///
    /// let schema = Schema::parse("
    ///     definition user {}
    ///     definition team { relation member: user }
    ///     definition folder { relation viewer: user | team#member }
    ///     definition document {
    ///         relation folder: folder
    ///         permission view = folder->viewer
    ///     }
    /// ")?;
    /// let dot = schema.to_dot();
    /// assert!(dot.contains("document -> folder [label=\"folder\"]"));
    /// assert!(dot.contains("folder -> team [label=\"viewer\", style=dashed]"));
    /// # Ok::<(), formwork_authz::SchemaError>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let mut text = String::from(
            "digraph schema {\n  rankdir=BT;\n  ranksep=0.9;\n  nodesep=0.6;\n  node [shape=plain, fontname=\"sans-serif\", \
             fontsize=11];\n  edge [fontname=\"sans-serif\", fontsize=10, color=\"#555555\"];\n",
        );
        for (id, info) in self.types.iter().enumerate() {
            let mut rows = String::new();
            for slot in info.slots.iter().filter_map(|&slot| self.slot(slot)) {
                let (name, says) = self.row(slot);
                let color = if slot.kind == SlotKind::Relation { "#eef3fa" } else { "#ffffff" };
                let says: Vec<String> = broken(&says).iter().map(|line| html(line)).collect();
                let says = says.join("<br align=\"left\"/>");
                let _ = write!(
                    rows,
                    "<tr><td align=\"left\" bgcolor=\"{color}\"><b>{}</b></td><td align=\"left\" balign=\"left\" \
                     bgcolor=\"{color}\">{says}</td></tr>",
                    html(&name)
                );
            }
            let _ = writeln!(
                text,
                "  {} [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"4\"><tr><td colspan=\"2\" \
                 bgcolor=\"#cfdff2\"><b>{}</b></td></tr>{rows}</table>>];",
                self.node(id as u32),
                html(&info.name)
            );
        }
        for ((from, to, kind), names) in self.lines() {
            let style = if kind == Kind::Held { ", style=dashed" } else { "" };
            let label = broken(&names.join(", ")).join("\\n");
            let _ = writeln!(text, "  {} -> {} [label=\"{label}\"{style}];", self.node(from), self.node(to));
        }
        text.push_str("}\n");
        text
    }

    /// The same as a Mermaid flowchart, as web pages of code hosts draw it.
    pub fn to_mermaid(&self) -> String {
        let mut text = String::from("flowchart BT\n");
        for (id, info) in self.types.iter().enumerate() {
            let mut rows = String::new();
            for slot in info.slots.iter().filter_map(|&slot| self.slot(slot)) {
                let (name, says) = self.row(slot);
                let mark = if slot.kind == SlotKind::Relation { ":" } else { " =" };
                let _ = write!(rows, "<br/>{}{mark} {}", mermaid(&name), mermaid(&says));
            }
            let _ = writeln!(text, "  t{id}[\"<b>{}</b>{rows}\"]", mermaid(&info.name));
        }
        for ((from, to, kind), names) in self.lines() {
            let label = mermaid(&names.join(", "));
            let line = match kind {
                Kind::Followed => format!("-- \"{label}\" -->"),
                Kind::Held => format!("-. \"{label}\" .->"),
            };
            let _ = writeln!(text, "  t{from} {line} t{to}");
        }
        text.push_str("  classDef default text-align:left;\n");
        text
    }

    fn row(&self, slot: &SlotInfo) -> (String, String) {
        let says = match slot.kind {
            SlotKind::Relation => {
                let mut forms: Vec<String> =
                    slot.allowed.iter().map(|allowed| self.subject_text(allowed.subject)).collect();
                forms.dedup();
                forms.join(" | ")
            }
            _ => {
                let id = self.type_info(slot.type_id).and_then(|info| info.slot_ids.get(&slot.name));
                self.rule_text(Behind { slot: id.unwrap_or(0), rule: &slot.rule })
            }
        };
        (slot.name.to_string(), says)
    }

    /// A name that Graphviz reads as one.
    fn node(&self, id: u32) -> String {
        let name = self.type_name(id);
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !["node", "edge", "graph", "digraph", "subgraph", "strict"]
                .contains(&name.to_ascii_lowercase().as_str());
        if is_word { name.to_owned() } else { format!("\"{name}\"") }
    }

    fn lines(&self) -> Lines<'_> {
        let mut followed = vec![false; self.slots.len()];
        for slot in &self.slots {
            let mut todo = vec![&slot.rule];
            while let Some(rule) = todo.pop() {
                match rule {
                    Rule::Arrow { relation, .. } => {
                        followed.iter_mut().skip(*relation as usize).take(1).for_each(|is| *is = true);
                    }
                    Rule::Union(rules) | Rule::Intersection(rules) => todo.extend(rules),
                    Rule::Exclusion(rule, taken) => todo.extend([&**rule, &**taken]),
                    Rule::Conditional(rule, _) => todo.push(rule),
                    _ => {}
                }
            }
        }
        let mut lines = Lines::new();
        for (slot, followed) in self.slots.iter().zip(followed) {
            for edge in slot.edges.iter().filter_map(|&edge| self.edge(edge)) {
                let (to, kind) = match edge.subject {
                    SubjectKind::Object(id) if followed => (id, Kind::Followed),
                    SubjectKind::Object(id) | SubjectKind::Wildcard(id) => (id, Kind::Held),
                    SubjectKind::Userset(slot) => {
                        (self.slot(slot).map_or(0, |slot| slot.type_id), Kind::Held)
                    }
                };
                let has_items = self.type_info(to).is_some_and(|info| !info.slots.is_empty());
                let names = lines.entry((slot.type_id, to, kind)).or_default();
                if has_items && !names.contains(&&*slot.name) {
                    names.push(&slot.name);
                }
            }
        }
        lines.retain(|_, names| !names.is_empty());
        lines
    }
}

/// Lines of about the same length, broken at spaces.
fn broken(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < MAX_LINE => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Mermaid reads some signs as its own.
fn mermaid(text: &str) -> String {
    let mut safe = String::new();
    for c in text.chars() {
        match c {
            '#' => safe.push_str("#35;"),
            '"' => safe.push_str("#quot;"),
            '<' => safe.push_str("#lt;"),
            '>' => safe.push_str("#gt;"),
            c => safe.push(c),
        }
    }
    safe
}
