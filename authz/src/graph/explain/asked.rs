//! A proof found by asking, step by step, where reasons cannot be followed.
//!
//! A check that ends without meeting a cycle has gone down a finite tree, and each step of it is a check that ends as
//! well. So asking for each part of a rule whether it holds, and never going where the way has been, finds that tree.

use rustc_hash::FxHashSet;

use crate::context::Context;
use crate::decision::Decision;
use crate::graph::Graph;
use crate::graph::explain::Found;
use crate::graph::explain::step::{Claim, Standing, Step};
use crate::graph::guard::Value;
use crate::graph::search::{Question, Search, Target};
use crate::graph::solve::{Solve, key};
use crate::object::Object;
use crate::schema::behind::Behind;
use crate::schema::program::Op;
use crate::schema::{Rule, SubjectKind};

/// Questions of one proof.
const MAX_ASKED: usize = 20_000;
/// Steps below each other; each costs stack.
const MAX_DEPTH: usize = 150;

impl Graph {
    pub(super) fn found_by_asking(
        &self,
        context: &Context,
        question: Question,
        object: &Object,
        decision: Decision,
        solve: Solve,
    ) -> Found {
        let Question { target, group, object: number } = question;
        let value = match &decision {
            Decision::Allowed => Value::Yes,
            Decision::Denied => Value::No,
            Decision::Conditional { .. } => Value::Maybe,
        };
        let mut asking =
            Asking { graph: self, target, context, root: object, way: FxHashSet::default(), left: MAX_ASKED };
        let proof = if value == Value::Yes { asking.group(group, number, 0) } else { None };
        let tree = proof.unwrap_or_else(|| asking.line(group, number, value, Vec::new()));
        let mut relationships = Vec::new();
        tree.relationships(&mut relationships);
        Found { decision, value, solve, relationships, tree: Some(tree) }
    }
}

struct Asking<'g> {
    graph: &'g Graph,
    target: Target,
    context: &'g Context,
    root: &'g Object,
    /// Where this way has been.
    way: FxHashSet<u64>,
    left: usize,
}

impl<'g> Asking<'g> {
    fn value(&mut self, group: u32, object: u32) -> Value {
        self.left = self.left.saturating_sub(1);
        Search::new(self.graph, self.target, self.context).decide(object, group)
    }

    fn named(&self, type_id: u32, number: u32) -> Object {
        match self.graph.state.name(type_id, number) {
            Some(id) => Object::new(self.graph.schema.type_name(type_id).to_owned(), id),
            None => self.root.clone(),
        }
    }

    fn line(&self, group: u32, object: u32, value: Value, below: Vec<Step>) -> Step {
        let schema = &self.graph.schema;
        let holds = super::told(value);
        let claim = match (schema.slot(group), schema.behind_group(group)) {
            (Some(info), behind) => Claim::Permission {
                object: self.named(info.type_id, object),
                permission: info.name.to_string(),
                rule: behind
                    .filter(|behind| *behind.rule != Rule::This)
                    .map(|behind| schema.rule_text(behind)),
                stored: 0,
                again: false,
            },
            (None, Some(behind)) => Claim::Expression(schema.rule_text(behind)),
            (None, None) => Claim::Itself,
        };
        Step { claim, holds, below }
    }

    fn group(&mut self, group: u32, object: u32, depth: usize) -> Option<Step> {
        let at = key(group, object);
        if self.left == 0 || depth > MAX_DEPTH || !self.way.insert(at) {
            return None;
        }
        let found = match self.value(group, object) {
            Value::Yes => self.below(group, object, depth),
            _ => None,
        };
        self.way.remove(&at);
        Some(self.line(group, object, Value::Yes, found?))
    }

    fn below(&mut self, group: u32, object: u32, depth: usize) -> Option<Vec<Step>> {
        let schema = &self.graph.schema;
        let is_slot = schema.slot(group).is_some() && group == self.target.slot;
        if object == self.target.object && is_slot {
            return Some(vec![Step::leaf(Claim::Itself, Some(true))]);
        }
        self.rule(schema.behind_group(group)?, object, depth + 1)
    }

    fn rule(&mut self, behind: Behind<'g>, object: u32, depth: usize) -> Option<Vec<Step>> {
        let schema = &self.graph.schema;
        match behind.rule {
            Rule::Nil | Rule::Itself => None,
            Rule::This => self.stored(behind.slot, object, depth),
            Rule::Slot(slot) => Some(vec![self.group(*slot, object, depth)?]),
            Rule::Union(rules) => {
                rules.iter().find_map(|rule| self.rule(Behind { slot: behind.slot, rule }, object, depth))
            }
            Rule::Arrow { relation, all: false, targets } => {
                let edges = &schema.slot(*relation)?.edges;
                edges.iter().find_map(|&edge| {
                    let kind = schema.program.layout.edge(edge).subject_type;
                    let &(_, target) = targets.iter().find(|(type_id, _)| *type_id == kind)?;
                    self.over(edge, object, target, depth)
                })
            }
            _ => self.operation(schema.op_of(behind)?, object, depth),
        }
    }

    fn stored(&mut self, slot: u32, object: u32, depth: usize) -> Option<Vec<Step>> {
        let graph = self.graph;
        graph.schema.slot(slot)?.edges.iter().find_map(|&edge| {
            let has =
                |guarded, subject| graph.state.list(&graph.schema, edge, object, guarded).contains(subject);
            match graph.schema.edge(edge)?.subject {
                SubjectKind::Object(kind) => {
                    let subject = self.target.object;
                    let is_there = kind == self.target.plain && (has(false, subject) || has(true, subject));
                    self.relationship(edge, object, subject, Vec::new()).filter(|_| is_there)
                }
                SubjectKind::Wildcard(kind) => {
                    let is_there = kind == self.target.everyone && (has(false, 0) || has(true, 0));
                    self.relationship(edge, object, 0, Vec::new()).filter(|_| is_there)
                }
                SubjectKind::Userset(holder) => self.over(edge, object, holder, depth),
            }
        })
    }

    fn over(&mut self, edge: u32, object: u32, target: u32, depth: usize) -> Option<Vec<Step>> {
        let graph = self.graph;
        [false, true].into_iter().find_map(|guarded| {
            graph.state.list(&graph.schema, edge, object, guarded).iter().find_map(|next| {
                self.counts(edge, object, next).then_some(())?;
                let below = self.group(target, next, depth + 1)?;
                self.relationship(edge, object, next, vec![below])
            })
        })
    }

    fn counts(&self, edge: u32, object: u32, subject: u32) -> bool {
        let guarded = self.graph.state.guards.get((edge, object, subject)).is_some();
        !guarded
            || Search::new(self.graph, self.target, self.context).guard((edge, object, subject)) == Value::Yes
    }

    fn relationship(&self, edge: u32, object: u32, subject: u32, below: Vec<Step>) -> Option<Vec<Step>> {
        self.counts(edge, object, subject).then_some(())?;
        let relationship = self.graph.relationship(edge, object, subject)?;
        let claim = Claim::Relationship { relationship, standing: Standing::Counts };
        Some(vec![Step { claim, holds: Some(true), below }])
    }

    /// In an OpenFGA model there is neither `.all()` nor a permission with a condition.
    fn operation(&mut self, op: u32, object: u32, depth: usize) -> Option<Vec<Step>> {
        let Some(Op::Both { require, except, .. }) = self.graph.schema.op(op) else { return None };
        let mut steps = Vec::new();
        for &group in except {
            if self.value(group, object) != Value::No {
                return None;
            }
        }
        for &group in require {
            steps.push(self.group(group, object, depth)?);
        }
        for &group in except {
            let below = vec![self.line(group, object, Value::No, Vec::new())];
            steps.push(Step { claim: Claim::Except, holds: Some(false), below });
        }
        Some(steps)
    }
}
