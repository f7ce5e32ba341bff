//! Many questions as JSON lines, answered in their order.
//!
//! What the graph knows is looked up in the line as it stands, and nothing is copied. A line that cannot be answered gets an
//! error for an answer, so that the n-th answer is always that of the n-th question.

use std::borrow::Cow;
use std::io::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::search::{Question, Search, Target};
use crate::name::WILDCARD;
use crate::object::Object;
use crate::subject::Subject;

/// How many lines were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answered {
    /// Answers, errors among them.
    pub answers: usize,
    /// Errors.
    pub errors: usize,
    /// Lines, blank ones among them.
    pub lines: usize,
}

impl std::ops::AddAssign for Answered {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.errors += other.errors;
        self.lines += other.lines;
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    object: Cow<'a, str>,
    #[serde(borrow)]
    permission: Cow<'a, str>,
    #[serde(borrow)]
    subject: Cow<'a, str>,
    context: Option<Map<String, Value>>,
}

impl Graph {
    /// Answers questions of the form `{"object", "permission", "subject", "context"}`, one a line, in their order:
    /// `{"decision":"allowed"}`, `"denied"`, or `"conditional"` with the names that are `"missing"`; where there is no
    /// answer `{"error":"...","line":17}`. Blank lines are left out; values of a question's own context win over those of
    /// `context`. The lines are counted from `first_line`.
    ///
    /// ```
    /// use formwork_authz::{Context, Graph, Schema};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition document { relation viewer: user }
    ///     ")?,
    ///     ["document:7#viewer@user:anna".parse()?],
    /// );
    /// let questions = br#"{"object":"document:7","permission":"viewer","subject":"user:anna"}
    /// {"object":"document:7","permission":"viewer","subject":"user:bob"}
    /// {"object":"document:7","permission":"viewr","subject":"user:bob"}
    /// "#;
    /// let mut answers = Vec::new();
    /// let answered = graph.answer_json_lines(&Context::new(), questions, 1, &mut answers);
    /// assert_eq!((answered.answers, answered.errors), (3, 1));
    /// assert_eq!(String::from_utf8(answers)?, r#"{"decision":"allowed"}
    /// {"decision":"denied"}
    /// {"error":"`document` has no relation or permission `viewr`, did you mean `viewer`?","line":3}
    /// "#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn answer_json_lines(
        &self,
        context: &Context,
        questions: &[u8],
        first_line: usize,
        answers: &mut Vec<u8>,
    ) -> Answered {
        let mut answered = Answered::default();
        for line in questions.split_inclusive(|&byte| byte == b'\n') {
            answered.lines += 1;
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            answered.answers += 1;
            match self.answer(context, line) {
                Ok(Decision::Allowed) => answers.extend_from_slice(b"{\"decision\":\"allowed\"}\n"),
                Ok(Decision::Denied) => answers.extend_from_slice(b"{\"decision\":\"denied\"}\n"),
                Ok(Decision::Conditional { missing }) => {
                    let missing = json!(&*missing);
                    // Writing to memory does not fail.
                    let _ = writeln!(answers, "{{\"decision\":\"conditional\",\"missing\":{missing}}}");
                }
                Err(reason) => {
                    answered.errors += 1;
                    let error = json!({"error": reason, "line": first_line + answered.lines - 1});
                    let _ = writeln!(answers, "{error}");
                }
            }
        }
        answered
    }

    fn answer(&self, context: &Context, line: &[u8]) -> Result<Decision, String> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
            let text = error.to_string();
            let message = text.split(" at line ").next().unwrap_or(&text);
            format!("{message}, at column {}", error.column())
        })?;
        let own = line.context.filter(|own| !own.is_empty());
        let own =
            own.map(|own| own.into_iter().fold(context.clone(), |all, (name, value)| all.with(name, value)));
        let context = own.as_ref().unwrap_or(context);
        if let Some(question) = self.known_question(&line.subject, &line.permission, &line.object) {
            let decision = Search::new(self, question.target, context).check(question);
            return decision.map_err(|error| error.to_string());
        }
        let subject: Subject = line.subject.parse().map_err(|error| format!("the subject {error}"))?;
        let object: Object = line.object.parse().map_err(|error| format!("the object {error}"))?;
        let decision: Result<_, CheckError> = self.check_in(context, &subject, &line.permission, &object);
        decision.map_err(|error| error.to_string())
    }

    /// The question, where the graph knows every part of it.
    fn known_question(&self, subject: &str, permission: &str, object: &str) -> Option<Question> {
        let (object_type, object_id) = object.split_once(':')?;
        let type_id = self.schema.type_id(object_type)?;
        let sought = self.state.seek(type_id, object_id)?;
        let (subject_type, rest) = subject.split_once(':')?;
        let (subject_id, relation) = match rest.split_once('#') {
            Some((id, relation)) => (id, Some(relation)),
            None => (rest, None),
        };
        if subject_id == WILDCARD {
            return None;
        }
        let subject_type = self.schema.type_id(subject_type)?;
        let number = self.state.find(subject_type, subject_id)?;
        let target = match relation {
            None => Target::object(subject_type, number),
            Some(relation) => {
                Target::userset(self.schema.type_info(subject_type)?.slot_ids.get(relation)?, number)
            }
        };
        let group = self.schema.type_info(type_id)?.slot_ids.get(permission)?;
        Some(Question { target, group, object: sought.number()? })
    }
}
