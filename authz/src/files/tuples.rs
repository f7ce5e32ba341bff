//! Relationships in files: native text, and what OpenFGA's tools write: JSON, JSON lines, CSV and YAML.

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::files::convert::misplaced;
use crate::files::fault::{Fault, FileError};
use crate::files::zed;
use crate::relationship::Relationship;
use crate::schema::Schema;

/// A tuple as OpenFGA's tools write it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tuple {
    pub(crate) user: String,
    pub(crate) relation: String,
    pub(crate) object: String,
    pub(crate) condition: Option<TupleCondition>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TupleCondition {
    pub(crate) name: String,
    pub(crate) context: Option<Map<String, Value>>,
}

impl Tuple {
    /// The relationship, or why it is none.
    pub(crate) fn relationship(&self) -> Result<Relationship, String> {
        let text = format!("{}#{}@{}", self.object, self.relation, self.user);
        let relationship: Relationship = text.parse().map_err(|error| format!("{error}"))?;
        Ok(match &self.condition {
            None => relationship,
            Some(condition) => relationship
                .with_condition(condition.name.clone(), condition.context.clone().unwrap_or_default()),
        })
    }
}

/// One that was read from storage stands under `key`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Read { key: Tuple },
    Plain(Tuple),
}

impl Stored {
    fn tuple(self) -> Tuple {
        match self {
            Self::Read { key } | Self::Plain(key) => key,
        }
    }
}

/// Reads every relationship of a file, or none.
///
/// `.csv` has the columns of OpenFGA's command line (`user_type,user_id,user_relation,relation,object_type,object_id`,
/// and `condition_name,condition_context`), `.json` a list of tuples or what `fga tuple read` prints, `.jsonl` one tuple
/// a line, `.yaml` a list of tuples or a validation file of `zed`; everything else has one relationship a line, as
/// [`Relationship`] is written, with blank lines and `//` comments.
///
/// ```
/// use formwork_authz::files::read_relationships;
///
/// let native = read_relationships("facts.txt", "document:7#viewer@user:anna\n")?;
/// let json = r#"{"user": "user:anna", "relation": "viewer", "object": "document:7"}"#;
/// assert_eq!(read_relationships("facts.jsonl", json)?, native);
///
/// let error = read_relationships("facts.txt", "document:7#viewer@anna").unwrap_err();
/// assert_eq!(error.to_string(), "\
/// error: `document:7#viewer@anna`: expected `:` after the subject type, at column 23
///  --> facts.txt:1:23
///   |
/// 1 | document:7#viewer@anna
///   |                       ^");
/// # Ok::<(), formwork_authz::files::FileError>(())
/// ```
///
/// # Errors
///
/// [`FileError`] with every line that is none.
pub fn read_relationships(name: &str, text: &str) -> Result<Vec<Relationship>, FileError> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    relationships_of(name, text, &mut |_, one| match one {
        Ok(relationship) => found.push(relationship),
        Err(fault) => faults.push(fault),
    });
    if faults.is_empty() { Ok(found) } else { Err(faults.into()) }
}

/// As [`read_relationships`], where the schema has a place for each.
///
/// # Errors
///
/// [`FileError`] with every line that is none, or for which the schema has no place.
pub fn read_relationships_for(
    schema: &Schema,
    name: &str,
    text: &str,
) -> Result<Vec<Relationship>, FileError> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    relationships_of(name, text, &mut |line, one| match one {
        Ok(relationship) => match misplaced(schema, &relationship) {
            None => found.push(relationship),
            Some(reason) => {
                let message = format!("`{relationship}` has no place in the schema");
                faults.push(Fault::at(name, text, line, 1, message).with_help(reason));
            }
        },
        Err(fault) => faults.push(fault),
    });
    if faults.is_empty() { Ok(found) } else { Err(faults.into()) }
}

/// As [`read_relationships`], one after the other, each with its line: what can be read and what cannot. The line is 0
/// where the format has none, as in a list of JSON.
pub fn relationships_of(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    let ends = |extension: &str| name.ends_with(extension);
    let first = text.trim_start().chars().next();
    if ends(".csv") {
        csv(name, text, take);
    } else if ends(".yaml") || ends(".yml") {
        yaml(name, text, take);
    } else if ends(".json") || (first == Some('[')) {
        json(name, text, take);
    } else if ends(".jsonl") || ends(".ndjson") || first == Some('{') {
        json_lines(name, text, take);
    } else {
        native(name, text, take);
    }
}

fn native(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    for (at, line) in text.lines().enumerate() {
        take_line(name, line, at + 1, take);
    }
}

/// One line of native text, which may be blank or a comment.
pub(crate) fn take_line(
    name: &str,
    line: &str,
    number: usize,
    take: &mut dyn FnMut(usize, Result<Relationship, Fault>),
) {
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with("//") {
        return;
    }
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    take(
        number,
        trimmed
            .parse::<Relationship>()
            .map_err(|error| Fault::on(name, line, number, indent + error.column(), error.to_string())),
    );
}

fn json_lines(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let fault = |column: usize, message: String| Fault::on(name, line, at + 1, column.max(1), message);
        take(
            at + 1,
            match serde_json::from_str::<Stored>(line) {
                Ok(stored) => stored.tuple().relationship().map_err(|message| fault(1, message)),
                Err(error) => Err(no_tuple(fault(error.column(), json_message(&error)))),
            },
        );
    }
}

fn no_tuple(fault: Fault) -> Fault {
    fault.with_help(
        "a tuple is {\"user\": \"user:anna\", \"relation\": \"viewer\", \"object\": \"document:7\"}",
    )
}

/// Without the place, which the fault has.
pub(crate) fn json_message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let message = text.get(..end).unwrap_or(&text);
    // What none of the forms fits.
    if message.starts_with("data did not match") { "this is no tuple".to_owned() } else { message.to_owned() }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonFile {
    List(Vec<Value>),
    Page { tuples: Vec<Value> },
    One(Value),
}

fn json(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    let list = match serde_json::from_str::<JsonFile>(text) {
        Ok(JsonFile::List(list) | JsonFile::Page { tuples: list }) => list,
        Ok(JsonFile::One(one)) => vec![one],
        Err(error) if text.lines().nth(1).is_some_and(|line| line.starts_with('{')) && error.line() == 2 => {
            return json_lines(name, text, take);
        }
        Err(error) => {
            return take(0, Err(Fault::at(name, text, error.line(), error.column(), json_message(&error))));
        }
    };
    for (at, value) in list.into_iter().enumerate() {
        let shown = value.to_string();
        let fault =
            |message: String| Fault::on(name, "", 0, 1, format!("tuple {}, `{shown}`: {message}", at + 1));
        take(
            0,
            match serde_json::from_value::<Stored>(value) {
                Ok(stored) => stored.tuple().relationship().map_err(fault),
                Err(error) => Err(no_tuple(fault(json_message(&error)))),
            },
        );
    }
}

#[derive(Deserialize)]
struct Row {
    user_type: String,
    user_id: String,
    #[serde(default)]
    user_relation: String,
    relation: String,
    object_type: String,
    object_id: String,
    #[serde(default)]
    condition_name: String,
    #[serde(default)]
    condition_context: String,
}

impl Row {
    fn tuple(self) -> Result<Tuple, String> {
        let user = match self.user_relation.as_str() {
            "" => format!("{}:{}", self.user_type, self.user_id),
            relation => format!("{}:{}#{relation}", self.user_type, self.user_id),
        };
        let context = match self.condition_context.trim() {
            "" => None,
            json => Some(
                serde_json::from_str(json)
                    .map_err(|error| format!("the column `condition_context` is no JSON object: {error}"))?,
            ),
        };
        let condition = (!self.condition_name.is_empty())
            .then_some(TupleCondition { name: self.condition_name, context });
        let object = format!("{}:{}", self.object_type, self.object_id);
        Ok(Tuple { user, relation: self.relation, object, condition })
    }
}

fn csv(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let headers = reader.headers().cloned().unwrap_or_default();
    for record in reader.records() {
        let (line, read) = match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line) as usize;
                (line, record.deserialize::<Row>(Some(&headers)))
            }
            Err(error) => (error.position().map_or(0, csv::Position::line) as usize, Err(error)),
        };
        let fault = |message: String| Fault::at(name, text, line, 1, message);
        take(line, match read {
            Ok(row) => row.tuple().and_then(|tuple| tuple.relationship()).map_err(fault),
            Err(error) => Err(fault(csv_message(&error)).with_help(
                "the columns are user_type, user_id, user_relation, relation, object_type, object_id, and \
                 condition_name, condition_context where there are conditions",
            )),
        });
    }
}

fn csv_message(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("this row has {len} fields, and the first line has {expected_len}")
        }
        _ => error.to_string(),
    }
}

fn yaml(name: &str, text: &str, take: &mut dyn FnMut(usize, Result<Relationship, Fault>)) {
    if let Ok(tuples) = zed::from_yaml::<Vec<Spanned<Tuple>>>(text) {
        return spanned(name, text, &tuples, take);
    }
    match zed::read(name, text) {
        Ok(file) => file.relationships(name, text, take),
        Err(error) => error.faults().iter().for_each(|fault| take(fault.line(), Err(fault.clone()))),
    }
}

/// Tuples that stand in YAML.
pub(crate) fn spanned(
    name: &str,
    text: &str,
    tuples: &[Spanned<Tuple>],
    take: &mut dyn FnMut(usize, Result<Relationship, Fault>),
) {
    for tuple in tuples {
        let place = tuple.referenced;
        take(
            place.line() as usize,
            tuple.value.relationship().map_err(|message| {
                Fault::at(name, text, place.line() as usize, place.column() as usize, message)
            }),
        );
    }
}
