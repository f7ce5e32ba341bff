//! The names of a schema, whatever language they were written in.

use super::read::Read;
use super::{native, openfga};

/// Types in the order of the text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) types: Vec<Type>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) slots: Vec<Slot>,
}

/// A relation or permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) doc: String,
    /// As it is written, in one line.
    pub(crate) rule: String,
    /// The forms of subject that may be stored, `user`, `team#member`, `user:*`; nothing of what is only computed.
    pub(crate) holds: Vec<String>,
}

impl Model {
    pub(crate) fn of(read: &Read) -> Result<Self, String> {
        let model = if read.is_openfga { openfga::model(read) } else { native::model(read)? };
        if model.types.is_empty() {
            let what = if read.is_openfga { "`type`" } else { "`definition`" };
            let name = read.sources.first().map_or("schema", |source| &source.name);
            return Err(format!("`{name}` has no {what}"));
        }
        Ok(model)
    }
}

/// `a`, `b` and `c`, what is written most like the wanted name first; nothing when there are none.
pub(crate) fn nearest_first<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut names: Vec<(usize, &str)> = names.map(|name| (distance(wanted, name), name)).collect();
    names.sort_unstable();
    let quoted: Vec<String> = names.iter().map(|(_, name)| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => None,
        Some((last, [])) => Some(last.clone()),
        Some((last, others)) => Some(format!("{} and {last}", others.join(", "))),
    }
}

/// Letters to add, leave out or change.
fn distance(a: &str, b: &str) -> usize {
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut row = vec![left];
        for ((y, diagonal), above) in b.bytes().zip(&last).zip(last.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            row.push(left);
        }
        last = row;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_said_nearest_first() {
        let said = |names: &[&'static str]| nearest_first("veiwer", names.iter().copied());
        assert_eq!(said(&[]), None);
        assert_eq!(said(&["owner"]).unwrap(), "`owner`");
        assert_eq!(said(&["owner", "viewer", "banned"]).unwrap(), "`viewer`, `owner` and `banned`");
    }
}
