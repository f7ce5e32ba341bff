//! Scenarios: a schema, relationships, and what is expected of them. How a model is tested in CI.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::decision::Decision;
use crate::files::fault::{Fault, FileError};
use crate::files::zed::{from_yaml, yaml_fault};
use crate::files::{openfga, zed};
use crate::graph::Graph;
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::Schema;
use crate::subject::Subject;

/// A schema, relationships, and what is expected of them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The schema.
    pub schema: Arc<Schema>,
    /// What is stored.
    pub relationships: Vec<Relationship>,
    /// What is expected.
    pub tests: Vec<Test>,
}

/// Expectations that go together.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its name; empty in a validation file, which has one test.
    pub name: String,
    /// What is stored for this test only.
    pub relationships: Vec<Relationship>,
    /// What is expected.
    pub expectations: Vec<Expectation>,
}

/// A question and its answer.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The line of the file on which it stands.
    pub line: usize,
    /// The question.
    pub question: Question,
    /// Values for conditions.
    pub context: Map<String, Value>,
    /// The answer.
    pub answer: Answer,
}

/// What can be asked in a file of expectations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Does the subject hold the permission on the object?
    Check {
        /// The object.
        object: Object,
        /// Its relation or permission.
        permission: String,
        /// The subject.
        subject: Subject,
    },
    /// On which objects does the subject hold it?
    Objects {
        /// Of this type.
        object_type: String,
        /// Their relation or permission.
        permission: String,
        /// The subject.
        subject: Subject,
    },
    /// Which subjects hold it on the object?
    Subjects {
        /// The object.
        object: Object,
        /// Its relation or permission.
        permission: String,
        /// Types, or usersets of a type and a relation.
        filters: Vec<(String, Option<String>)>,
    },
}

impl Question {
    /// Whether what a relationship says is so.
    pub fn check(relationship: &Relationship) -> Self {
        Self::Check {
            object: relationship.object().clone(),
            permission: relationship.relation().to_owned(),
            subject: relationship.subject().clone(),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check { object, permission, subject } => write!(f, "{object}#{permission}@{subject}"),
            Self::Objects { object_type, permission, subject } => {
                write!(f, "objects of {object_type}#{permission}@{subject}")
            }
            Self::Subjects { object, permission, filters } => {
                let filters: Vec<String> = filters
                    .iter()
                    .map(|(name, relation)| match relation {
                        Some(relation) => format!("{name}#{relation}"),
                        None => name.clone(),
                    })
                    .collect();
                write!(f, "subjects of {object}#{permission}@{}", filters.join(","))
            }
        }
    }
}

/// An answer, expected or given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The subject holds it.
    Allowed,
    /// The subject does not hold it.
    Denied,
    /// That depends on values that are missing.
    Conditional,
    /// These objects, or subjects.
    List(BTreeSet<String>),
    /// There is no answer, for this reason.
    Error(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Denied => f.write_str("denied"),
            Self::Conditional => f.write_str("conditional"),
            Self::List(list) if list.is_empty() => f.write_str("none"),
            Self::List(list) => f.write_str(&list.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
            Self::Error(reason) => write!(f, "no answer: {reason}"),
        }
    }
}

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Name of the test.
    pub test: String,
    /// The line of the file.
    pub line: usize,
    /// The question, with its context.
    pub question: String,
    /// What was expected.
    pub expected: Answer,
    /// What is so.
    pub given: Answer,
}

/// What came of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Expectations that were met.
    pub passed: usize,
    /// Those that were not.
    pub failures: Vec<Failure>,
    /// Relationships that the schema has no place for: the expectations say nothing about them.
    pub misplaced: Vec<Relationship>,
}

/// Which family a YAML file is of.
#[derive(Deserialize)]
struct Keys {
    model: Option<IgnoredAny>,
    model_file: Option<IgnoredAny>,
    #[serde(rename = "schemaFile")]
    schema_file: Option<IgnoredAny>,
    schema: Option<IgnoredAny>,
}

impl Scenario {
    /// Reads a store file of OpenFGA (`.fga.yaml`) or a validation file of SpiceDB's `zed`; which one it is, its keys
    /// tell. `files` is asked for what the file names, by its path from the folder of the file.
    ///
    /// # How is a model tested in CI?
    ///
    /// ```
    /// use formwork_authz::files::Scenario;
    ///
    /// let file = r#"
    /// schema: |-
    ///   definition user {}
    ///   definition document { relation viewer: user }
    /// relationships: document:7#viewer@user:anna
    /// assertions:
    ///   assertTrue: ["document:7#viewer@user:anna"]
    ///   assertFalse: ["document:7#viewer@user:anna"]
    /// "#;
    /// let report = Scenario::read("app.yaml", file, &mut |_| None)?.run();
    /// assert_eq!(report.passed, 1);
    /// let failure = &report.failures[0];
    /// assert_eq!((failure.line, failure.question.as_str()), (8, "document:7#viewer@user:anna"));
    /// # Ok::<(), formwork_authz::files::FileError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FileError`] with every fault of the file and of what it names.
    pub fn read(
        name: &str,
        text: &str,
        files: &mut dyn FnMut(&str) -> Option<String>,
    ) -> Result<Self, FileError> {
        let keys: Keys = from_yaml(text).map_err(|error| yaml_fault(name, text, &error))?;
        if keys.model.is_some() || keys.model_file.is_some() {
            openfga::read(name, text)?.scenario(name, text, files)
        } else if keys.schema.is_some() || keys.schema_file.is_some() {
            zed::read(name, text)?.scenario(name, text, files)
        } else {
            let fault = Fault::on(name, "", 0, 1, "this is neither a store file nor a validation file");
            let help = "a store file has `model` or `model_file`, a validation file `schema` or `schemaFile`";
            Err(fault.with_help(help).into())
        }
    }

    /// Asks every question.
    pub fn run(&self) -> Report {
        let mut report = Report::default();
        for test in &self.tests {
            let stored = self.relationships.iter().chain(&test.relationships).cloned();
            let graph = Graph::load(Arc::clone(&self.schema), stored.clone());
            if graph.ignored() > 0 {
                for one in stored.filter(|one| !self.has_place_for(one)) {
                    if !report.misplaced.contains(&one) {
                        report.misplaced.push(one);
                    }
                }
            }
            for expectation in &test.expectations {
                let given = expectation.ask(&graph);
                if given == expectation.answer {
                    report.passed += 1;
                    continue;
                }
                let mut question = expectation.question.to_string();
                if !expectation.context.is_empty() {
                    let context = Value::Object(expectation.context.clone());
                    question.push_str(&format!(" with {context}"));
                }
                let (test, line, expected) =
                    (test.name.clone(), expectation.line, expectation.answer.clone());
                report.failures.push(Failure { test, line, question, expected, given });
            }
        }
        report
    }

    fn has_place_for(&self, relationship: &Relationship) -> bool {
        Graph::load(Arc::clone(&self.schema), [relationship.clone()]).ignored() == 0
    }
}

impl Expectation {
    fn ask(&self, graph: &Graph) -> Answer {
        let context = Context::from(self.context.clone());
        match self.question.ask(graph, &context) {
            Ok(answer) => answer,
            Err(error) => Answer::Error(error),
        }
    }
}

impl Question {
    /// The answer of a graph; a list that depends on missing values is none.
    pub(crate) fn ask(&self, graph: &Graph, context: &Context) -> Result<Answer, String> {
        let mut found = BTreeSet::new();
        let conditional = |is_empty: bool| match is_empty {
            true => Ok(()),
            false => Err("some depend on values that are missing".to_owned()),
        };
        match self {
            Self::Check { object, permission, subject } => {
                let decision = graph.check_in(context, subject, permission, object);
                return Ok(match decision.map_err(|error| error.to_string())? {
                    Decision::Allowed => Answer::Allowed,
                    Decision::Denied => Answer::Denied,
                    Decision::Conditional { .. } => Answer::Conditional,
                });
            }
            Self::Objects { object_type, permission, subject } => {
                let page =
                    graph.lookup_objects_in(context, subject, permission, object_type, None, usize::MAX);
                let page = page.map_err(|error| error.to_string())?;
                conditional(page.conditional.is_empty())?;
                found.extend(page.items.iter().map(ToString::to_string));
            }
            Self::Subjects { object, permission, filters } => {
                for (name, relation) in filters {
                    let wanted = (name.as_str(), relation.as_deref());
                    let page = graph.lookup_subjects(context, object, permission, wanted, None, usize::MAX);
                    let page = page.map_err(|error| error.to_string())?;
                    conditional(page.conditional.is_empty())?;
                    found.extend(page.items.iter().map(|found| found.subject.to_string()));
                }
            }
        }
        Ok(Answer::List(found))
    }
}
