//! Validation files, as SpiceDB's `zed` and its playground read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::files::fault::{Fault, FileError};
use crate::files::scenario::{Answer, Expectation, Question, Scenario, Test};
use crate::files::{model, tuples};
use crate::relationship::Relationship;
use crate::schema::Schema;
use crate::subject::Subject;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ZedFile {
    schema: Option<Spanned<String>>,
    schema_file: Option<Spanned<String>>,
    relationships: Option<Spanned<String>>,
    assertions: Option<Assertions>,
    validation: Option<BTreeMap<String, Option<Vec<Spanned<String>>>>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Assertions {
    assert_true: Option<Vec<Spanned<String>>>,
    assert_caveated: Option<Vec<Spanned<String>>>,
    assert_false: Option<Vec<Spanned<String>>>,
}

pub(crate) fn read(name: &str, text: &str) -> Result<ZedFile, FileError> {
    from_yaml(text).map_err(|error| yaml_fault(name, text, &error).into())
}

/// A number beyond the range of doubles stays text: JSON has no form for it.
pub(crate) fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, serde_saphyr::Error> {
    let options =
        serde_saphyr::options! { non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString };
    serde_saphyr::from_str_with_options(text, options)
}

/// What the YAML parser says, with its place.
pub(crate) fn yaml_fault(name: &str, text: &str, error: &serde_saphyr::Error) -> Fault {
    let place = error.location().map_or((0, 1), |place| (place.line() as usize, place.column() as usize));
    let message = error.to_string();
    // Its own excerpt comes on further lines, and ours is the same.
    let first = message.lines().next().unwrap_or("this is no YAML").trim_start_matches("error: ");
    let first = match first.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest,
        _ => first,
    };
    Fault::at(name, text, place.0, place.1, first)
}

/// The text of a scalar with blank lines before it, so that places in it are places in the file; the scalar alone where
/// it does not stand in the file as it is.
pub(crate) fn in_place(text: &str, scalar: &Spanned<String>) -> String {
    let (place, count) = (scalar.referenced.line() as usize, scalar.value.lines().count());
    // A block begins on the line behind its sign.
    for starts in [place, place.saturating_sub(1)] {
        let raw: Vec<&str> = text.lines().skip(starts).take(count).collect();
        let mut both = raw.iter().zip(scalar.value.lines());
        if !raw.is_empty() && raw.len() == count && both.all(|(raw, line)| raw.trim() == line.trim()) {
            return format!("{}{}\n", "\n".repeat(starts), raw.join("\n"));
        }
    }
    scalar.value.clone()
}

impl ZedFile {
    /// The relationships that stand in the file.
    pub(crate) fn relationships(
        &self,
        name: &str,
        text: &str,
        take: &mut dyn FnMut(usize, Result<Relationship, Fault>),
    ) {
        let Some(block) = &self.relationships else { return };
        let mut raw = text.lines().enumerate().skip(block.referenced.line().saturating_sub(1) as usize);
        // A folded scalar keeps its line ends as blank lines, so each line is looked for in the file.
        for line in block.value.lines().filter(|line| !line.trim().is_empty()) {
            let found = raw.by_ref().find(|(_, raw)| raw.contains(line.trim()));
            let (number, whole) = found.map_or((0, line), |(at, raw)| (at + 1, raw));
            let whole = if whole.trim() == line.trim() { whole } else { line };
            tuples::take_line(name, whole, number, take);
        }
    }

    pub(crate) fn schema(
        &self,
        name: &str,
        text: &str,
        files: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Schema, FileError> {
        if let Some(schema) = &self.schema {
            let source = crate::schema::Source { name, text: &in_place(text, schema) };
            return Ok(Schema::parse_with_imports(source, files)?);
        }
        let Some(file) = &self.schema_file else {
            let fault = Fault::on(name, "", 0, 1, "there is no schema");
            return Err(fault
                .with_help("give one as `schema`, or the name of its file as `schemaFile`")
                .into());
        };
        match files(&file.value) {
            Some(text) => model::read_schema(&file.value, &text, files),
            None => {
                let place = file.referenced;
                let message = format!("the schema file `{}` cannot be read", file.value);
                Err(Fault::at(name, text, place.line() as usize, place.column() as usize, message).into())
            }
        }
    }

    pub(crate) fn scenario(
        &self,
        name: &str,
        text: &str,
        files: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Scenario, FileError> {
        let schema = Arc::new(self.schema(name, text, files)?);
        let (mut relationships, mut faults) = (Vec::new(), Vec::new());
        self.relationships(name, text, &mut |_, one| match one {
            Ok(relationship) => relationships.push(relationship),
            Err(fault) => faults.push(fault),
        });
        let mut expectations = Vec::new();
        let none = Assertions::default();
        let assertions = self.assertions.as_ref().unwrap_or(&none);
        for (answer, texts) in [
            (Answer::Allowed, &assertions.assert_true),
            (Answer::Conditional, &assertions.assert_caveated),
            (Answer::Denied, &assertions.assert_false),
        ] {
            for one in texts.iter().flatten() {
                match assertion(&one.value) {
                    Ok((question, context)) => {
                        let line = one.referenced.line() as usize;
                        expectations.push(Expectation { line, question, context, answer: answer.clone() });
                    }
                    Err(message) => faults.push(at(name, text, one, message)),
                }
            }
        }
        for (target, listed) in self.validation.iter().flatten() {
            // A key has no place of its own.
            let is_key = |line: &str| {
                let line = line.trim_start().trim_start_matches(['"', '\'']);
                line.strip_prefix(target.as_str()).is_some_and(|rest| rest.starts_with([':', '"', '\'']))
            };
            let line = text.lines().position(is_key).map_or(0, |at| at + 1);
            match subjects((target, line), listed.as_deref().unwrap_or(&[])) {
                Ok(found) => expectations.extend(found),
                Err((line, message)) => faults.push(Fault::at(name, text, line, 1, message)),
            }
        }
        if !faults.is_empty() {
            return Err(faults.into());
        }
        let test = Test { name: String::new(), relationships: Vec::new(), expectations };
        Ok(Scenario { schema, relationships, tests: vec![test] })
    }
}

fn at(name: &str, text: &str, place: &Spanned<String>, message: String) -> Fault {
    Fault::at(name, text, place.referenced.line() as usize, place.referenced.column() as usize, message)
}

/// `type:id#permission@type:id`, and the context behind ` with `.
fn assertion(text: &str) -> Result<(Question, Map<String, Value>), String> {
    let (question, context) = match text.split_once(" with ") {
        None => (text, Map::new()),
        Some((question, json)) => {
            let context = serde_json::from_str(json);
            (question, context.map_err(|error| format!("the context is no JSON object: {error}"))?)
        }
    };
    let question: Relationship = question.trim().parse().map_err(|error| format!("{error}"))?;
    Ok((Question::check(&question), context))
}

/// What `validation` lists about one permission: `[user:anna] is <document:7#viewer>`. The ways there are not compared,
/// as there may be several.
fn subjects(
    (target, line): (&str, usize),
    listed: &[Spanned<String>],
) -> Result<Vec<Expectation>, (usize, String)> {
    let parts = target.split_once('#');
    let (object, permission) =
        parts.ok_or_else(|| (line, format!("`{target}` is no `type:id#permission`")))?;
    let object: crate::Object = object.parse().map_err(|error| (line, format!("{error}")))?;
    let (mut whole, mut types, mut expected) = (std::collections::BTreeSet::new(), Vec::new(), Vec::new());
    // A list of some that depend on something is not compared as a whole.
    let mut is_settled = true;
    for one in listed {
        let (text, at) = (one.value.trim(), one.referenced.line() as usize);
        let inside = text.strip_prefix('[').and_then(|rest| rest.split_once("] is "));
        let Some((inside, _)) = inside else {
            return Err((at, format!("`{text}` is no `[subject] is <type:id#relation>`")));
        };
        let (inside, is_conditional) = match inside.strip_suffix("[...]") {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let (subject, except) = inside.split_once(" - {").map_or((inside, None), |(a, b)| (a, Some(b)));
        let subject: Subject = subject.trim().parse().map_err(|error| (at, format!("{error}")))?;
        is_settled &= !is_conditional;
        let answer = if is_conditional { Answer::Conditional } else { Answer::Allowed };
        let mut ask = |subject: &Subject, answer: Answer| {
            let (object, permission) = (object.clone(), permission.to_owned());
            let question = Question::Check { object, permission, subject: subject.clone() };
            expected.push(Expectation { line: at, question, context: Map::new(), answer });
        };
        ask(&subject, answer);
        for excepted in
            except.and_then(|text| text.strip_suffix('}')).into_iter().flat_map(|text| text.split(','))
        {
            let excepted = excepted.trim().trim_end_matches("[...]");
            ask(&excepted.parse().map_err(|error| (at, format!("{error}")))?, Answer::Denied);
        }
        if subject.relation().is_none() && !is_conditional {
            whole.insert(subject.to_string());
            types.push(subject.subject_type().to_owned());
        }
    }
    types.sort();
    types.dedup();
    // Nobody who is not listed.
    if is_settled && !types.is_empty() {
        let filters = types.into_iter().map(|name| (name, None)).collect();
        let question = Question::Subjects { object, permission: permission.to_owned(), filters };
        expected.push(Expectation { line, question, context: Map::new(), answer: Answer::List(whole) });
    }
    Ok(expected)
}
