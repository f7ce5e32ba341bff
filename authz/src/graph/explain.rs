//! Why: the relationships on one way to a "yes", or what was tried before a "no".

use rustc_hash::FxHashSet;

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::guard::Value;
use crate::graph::search::Search;
use crate::graph::solve::{Reason, Solve, key, unkey};
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::SubjectKind;
use crate::schema::program::{Op, ProbeKind};
use crate::subject::Subject;

/// An answer and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The answer.
    pub decision: Decision,
    /// Of what is allowed or conditional: the relationships of one way there, the first ones on the
    /// object itself. A proof as far as relationships can be one: that somebody is not excluded follows
    /// from what is absent.
    pub relationships: Vec<Relationship>,
    /// Everything that was asked on the way to the answer, the question itself first.
    pub tried: Vec<Attempt>,
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
        let mut search = Search::new(self, question.target, context);
        let solve = search.solve_with_reasons(question.object, question.group);
        let root = key(question.group, question.object);
        let value = solve.numbers.get(&root).map_or(Value::No, |&node| solve.value(node));
        let decision = search.decision(value)?;
        let relationships = if value == Value::No { Vec::new() } else { search.prove(&solve, root) };
        let tried = solve.nodes.iter().filter_map(|node| {
            let (group, number) = unkey(node.key);
            let slot = self.schema.slot(group)?;
            let object = match self.state.name(slot.type_id, number) {
                Some(id) => Object::new(self.schema.type_name(slot.type_id).to_owned(), id),
                None => object.clone(),
            };
            let holds = match node.value {
                Value::Yes => Some(true),
                Value::No => Some(false),
                Value::Maybe => None,
            };
            Some(Attempt { object, permission: slot.name.to_string(), holds })
        });
        Ok(Explanation { decision, relationships, tried: tried.collect() })
    }
}

impl Graph {
    /// The relationships of one way to an allowed question, as [`Explanation::relationships`]; otherwise
    /// the decision. Faster than [`Graph::explain`] where the answer is no.
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
        let explanation = self.explain(context, subject, permission, object)?;
        // The clock went on between the two.
        if explanation.decision.is_allowed() {
            Ok(Ok(explanation.relationships))
        } else {
            Ok(Err(explanation.decision))
        }
    }
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
