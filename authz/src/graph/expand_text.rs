//! An expansion for people and for programs.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::graph::expand::{Expansion, Tree};
use crate::relationship::Relationship;

/// A line, and those below it.
struct Line<'t> {
    text: String,
    below: Vec<Line<'t>>,
    /// Opened when its turn comes.
    expansion: Option<&'t Expansion>,
}

impl fmt::Display for Expansion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &of(self), &mut String::new())
    }
}

/// Recursion is bounded: trees are.
fn write_line(f: &mut fmt::Formatter<'_>, line: &Line<'_>, indent: &mut String) -> fmt::Result {
    writeln!(f, "{}", line.text)?;
    let opened = line.expansion.map(|expansion| [of(expansion)]);
    let below = opened.as_ref().map_or(&line.below[..], |one| &one[..]);
    for (at, below_it) in below.iter().enumerate() {
        let is_last = at + 1 == below.len();
        write!(f, "{indent}{}", if is_last { "└─ " } else { "├─ " })?;
        let before = indent.len();
        indent.push_str(if is_last { "   " } else { "│  " });
        write_line(f, below_it, indent)?;
        indent.truncate(before);
    }
    Ok(())
}

fn leaf<'t>(text: impl Into<String>, below: Vec<Line<'t>>) -> Line<'t> {
    Line { text: text.into(), below, expansion: None }
}

fn of(expansion: &Expansion) -> Line<'_> {
    let name = format!("{}#{}", expansion.object, expansion.permission);
    match &expansion.tree {
        None => leaf(format!("{name} (see elsewhere)"), Vec::new()),
        Some(Tree::Stored { relationships, usersets }) => leaf(name, stored(relationships, usersets)),
        Some(tree) => leaf(name, vec![tree_line(tree)]),
    }
}

fn tree_line(tree: &Tree) -> Line<'_> {
    match tree {
        Tree::Nobody => leaf("nobody", Vec::new()),
        Tree::Itself => leaf("the object itself", Vec::new()),
        Tree::Stored { relationships, usersets } => leaf("stored", stored(relationships, usersets)),
        Tree::Computed(expansion) => of(expansion),
        Tree::Any(over) => leaf("any of", arrows(over)),
        Tree::All(over) => leaf("all of", arrows(over)),
        Tree::Union(trees) => leaf("in one of", lines(trees)),
        Tree::Intersection(trees) => leaf("in each of", lines(trees)),
        Tree::Exclusion(base, taken) => {
            leaf("in the first and not in the second", vec![tree_line(base), tree_line(taken)])
        }
        Tree::Conditional(inner, name) => {
            leaf(format!("while the condition `{name}` holds"), vec![tree_line(inner)])
        }
    }
}

fn lines(trees: &[Tree]) -> Vec<Line<'_>> {
    trees.iter().map(tree_line).collect()
}

fn stored<'t>(relationships: &'t [Relationship], usersets: &'t [Expansion]) -> Vec<Line<'t>> {
    let mut usersets = usersets.iter();
    let lines = relationships.iter().map(|fact| Line {
        text: fact.to_string(),
        below: Vec::new(),
        // They stand in the order of the relationships that name them.
        expansion: if fact.subject().relation().is_some() { usersets.next() } else { None },
    });
    lines.collect()
}

fn arrows(over: &[(Relationship, Option<Expansion>)]) -> Vec<Line<'_>> {
    let lines = over.iter().map(|(fact, expansion)| Line {
        text: fact.to_string(),
        below: Vec::new(),
        expansion: expansion.as_ref(),
    });
    lines.collect()
}

impl Serialize for Expansion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("object", &self.object)?;
        map.serialize_entry("permission", &self.permission)?;
        map.serialize_entry("tree", &self.tree)?;
        map.end()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Nobody => map.serialize_entry("nobody", &true)?,
            Self::Itself => map.serialize_entry("itself", &true)?,
            Self::Stored { relationships, usersets } => {
                map.serialize_entry("stored", relationships)?;
                if !usersets.is_empty() {
                    map.serialize_entry("usersets", usersets)?;
                }
            }
            Self::Computed(expansion) => map.serialize_entry("computed", expansion)?,
            Self::Any(over) => map.serialize_entry("any", over)?,
            Self::All(over) => map.serialize_entry("all", over)?,
            Self::Union(trees) => map.serialize_entry("union", trees)?,
            Self::Intersection(trees) => map.serialize_entry("intersection", trees)?,
            Self::Exclusion(base, taken) => map.serialize_entry("exclusion", &(base, taken))?,
            Self::Conditional(inner, name) => {
                map.serialize_entry("condition", name)?;
                map.serialize_entry("while", inner)?;
            }
        }
        map.end()
    }
}
