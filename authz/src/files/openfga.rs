//! Store files, as OpenFGA's command line reads them: `.fga.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::files::fault::{Fault, FileError};
use crate::files::model;
use crate::files::scenario::{Answer, Expectation, Question, Scenario, Test};
use crate::files::tuples::{self, Tuple};
use crate::files::zed::{from_yaml, in_place, yaml_fault};
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::{Schema, Source};
use crate::subject::Subject;

#[derive(Deserialize)]
pub(crate) struct Store {
    model: Option<Spanned<String>>,
    model_file: Option<Spanned<String>>,
    #[serde(default)]
    tuples: Vec<Spanned<Tuple>>,
    tuple_file: Option<Spanned<String>>,
    #[serde(default)]
    tuple_files: Vec<Spanned<String>>,
    #[serde(default)]
    tests: Vec<StoreTest>,
}

#[derive(Deserialize)]
struct StoreTest {
    #[serde(default)]
    name: String,
    #[serde(default)]
    tuples: Vec<Spanned<Tuple>>,
    tuple_file: Option<Spanned<String>>,
    #[serde(default)]
    tuple_files: Vec<Spanned<String>>,
    #[serde(default)]
    check: Vec<Check>,
    #[serde(default)]
    list_objects: Vec<ListObjects>,
    #[serde(default)]
    list_users: Vec<ListUsers>,
}

#[derive(Deserialize)]
struct Check {
    user: Option<Spanned<String>>,
    #[serde(default)]
    users: Vec<Spanned<String>>,
    object: Option<Spanned<String>>,
    #[serde(default)]
    objects: Vec<Spanned<String>>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    assertions: BTreeMap<String, Spanned<bool>>,
}

#[derive(Deserialize)]
struct ListObjects {
    user: Spanned<String>,
    #[serde(rename = "type")]
    object_type: String,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    assertions: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct ListUsers {
    object: Spanned<String>,
    user_filter: Vec<UserFilter>,
    #[serde(default)]
    context: Map<String, Value>,
    #[serde(default)]
    assertions: BTreeMap<String, Users>,
}

#[derive(Deserialize)]
struct UserFilter {
    #[serde(rename = "type")]
    user_type: String,
    relation: Option<String>,
}

#[derive(Deserialize)]
struct Users {
    #[serde(default)]
    users: Vec<String>,
}

pub(crate) fn read(name: &str, text: &str) -> Result<Store, FileError> {
    from_yaml(text).map_err(|error| yaml_fault(name, text, &error).into())
}

/// What is being read, and what was wrong with it.
struct Reading<'a> {
    name: &'a str,
    text: &'a str,
    files: &'a mut dyn FnMut(&str) -> Option<String>,
    faults: Vec<Fault>,
}

impl Reading<'_> {
    fn fault<T>(&mut self, place: &Spanned<T>, message: String) {
        let (line, column) = (place.referenced.line() as usize, place.referenced.column() as usize);
        self.faults.push(Fault::at(self.name, self.text, line, column, message));
    }

    fn relationships(
        &mut self,
        tuples: &[Spanned<Tuple>],
        files: &mut dyn Iterator<Item = &Spanned<String>>,
    ) -> Vec<Relationship> {
        let mut found = Vec::new();
        let faults = &mut self.faults;
        let mut take = |_, one: Result<Relationship, Fault>| match one {
            Ok(relationship) => found.push(relationship),
            Err(fault) => faults.push(fault),
        };
        tuples::spanned(self.name, self.text, tuples, &mut take);
        let mut missing = Vec::new();
        for file in files {
            match (self.files)(&file.value) {
                Some(text) => tuples::relationships_of(&file.value, &text, &mut take),
                None => missing.push(file),
            }
        }
        for file in missing {
            self.fault(file, format!("the tuple file `{}` cannot be read", file.value));
        }
        found
    }

    fn parsed<T: std::str::FromStr<Err = crate::ParseError>>(&mut self, text: &Spanned<String>) -> Option<T> {
        match text.value.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fault(text, error.to_string());
                None
            }
        }
    }

    fn test(&mut self, test: &StoreTest) -> Test {
        let mut files = test.tuple_file.iter().chain(&test.tuple_files);
        let relationships = self.relationships(&test.tuples, &mut files);
        let mut expectations = Vec::new();
        test.check.iter().for_each(|check| self.check(check, &mut expectations));
        for list in &test.list_objects {
            let Some(subject) = self.parsed::<Subject>(&list.user) else { continue };
            for (permission, objects) in &list.assertions {
                expectations.push(Expectation {
                    line: list.user.referenced.line() as usize,
                    question: Question::Objects {
                        object_type: list.object_type.clone(),
                        permission: permission.clone(),
                        subject: subject.clone(),
                    },
                    context: list.context.clone(),
                    answer: Answer::List(objects.iter().cloned().collect::<BTreeSet<_>>()),
                });
            }
        }
        for list in &test.list_users {
            let Some(object) = self.parsed::<Object>(&list.object) else { continue };
            let filters = list.user_filter.iter();
            let filters: Vec<_> =
                filters.map(|filter| (filter.user_type.clone(), filter.relation.clone())).collect();
            for (permission, users) in &list.assertions {
                let (object, filters) = (object.clone(), filters.clone());
                expectations.push(Expectation {
                    line: list.object.referenced.line() as usize,
                    question: Question::Subjects { object, permission: permission.clone(), filters },
                    context: list.context.clone(),
                    answer: Answer::List(users.users.iter().cloned().collect()),
                });
            }
        }
        Test { name: test.name.clone(), relationships, expectations }
    }

    fn check(&mut self, check: &Check, expectations: &mut Vec<Expectation>) {
        let subjects: Vec<Subject> =
            check.user.iter().chain(&check.users).filter_map(|user| self.parsed(user)).collect();
        let objects: Vec<Object> =
            check.object.iter().chain(&check.objects).filter_map(|object| self.parsed(object)).collect();
        for (subject, object) in
            subjects.iter().flat_map(|subject| objects.iter().map(move |object| (subject, object)))
        {
            for (permission, expected) in &check.assertions {
                let (object, subject) = (object.clone(), subject.clone());
                expectations.push(Expectation {
                    line: expected.referenced.line() as usize,
                    question: Question::Check { object, permission: permission.clone(), subject },
                    context: check.context.clone(),
                    answer: if expected.value { Answer::Allowed } else { Answer::Denied },
                });
            }
        }
    }
}

impl Store {
    pub(crate) fn schema(
        &self,
        name: &str,
        text: &str,
        files: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Schema, FileError> {
        if let Some(model) = &self.model {
            return Ok(Schema::parse_openfga_source(Source { name, text: &in_place(text, model) })?);
        }
        let Some(file) = &self.model_file else {
            let fault = Fault::on(name, "", 0, 1, "there is no model");
            return Err(fault
                .with_help("give one as `model`, or the name of its file as `model_file`")
                .into());
        };
        let path = file.value.trim_start_matches("./");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match files(path) {
            Some(text) => model::read_schema(path, &text, &mut |inner| {
                files(&if folder.is_empty() { inner.to_owned() } else { format!("{folder}/{inner}") })
            }),
            None => {
                let place = file.referenced;
                let message = format!("the model file `{}` cannot be read", file.value);
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
        let mut reading = Reading { name, text, files, faults: Vec::new() };
        let relationships =
            reading.relationships(&self.tuples, &mut self.tuple_file.iter().chain(&self.tuple_files));
        let tests = self.tests.iter().map(|test| reading.test(test)).collect();
        if reading.faults.is_empty() {
            Ok(Scenario { schema, relationships, tests })
        } else {
            Err(reading.faults.into())
        }
    }
}
