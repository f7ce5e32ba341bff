//! Why: the relationships on one way to a "yes", or what was tried before a "no".

mod asked;
mod draw;
mod json;
mod remedy;
mod step;
mod text;
mod tree;

use rustc_hash::FxHashSet;

pub use remedy::Remedies;
pub use step::{Claim, Standing, Step};

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::guard::Value;
use crate::graph::search::{Question, Search};
use crate::graph::solve::{Reason, Solve, key, unkey};
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::SubjectKind;
use crate::schema::program::{Op, ProbeKind};
use crate::subject::Subject;
use tree::{Tree, told};

/// An answer and what it rests on.
///
/// As text it is its `Display`, as JSON what it serialises to, and as a picture [`Explanation::to_dot`] and
/// [`Explanation::to_mermaid`]. What would have to change for another answer is told by [`Graph::remedies`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Who was asked about.
    pub subject: Subject,
    /// The relation or permission.
    pub permission: String,
    /// On what.
    pub object: Object,
    /// The answer.
    pub decision: Decision,
    /// Of what is allowed or conditional: the relationships of one way there, the first ones on the
    /// object itself. A proof as far as relationships can be one: that somebody is not excluded follows
    /// from what is absent.
    pub relationships: Vec<Relationship>,
    /// Everything that was asked on the way to the answer, the question itself first.
    pub tried: Vec<Attempt>,
    /// The same along the rules of the schema: of what is allowed or conditional one way there, of what is denied every
    /// way that failed. Of a large one the beginning; [`Claim::More`] counts what is left out of a list, and what lies more
    /// than 150 steps deep is not opened.
    pub tree: Step,
}

/// One relation or permission of one object that was asked about on the way to an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The object.
    pub object: Object,
    /// Its relation or permission.
    pub permission: String,
    /// Whether the subject holds it; `None` when that depends on conditions.
    pub holds: Option<bool>,
}

impl Graph {
    /// Answers as [`Graph::check_in`], and says why.
    ///
    /// # Why may Anna view the document, and Bob not?
    ///
    /// ```
    /// use formwork_authz::{Context, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition team { relation member: user }
    ///         definition document {
    ///             relation viewer: user | team#member
    ///             relation banned: user
    ///             permission view = viewer - banned
    ///         }
    ///     ")?,
    ///     [
    ///         "document:7#viewer@team:eng#member".parse()?,
    ///         "team:eng#member@user:anna".parse()?,
    ///     ],
    /// );
    /// let (context, document) = (Context::new(), Object::new("document", 7));
    /// let anna = graph.explain(&context, &Subject::new("user", "anna"), "view", &document)?;
    /// assert_eq!(anna.to_string(), "\
    /// allowed: user:anna has `view` on document:7
    ///
    /// yes  document:7#view = viewer - banned
    ///      ├─ yes  document:7#viewer, 1 stored
    ///      │       └─ yes  document:7#viewer@team:eng#member
    ///      │               └─ yes  team:eng#member, 1 stored
    ///      │                       └─ yes  team:eng#member@user:anna
    ///      └─ but not
    ///         └─ no   document:7#banned, nothing stored
    /// ");
    /// let bob = graph.explain(&context, &Subject::new("user", "bob"), "view", &document)?;
    /// assert_eq!(bob.to_string(), "\
    /// denied: user:bob does not have `view` on document:7
    ///
    /// no   document:7#view = viewer - banned
    ///      ├─ no   document:7#viewer, 1 stored
    ///      │       └─ no   document:7#viewer@team:eng#member
    ///      │               └─ no   team:eng#member, 1 stored
    ///      └─ but not
    ///         └─ no   document:7#banned, nothing stored
    /// ");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn explain(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Explanation, CheckError> {
        let question = self.question(subject, permission, object)?;
        let Found { decision, value, solve, relationships, tree } = self.find(context, question, object)?;
        let tree = match tree {
            Some(tree) => tree,
            None => {
                let mut search = Search::new(self, question.target, context);
                Tree::new(&mut search, object).of(&solve, question.group, question.object, value)
            }
        };
        let tried = self.attempts(&solve, object);
        Ok(Explanation {
            subject: subject.clone(),
            permission: permission.to_owned(),
            object: object.clone(),
            decision,
            relationships,
            tried,
            tree,
        })
    }

    /// The relationships of one way to an allowed question, as [`Explanation::relationships`]; otherwise
    /// the decision.
    pub(crate) fn prove_allowed(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Result<Vec<Relationship>, Decision>, CheckError> {
        match self.check_in(context, subject, permission, object)? {
            Decision::Allowed => {}
            other => return Ok(Err(other)),
        }
        let found = self.find(context, self.question(subject, permission, object)?, object)?;
        // The clock went on between the two.
        Ok(if found.decision.is_allowed() { Ok(found.relationships) } else { Err(found.decision) })
    }

    /// The answer with its reasons.
    ///
    /// Where exclusions go through cycles, which only an OpenFGA model can have, following every reason may meet a cycle
    /// that the check did not come to, and deny what the check allows. The check is right then, and the way that it
    /// took is asked for step by step.
    fn find(&self, context: &Context, question: Question, object: &Object) -> Result<Found, CheckError> {
        let mut search = Search::new(self, question.target, context);
        let solve = search.solve_with_reasons(question.object, question.group);
        let root = key(question.group, question.object);
        let value = solve.numbers.get(&root).map_or(Value::No, |&node| solve.value(node));
        if self.schema.unstratified {
            let checked = Search::new(self, question.target, context).check(question)?;
            if checked.is_allowed() != (value == Value::Yes) {
                return Ok(self.found_by_asking(context, question, object, checked, solve));
            }
        }
        let decision = search.decision(value)?;
        let relationships = if value == Value::No { Vec::new() } else { search.prove(&solve, root) };
        Ok(Found { decision, value, solve, relationships, tree: None })
    }

    fn attempts(&self, solve: &Solve, object: &Object) -> Vec<Attempt> {
        let tried = solve.nodes.iter().filter_map(|node| {
            let (group, number) = unkey(node.key);
            let slot = self.schema.slot(group)?;
            let object = match self.state.name(slot.type_id, number) {
                Some(id) => Object::new(self.schema.type_name(slot.type_id).to_owned(), id),
                None => object.clone(),
            };
            Some(Attempt { object, permission: slot.name.to_string(), holds: told(node.value) })
        });
        tried.collect()
    }
}

/// An answer, and the search that found it.
struct Found {
    decision: Decision,
    value: Value,
    solve: Solve,
    relationships: Vec<Relationship>,
    /// When the search cannot tell it.
    tree: Option<Step>,
}

impl Search<'_> {
    /// The relationships from which the node follows, the first ones on the object itself.
    fn prove(&self, solve: &Solve, root: u64) -> Vec<Relationship> {
        let mut proof = Vec::new();
        let mut seen = FxHashSet::default();
        let mut todo = vec![root];
        while let Some(key) = todo.pop() {
            if seen.insert(key) {
                self.step(solve, key, &mut proof, &mut todo);
            }
        }
        proof
    }

    fn step(&self, solve: &Solve, at: u64, proof: &mut Vec<Relationship>, todo: &mut Vec<u64>) -> Option<()> {
        let node = solve.nodes.get(*solve.numbers.get(&at)? as usize)?;
        let (_, object) = unkey(at);
        match node.reason? {
            Reason::Itself => {}
            Reason::Listed(probe) => {
                let subject = if probe.kind == ProbeKind::Everyone { 0 } else { self.target.object };
                proof.push(self.graph.relationship(probe.edge, object, subject)?);
            }
            Reason::Walked { walk, object: next } => {
                proof.push(self.graph.relationship(walk.edge, object, next)?);
                todo.push(key(walk.target, next));
            }
            Reason::Op(pending) => {
                let pending = solve.ops.get(pending as usize)?;
                match self.graph.schema.op(pending.op)? {
                    Op::Both { require, .. } => {
                        todo.extend(require.iter().rev().map(|&group| key(group, pending.object)));
                    }
                    Op::When { group, .. } => todo.push(key(*group, pending.object)),
                    Op::All(walks) => {
                        for walk in walks {
                            let list = self.graph.state.list(
                                &self.graph.schema,
                                walk.edge,
                                pending.object,
                                walk.guarded,
                            );
                            for next in list.iter() {
                                proof.push(self.graph.relationship(walk.edge, pending.object, next)?);
                                todo.extend(walk.target.map(|target| key(target, next)));
                            }
                        }
                    }
                }
            }
        }
        Some(())
    }
}

impl Graph {
    /// Numbers back to text, with the terms that are stored.
    pub(super) fn relationship(&self, edge: u32, object: u32, subject: u32) -> Option<Relationship> {
        let info = self.schema.edge(edge)?;
        let slot = self.schema.slot(info.slot)?;
        let named = |type_id: u32, number: u32| {
            Some((self.schema.type_name(type_id).to_owned(), self.state.name(type_id, number)?))
        };
        let (object_type, object_id) = named(slot.type_id, object)?;
        let holder = match info.subject {
            SubjectKind::Wildcard(type_id) => Subject::wildcard(self.schema.type_name(type_id).to_owned()),
            SubjectKind::Object(type_id) => {
                let (subject_type, id) = named(type_id, subject)?;
                Subject::new(subject_type, id)
            }
            SubjectKind::Userset(slot) => {
                let relation = self.schema.slot(slot)?;
                let (subject_type, id) = named(relation.type_id, subject)?;
                Subject::userset(subject_type, id, relation.name.to_string())
            }
        };
        let plain = Relationship::new(Object::new(object_type, object_id), slot.name.to_string(), holder);
        let Some(guard) = self.state.guards.get((edge, object, subject)) else { return Some(plain) };
        let condition = guard.condition.and_then(|id| self.schema.condition(id));
        let context = (!guard.context.is_empty()).then(|| guard.context.to_string());
        let expires_at = guard.expires_at.and_then(chrono::DateTime::from_timestamp_micros);
        Some(plain.with_terms(condition.map(|condition| condition.name().to_owned()), context, expires_at))
    }
}
