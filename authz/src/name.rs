//! Names of types, relations and permissions, and ids of objects: which are valid, and which
//! known name a misspelt one was probably meant to be.
//!
//! INVARIANT: a valid name or id contains none of the separators of the text form, so that the
//! text of a valid relationship splits in one way only.

use std::cmp::Reverse;

/// The longest name of a type, relation or permission, in bytes.
pub(crate) const MAX_NAME: usize = 64;
/// The longest id of an object, in bytes; the column is `varchar(1024)`.
pub(crate) const MAX_ID: usize = 1024;
/// The id that stands for every subject of a type.
pub(crate) const WILDCARD: &str = "*";

/// What is wrong with a name or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Empty,
    TooLong { limit: usize },
    Character(char),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty"),
            Self::TooLong { limit } => write!(f, "is longer than {limit} bytes"),
            Self::Character(c) => write!(f, "cannot contain `{}`", c.escape_debug()),
        }
    }
}

/// Finds the first fault of a type, relation or permission name: `[a-z][a-z0-9_]*`.
pub(crate) fn check_name(name: &str) -> Result<(), (usize, Fault)> {
    if name.is_empty() {
        return Err((0, Fault::Empty));
    }
    for (at, c) in name.char_indices() {
        let fits = c.is_ascii_lowercase() || (at > 0 && (c.is_ascii_digit() || c == '_'));
        if !fits {
            return Err((at, Fault::Character(c)));
        }
    }
    if name.len() > MAX_NAME {
        return Err((MAX_NAME, Fault::TooLong { limit: MAX_NAME }));
    }
    Ok(())
}

/// The longest name of a type with its namespaces, in bytes; the column is `varchar(100)`.
pub(crate) const MAX_TYPE_NAME: usize = 100;

/// Finds the first fault of a type's name: names with `/` between them.
pub(crate) fn check_type_name(name: &str) -> Result<(), (usize, Fault)> {
    let mut starts = 0;
    for part in name.split('/') {
        check_name(part).map_err(|(at, fault)| (starts + at, fault))?;
        starts += part.len() + 1;
    }
    if name.len() > MAX_TYPE_NAME {
        return Err((MAX_TYPE_NAME, Fault::TooLong { limit: MAX_TYPE_NAME }));
    }
    Ok(())
}

/// Finds the first fault of a name that may come from either language: `[A-Za-z_][A-Za-z0-9_./-]*`.
pub(crate) fn check_any_name(name: &str) -> Result<(), (usize, Fault)> {
    if name.is_empty() {
        return Err((0, Fault::Empty));
    }
    for (at, c) in name.char_indices() {
        let first = c.is_ascii_alphabetic() || c == '_';
        let later = at > 0 && (c.is_ascii_digit() || matches!(c, '.' | '/' | '-'));
        if !first && !later {
            return Err((at, Fault::Character(c)));
        }
    }
    if name.len() > MAX_TYPE_NAME {
        return Err((MAX_TYPE_NAME, Fault::TooLong { limit: MAX_TYPE_NAME }));
    }
    Ok(())
}

/// Finds the first fault of an object id: printable, without spaces, `:`, `#`, `*` and `[`.
pub(crate) fn check_id(id: &str) -> Result<(), (usize, Fault)> {
    if id.is_empty() {
        return Err((0, Fault::Empty));
    }
    for (at, c) in id.char_indices() {
        if matches!(c, ':' | '#' | '*' | '[') || c.is_whitespace() || c.is_control() {
            return Err((at, Fault::Character(c)));
        }
    }
    if id.len() > MAX_ID {
        return Err((MAX_ID, Fault::TooLong { limit: MAX_ID }));
    }
    Ok(())
}

/// The candidate that differs least from `wanted`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > MAX_NAME {
        return None;
    }
    let limit = (wanted.len() / 3).max(1);
    // Letters are forgotten more often than added, so of two equally near names the longer is meant.
    let mut best: Option<(usize, Reverse<usize>, &str)> = None;
    for candidate in candidates {
        if candidate.len().abs_diff(wanted.len()) > limit || candidate == wanted {
            continue;
        }
        let distance = distance(wanted.as_bytes(), candidate.as_bytes());
        let rank = (distance, Reverse(candidate.len()), candidate);
        if distance <= limit && best.is_none_or(|least| rank < least) {
            best = Some(rank);
        }
    }
    best.map(|(.., name)| name)
}

/// Edits between two words, where swapping two neighbours counts as one.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous_a = None;
    for (i, &x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        let mut left = i + 1;
        let mut previous_b = None;
        for (j, &y) in b.iter().enumerate() {
            let diagonal = last.get(j).copied().unwrap_or(0);
            let above = last.get(j + 1).copied().unwrap_or(0);
            let mut cost = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            if previous_a == Some(y) && previous_b == Some(x) {
                let swapped = j.checked_sub(1).and_then(|j| before_last.get(j)).copied().unwrap_or(cost);
                cost = cost.min(swapped + 1);
            }
            row.push(cost);
            left = cost;
            previous_b = Some(y);
        }
        before_last = std::mem::replace(&mut last, row);
        previous_a = Some(x);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ids_have_their_own_alphabets() {
        for good in ["a", "document", "rfi_2", "x1"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "1a", "_a", "Doc", "a-b", "a:b", "é"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["7", "anna@example.org", "ÄÖ", "a/b|c", "..."] {
            assert_eq!(check_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a:b", "a#b", "*", "a*", "a\nb", "a\u{a0}b", &"x".repeat(MAX_ID + 1)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_one_or_a_few_edits_away() {
        let known = ["viewer", "editor", "owner", "view"];
        let near = |wanted| nearest(wanted, known.iter().copied());
        assert_eq!(near("viewr"), Some("viewer"));
        assert_eq!(near("veiw"), Some("view"));
        assert_eq!(near("onwer"), Some("owner"));
        assert_eq!(near("banana"), None);
        assert_eq!(near(""), None);
    }
}
