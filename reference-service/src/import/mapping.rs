//! What a city's columns mean: a TOML file, checked whole when it is loaded.
//!
//! ```toml
//! name = "springfield"
//! key = ["permit"]                    # the columns that identify a row, joined
//! currency = "USD"
//! date_formats = ["%m/%d/%Y"]         # strftime, `epoch_ms` or `epoch_s`; the first that fits
//! decimal = "."                       # or ","
//! delimiter = ","                     # or ";", "|", "\t"
//! unknown_status = "refuse"           # or a stage
//!
//! [columns]                           # `number` is needed; the others are as the file has them
//! number = "permit"
//! status = "state"
//!
//! [status]                            # as written, in any case; "" is an empty cell
//! "Issued" = "course_of_construction"
//! ```

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::dates::DateFormat;
use super::error::{ImportError, MappingError};
use super::money::DecimalSign;
use crate::modules::projects::Stage;

const BUILT_IN: [(&str, &str); 3] = [
    ("austin", include_str!("../../mappings/austin.toml")),
    ("burlington", include_str!("../../mappings/burlington.toml")),
    ("calgary", include_str!("../../mappings/calgary.toml")),
];

/// How a permit file is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    name: String,
    pub(super) key: Vec<String>,
    pub(super) currency: Currency,
    pub(super) date_formats: Vec<DateFormat>,
    #[serde(default)]
    pub(super) decimal: DecimalSign,
    #[serde(default)]
    pub(super) delimiter: Delimiter,
    #[serde(default)]
    unknown_status: UnknownStatus,
    pub(super) columns: Columns,
    #[serde(default)]
    status: HashMap<String, Stage>,
}

/// Which of the file's columns is what.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Columns {
    pub(super) number: String,
    pub(super) name: Option<String>,
    pub(super) address: Option<String>,
    pub(super) applied_on: Option<String>,
    pub(super) issued_on: Option<String>,
    pub(super) completed_on: Option<String>,
    pub(super) valuation: Option<String>,
    pub(super) status: Option<String>,
    pub(super) contractor: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) description: Option<String>,
}

/// An ISO 4217 code.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Currency(pub(super) String);

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(code: String) -> Result<Self, String> {
        if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(code))
        } else {
            Err(format!("`{code}` is not a currency: write its ISO 4217 code, such as `USD`"))
        }
    }
}

/// What separates cells.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Delimiter(pub(super) u8);

impl Default for Delimiter {
    fn default() -> Self {
        Self(b',')
    }
}

impl TryFrom<String> for Delimiter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_bytes() {
            [byte @ (b',' | b';' | b'|' | b'\t')] => Ok(Self(*byte)),
            _ => Err(format!(r"`{text}` is not a delimiter: write `,`, `;`, `|` or `\t`")),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
enum UnknownStatus {
    #[default]
    Refuse,
    Stage(Stage),
}

impl TryFrom<String> for UnknownStatus {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let stage = || Stage::parse(&text).map(Self::Stage);
        if text == "refuse" { Some(Self::Refuse) } else { stage() }.ok_or_else(|| {
            let stages = Stage::ALL.map(|stage| format!("`{}`", stage.as_str())).join(", ");
            format!("unknown_status `{text}` is neither `refuse` nor a stage: {stages}")
        })
    }
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    ///
    /// [`ImportError::Mapping`], with line and column where it has a place.
    pub fn load(path: &Path) -> Result<Self, ImportError> {
        let text = std::fs::read_to_string(path).map_err(|e| MappingError::unreadable(path, e))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads a mapping from its text; `origin` is what its errors call it.
    ///
    /// # Errors
    ///
    /// [`ImportError::Mapping`], with line and column where it has a place.
    pub fn parse(origin: &str, text: &str) -> Result<Self, ImportError> {
        let mapping: Self = toml::from_str(text).map_err(|e| {
            let position = e.span().map(|span| position(text, span.start));
            MappingError::new(origin, e.message().replace('\n', " ")).at(position)
        })?;
        Ok(mapping.checked(origin)?)
    }

    /// The mappings that come with the service.
    ///
    /// # Errors
    ///
    /// None in a tested build: the mappings are part of it.
    pub fn built_in() -> Result<Vec<Self>, ImportError> {
        BUILT_IN.iter().map(|(name, text)| Self::parse(name, text)).collect()
    }

    /// The mapping's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every column that the mapping reads, once each.
    pub fn needed(&self) -> Vec<&str> {
        let of = &self.columns;
        let optional = [
            &of.name,
            &of.address,
            &of.applied_on,
            &of.issued_on,
            &of.completed_on,
            &of.valuation,
            &of.status,
            &of.contractor,
            &of.owner,
            &of.description,
        ];
        let all = self.key.iter().chain([&of.number]).chain(optional.into_iter().flatten());
        let mut needed: Vec<&str> = Vec::new();
        for column in all {
            if !needed.contains(&column.as_str()) {
                needed.push(column);
            }
        }
        needed
    }

    /// The stage that a written status means, if the mapping knows or supposes one.
    pub(super) fn stage(&self, written: &str) -> Option<Stage> {
        let supposed = match self.unknown_status {
            UnknownStatus::Refuse => None,
            UnknownStatus::Stage(stage) => Some(stage),
        };
        self.status.get(&fold(written)).copied().or(supposed)
    }

    fn checked(mut self, origin: &str) -> Result<Self, MappingError> {
        let refuse = |message: String| Err(MappingError::new(origin, message));
        if self.key.is_empty() {
            return refuse("`key` names no column: name those that identify a row".to_owned());
        }
        if self.needed().iter().any(|column| column.trim().is_empty()) {
            return refuse(
                "a column's name is empty: name a column of the file or leave the line out".to_owned(),
            );
        }
        let of = &self.columns;
        let dated = [&of.applied_on, &of.issued_on, &of.completed_on].into_iter().any(Option::is_some);
        if dated && self.date_formats.is_empty() {
            return refuse("`date_formats` is empty and a date column is mapped: name a format".to_owned());
        }
        if of.status.is_none() && self.stage("").is_none() {
            return refuse("no status column is mapped: set `unknown_status` to a stage".to_owned());
        }
        let mut folded = HashMap::with_capacity(self.status.len());
        for (written, stage) in self.status {
            let key = fold(&written);
            if folded.insert(key, stage).is_some_and(|other| other != stage) {
                return refuse(format!(
                    "[status] gives `{written}` two stages: case does not tell them apart"
                ));
            }
        }
        self.status = folded;
        Ok(self)
    }
}

/// A status without what does not tell statuses apart: case and spaces.
fn fold(written: &str) -> String {
    super::permit::collapse(written).to_lowercase()
}

/// Line and column, from 1, of a byte in a text.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"name = "small"
key = ["permit"]
currency = "USD"
date_formats = ["%m/%d/%Y"]
[columns]
number = "permit"
status = "state"
[status]
"Issued" = "course_of_construction"
"#;

    fn refuse(from: &str, to: &str) -> String {
        assert!(SMALL.contains(from), "{from}");
        Mapping::parse("small.toml", &SMALL.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_mappings_are_sound() {
        let mappings = Mapping::built_in().unwrap();
        let names: Vec<_> = mappings.iter().map(Mapping::name).collect();
        assert_eq!(names, ["austin", "burlington", "calgary"]);
    }

    #[test]
    fn a_status_is_known_in_any_case() {
        let mapping = Mapping::parse("small.toml", SMALL).unwrap();
        for written in ["Issued", "ISSUED", "  issued "] {
            assert_eq!(mapping.stage(written), Some(Stage::CourseOfConstruction), "{written}");
        }
        assert_eq!(mapping.stage("Lost"), None);
        let text = SMALL.replace("[columns]", "unknown_status = \"canceled\"\n[columns]");
        assert_eq!(Mapping::parse("small.toml", &text).unwrap().stage("Lost"), Some(Stage::Canceled));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        for (from, to, expected) in [
            ("status = \"state\"", "statos = \"state\"", "line 7 column 1: unknown field `statos`"),
            ("[columns]", "dates = 1\n[columns]", "line 5 column 1: unknown field `dates`"),
            ("\"course_of_construction\"", "\"built\"", "line 9 column 12: unknown variant `built`"),
            ("\"USD\"", "\"dollars\"", "line 3 column 12: `dollars` is not a currency"),
            ("%m/%d/%Y", "%m/%d", "line 4 column 16: date format `%m/%d` names no whole day"),
            ("[columns]", "delimiter = \":\"\n[columns]", "line 5 column 13: `:` is not a delimiter"),
            ("[columns]", "decimal = \":\"\n[columns]", "line 5 column 11: unknown variant `:`"),
            (
                "[columns]",
                "unknown_status = \"x\"\n[columns]",
                "line 5 column 18: unknown_status `x` is neither",
            ),
            ("number = \"permit\"", "", "line 5 column 1: missing field `number`"),
            ("name =", "name", "line 1 column 6: "),
        ] {
            let refused = refuse(from, to);
            assert!(refused.starts_with(&format!("mapping `small.toml` {expected}")), "{refused}");
            assert!(!refused.contains('\n'));
        }
        for (from, to, expected) in [
            ("[\"permit\"]", "[]", "`key` names no column"),
            ("number = \"permit\"", "number = \" \"", "a column's name is empty"),
            ("status = \"state\"", "", "no status column is mapped"),
            ("\"Issued\"", "\"issued\" = \"canceled\"\n\"Issued\"", "[status] gives `"),
            ("[\"%m/%d/%Y\"]\n[columns]", "[]\n[columns]\nissued_on = \"on\"", "`date_formats` is empty"),
        ] {
            let refused = refuse(from, to);
            assert!(refused.starts_with(&format!("mapping `small.toml`: {expected}")), "{refused}");
        }
        let absent = Mapping::load(Path::new("absent.toml")).unwrap_err().to_string();
        assert_eq!(absent, "mapping `absent.toml`: cannot be read: give --mapping the path of a TOML file");
    }
}
