//! Which cell of a row is which column of the mapping.

use std::path::Path;

use super::error::{FileError, HeaderError, ImportError};
use super::mapping::Mapping;
use super::record::Record;

/// As many of a file's columns as a message names.
const NAMED: usize = 20;

/// The mapping's columns as cell numbers.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The file's column names.
    names: Vec<String>,
    pub(super) key: Vec<usize>,
    pub(super) number: usize,
    pub(super) name: Option<usize>,
    pub(super) address: Option<usize>,
    pub(super) applied_on: Option<usize>,
    pub(super) issued_on: Option<usize>,
    pub(super) completed_on: Option<usize>,
    pub(super) valuation: Option<usize>,
    pub(super) status: Option<usize>,
    pub(super) contractor: Option<usize>,
    pub(super) owner: Option<usize>,
    pub(super) description: Option<usize>,
}

impl Layout {
    /// How many cells a row has.
    pub(super) fn width(&self) -> usize {
        self.names.len()
    }

    /// The name of a column of the file.
    pub(super) fn name_of(&self, cell: usize) -> &str {
        self.names.get(cell).map_or("", String::as_str)
    }
}

/// The file's column names, without the spaces around them.
pub(super) fn names(path: &Path, header: &Record) -> Result<Vec<String>, FileError> {
    let text = |cell| {
        std::str::from_utf8(header.cell(cell))
            .ok()
            .filter(|name| !name.contains(|c: char| c.is_control() && c != '\t'))
    };
    let names = (0..header.len()).map(|cell| text(cell).map(|name| name.trim().to_owned()));
    match names.collect() {
        Some(names) if header.fault().is_none() => Ok(names),
        _ => {
            let message =
                format!("has no header on line {}: its first line must name the columns", header.line());
            Err(FileError::new(path, message))
        }
    }
}

/// The built-in mapping whose columns the file has.
pub(super) fn choose(path: &Path, names: &[String]) -> Result<Mapping, ImportError> {
    let mappings = Mapping::built_in()?;
    if let Some(found) = mappings.iter().find(|mapping| missing(names, mapping).is_empty()) {
        return Ok(found.clone());
    }
    refuse_other_delimiter(path, names)?;
    // Of a file that has most of a mapping's columns, the others are what somebody looks for.
    for mapping in &mappings {
        let missing = missing(names, mapping);
        if missing.len() * 2 < mapping.needed().len() {
            return Err(lacking(path, names, mapping, &missing).into());
        }
    }
    let message = format!(
        "`{}` fits no built-in mapping ({}): give one with --mapping; the file's columns are {}",
        path.display(),
        mappings.iter().map(Mapping::name).collect::<Vec<_>>().join(", "),
        quoted(names.iter().map(String::as_str))
    );
    Err(HeaderError::new(message, Vec::new()).into())
}

fn missing<'a>(names: &[String], mapping: &'a Mapping) -> Vec<&'a str> {
    let lacks = |column: &&str| names.iter().all(|name| name != column.trim());
    mapping.needed().into_iter().filter(lacks).collect()
}

/// Finds the mapping's columns in the file.
pub(super) fn layout(path: &Path, names: Vec<String>, mapping: &Mapping) -> Result<Layout, HeaderError> {
    let count = |column: &str| names.iter().filter(|name| *name == column.trim()).count();
    let needed = mapping.needed();
    let missing = missing(&names, mapping);
    if !missing.is_empty() {
        refuse_other_delimiter(path, &names)?;
        return Err(lacking(path, &names, mapping, &missing));
    }
    if let Some(twice) = needed.iter().find(|column| count(column) > 1) {
        let message =
            format!("`{}` has the column `{twice}` twice: rename one of them in the header", path.display());
        return Err(HeaderError::new(message, Vec::new()));
    }
    let place = |column: &String| names.iter().position(|name| name == column.trim());
    let of = &mapping.columns;
    let optional = |column: &Option<String>| column.as_ref().and_then(place);
    Ok(Layout {
        key: mapping.key.iter().filter_map(place).collect(),
        number: place(&of.number).unwrap_or_default(),
        name: optional(&of.name),
        address: optional(&of.address),
        applied_on: optional(&of.applied_on),
        issued_on: optional(&of.issued_on),
        completed_on: optional(&of.completed_on),
        valuation: optional(&of.valuation),
        status: optional(&of.status),
        contractor: optional(&of.contractor),
        owner: optional(&of.owner),
        description: optional(&of.description),
        names,
    })
}

/// A header that is one cell with delimiters in it: columns are not what it lacks.
fn refuse_other_delimiter(path: &Path, names: &[String]) -> Result<(), HeaderError> {
    let [only] = names else { return Ok(()) };
    let delimiters = [",", ";", "|", "\t"];
    let Some(delimiter) = delimiters.into_iter().find(|delimiter| only.contains(delimiter)) else {
        return Ok(());
    };
    let message = format!(
        "`{}` separates its cells with `{}`: set `delimiter` in a --mapping file",
        path.display(),
        delimiter.escape_debug()
    );
    Err(HeaderError::new(message, Vec::new()))
}

fn lacking(path: &Path, names: &[String], mapping: &Mapping, missing: &[&str]) -> HeaderError {
    let wanted: Vec<_> = missing
        .iter()
        .map(|column| match near(column, names) {
            Some(name) => format!("`{column}` (is it `{name}`?)"),
            None => format!("`{column}`"),
        })
        .collect();
    let message = format!(
        "`{}` lacks {} {}, which the mapping `{}` needs: correct the mapping or give another with --mapping; \
         the file's columns are {}",
        path.display(),
        if missing.len() == 1 { "the column" } else { "the columns" },
        wanted.join(", "),
        mapping.name(),
        quoted(names.iter().map(String::as_str))
    );
    HeaderError::new(message, missing.iter().map(|column| (*column).to_owned()).collect())
}

fn quoted<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

/// The name that `column` may be a slip for: the same but for case and signs, or two letters off.
fn near<'a>(column: &str, names: &'a [String]) -> Option<&'a str> {
    let bare =
        |name: &str| name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let wanted: Vec<char> = bare(column);
    let off = |name: &&String| distance(&wanted, &bare(name));
    let nearest = names.iter().min_by_key(off)?;
    (off(&nearest) <= 2.min(wanted.len() / 3)).then_some(nearest.as_str())
}

/// Levenshtein's distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            *cell = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            left = *cell;
            diagonal = above;
        }
    }
    // The first of the row stays 0 and is not read again: only an empty `b` ends on it.
    if b.is_empty() { a.len() } else { row.last().copied().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn distances() {
        let check = |a: &str, b: &str, expected| {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        };
        check("kitten", "sitting", 3);
        check("", "abc", 3);
        check("abc", "", 3);
        check("abc", "abc", 0);
        check("abc", "ab", 1);
    }

    #[test]
    fn a_near_name_is_offered() {
        let names = own(&["Permit Number", "Statu", "x"]);
        assert_eq!(near("permit_number", &names), Some("Permit Number"));
        assert_eq!(near("status", &names), Some("Statu"));
        assert_eq!(near("valuation", &names), None);
        assert_eq!(near("y", &names), None);
    }

    #[test]
    fn a_mapping_is_chosen_by_its_columns() {
        let path = Path::new("permits.csv");
        let calgary = Mapping::built_in().unwrap().pop().unwrap();
        let names: Vec<_> = calgary.needed().into_iter().map(str::to_owned).collect();
        assert_eq!(choose(path, &names).unwrap().name(), "calgary");
        let refused = choose(path, &own(&["a", "b"])).unwrap_err().to_string();
        let expected = "`permits.csv` fits no built-in mapping (austin, burlington, calgary): give one with --mapping; \
                        the file's columns are `a`, `b`";
        assert_eq!(refused, expected);
        let refused = choose(path, &names[1..]).unwrap_err().to_string();
        assert!(
            refused.contains("lacks the column `permitnum`, which the mapping `calgary` needs"),
            "{refused}"
        );
    }

    #[test]
    fn another_delimiter_is_seen() {
        let burlington = Mapping::built_in().unwrap().remove(1);
        let refused = layout(Path::new("p.csv"), own(&["OBJECTID\tADDRESS"]), &burlington).unwrap_err();
        let expected = r"`p.csv` separates its cells with `\t`: set `delimiter` in a --mapping file";
        assert_eq!(refused.to_string(), expected);
        assert!(choose(Path::new("p.csv"), &own(&["a;b"])).unwrap_err().to_string().contains("with `;`"));
    }

    #[test]
    fn what_is_missing_or_double_is_named() {
        let path = Path::new("permits.csv");
        let burlington = Mapping::built_in().unwrap().remove(1);
        let mut names: Vec<_> = burlington.needed().into_iter().map(str::to_owned).collect();
        assert_eq!(layout(path, names.clone(), &burlington).unwrap().width(), 8);
        names.push("FILENO".to_owned());
        let refused = layout(path, names.clone(), &burlington).unwrap_err().to_string();
        assert_eq!(refused, "`permits.csv` has the column `FILENO` twice: rename one of them in the header");
        let names: Vec<_> = names.into_iter().map(|name| name.replace("FILENO", "File No")).collect();
        let refused = layout(path, names, &burlington).unwrap_err();
        assert_eq!(refused.missing(), ["FILENO"]);
        let start = "`permits.csv` lacks the column `FILENO` (is it `File No`?), which the mapping `burlington` needs";
        assert!(refused.to_string().starts_with(start), "{refused}");
    }
}
