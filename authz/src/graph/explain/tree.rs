//! From the reasons of a search to a tree that follows the rules of the schema.
//!
//! What holds is told by the reasons of the search, each of which leads only to what held before, so a proof never
//! rests on itself. What does not hold is told by walking the rules: nothing in it holds, so no way through it can be
//! wrong. Both are bounded; what is left out is counted.

use rustc_hash::FxHashSet;

use crate::condition::Outcome;
use crate::graph::explain::step::{Claim, Standing, Step};
use crate::graph::guard::Value;
use crate::graph::search::Search;
use crate::graph::solve::{Reason, Solve, key, unkey};
use crate::object::Object;
use crate::schema::behind::{Behind, Goal};
use crate::schema::program::{Op, ProbeKind};
use crate::schema::{Rule, SubjectKind};

/// Steps below each other; each costs stack.
const MAX_DEPTH: usize = 150;
/// Steps of one tree.
const MAX_STEPS: usize = 5_000;
/// Relationships of one list that are followed in a "no".
const MAX_LIST: usize = 20;

pub(super) struct Tree<'s, 'g> {
    search: &'s mut Search<'g>,
    /// Stands for an object that is not in the graph.
    root: &'s Object,
    opened: FxHashSet<u64>,
    left: usize,
}

pub(super) fn told(value: Value) -> Option<bool> {
    match value {
        Value::Yes => Some(true),
        Value::No => Some(false),
        Value::Maybe => None,
    }
}

impl<'s, 'g> Tree<'s, 'g> {
    pub(super) fn new(search: &'s mut Search<'g>, root: &'s Object) -> Self {
        Self { search, root, opened: FxHashSet::default(), left: MAX_STEPS }
    }

    /// The tree of a node that the search has settled.
    pub(super) fn of(&mut self, solve: &Solve, group: u32, object: u32, value: Value) -> Step {
        match value {
            Value::No => self.refusal(group, object, 0),
            _ => self.proof(solve, key(group, object), 0),
        }
    }

    fn named(&self, type_id: u32, number: u32) -> Object {
        let graph = self.search.graph;
        match graph.state.name(type_id, number) {
            Some(id) => Object::new(graph.schema.type_name(type_id).to_owned(), id),
            None => self.root.clone(),
        }
    }

    /// Whether there is room for what lies below another step.
    fn goes_on(&mut self, depth: usize) -> bool {
        self.left = self.left.saturating_sub(1);
        depth < MAX_DEPTH && self.left > 0 && !self.search.is_too_complex()
    }

    fn stored(&self, slot: u32, object: u32) -> usize {
        let graph = self.search.graph;
        let edges = graph.schema.slot(slot).map_or(&[][..], |info| &info.edges);
        let both = edges.iter().flat_map(|&edge| [(edge, false), (edge, true)]);
        both.map(|(edge, guarded)| graph.state.list(&graph.schema, edge, object, guarded).len()).sum()
    }

    /// The line of a slot.
    fn slot(&self, slot: u32, object: u32, value: Value, below: Vec<Step>) -> Step {
        let schema = &self.search.graph.schema;
        let Some(info) = schema.slot(slot) else { return Step::leaf(Claim::Itself, told(value)) };
        let rule = (info.rule != Rule::This).then(|| schema.rule_text(Behind { slot, rule: &info.rule }));
        let claim = Claim::Permission {
            object: self.named(info.type_id, object),
            permission: info.name.to_string(),
            rule,
            stored: self.stored(slot, object),
            again: false,
        };
        Step { claim, holds: told(value), below }
    }

    /// The line of a group: of a slot, or of an operand.
    fn line(&self, group: u32, object: u32, value: Value, below: Vec<Step>) -> Step {
        let schema = &self.search.graph.schema;
        match schema.behind_group(group) {
            Some(behind) if group as usize >= schema.slots.len() => {
                Step { claim: Claim::Expression(schema.rule_text(behind)), holds: told(value), below }
            }
            _ => self.slot(group, object, value, below),
        }
    }

    /// One way on which the node holds as far as it does.
    fn proof(&mut self, solve: &Solve, at: u64, depth: usize) -> Step {
        let (group, object) = unkey(at);
        let node = solve.numbers.get(&at).and_then(|&number| solve.nodes.get(number as usize));
        let (value, reason) = node.map_or((Value::No, None), |node| (node.value, node.reason));
        let Some(reason) = reason.filter(|_| self.goes_on(depth)) else {
            return self.line(group, object, value, Vec::new());
        };
        let graph = self.search.graph;
        let schema = &graph.schema;
        let Some(behind) = schema.behind_group(group) else {
            return self.line(group, object, value, Vec::new());
        };
        let slot_of = |edge: u32| schema.edge(edge).map_or(0, |info| info.slot);
        let (way, below) = match reason {
            Reason::Itself => {
                let covered =
                    schema.group(group).is_some_and(|group| group.covers.contains(&self.search.target.slot));
                let apart = covered && group != self.search.target.slot;
                let way = if apart {
                    schema.way_to(behind, Goal::Slot(self.search.target.slot))
                } else {
                    Vec::new()
                };
                (way, vec![Step::leaf(Claim::Itself, Some(true))])
            }
            Reason::Listed(probe) => {
                let subject = if probe.kind == ProbeKind::Everyone { 0 } else { self.search.target.object };
                let way = schema.way_to(behind, Goal::Stored(slot_of(probe.edge)));
                (way, self.relationship(probe.edge, object, subject, Vec::new()).into_iter().collect())
            }
            Reason::Walked { walk, object: next } => {
                let slot = slot_of(walk.edge);
                let covers = schema.group(group).is_some_and(|group| group.covers.contains(&slot));
                let userset = schema.edge(walk.edge).map(|info| info.subject)
                    == Some(SubjectKind::Userset(walk.target));
                let goal = if userset && covers { Goal::Stored(slot) } else { Goal::Arrow(slot) };
                let below = self.proof(solve, key(walk.target, next), depth + 2);
                let step = self.relationship(walk.edge, object, next, vec![below]);
                (schema.way_to(behind, goal), step.into_iter().collect())
            }
            Reason::Op(pending) => {
                let Some(pending) = solve.ops.get(pending as usize) else {
                    return self.line(group, object, value, Vec::new());
                };
                let Some(expression) = schema.behind_op(pending.op) else {
                    return self.line(group, object, value, Vec::new());
                };
                let way = schema.way_to(behind, Goal::Rule(expression.rule));
                let last =
                    way.last().and_then(|&slot| schema.slot(slot)).map_or(behind.rule, |info| &info.rule);
                let below = self.operands(solve, pending.op, object, depth + 1);
                if std::ptr::eq(last, expression.rule) {
                    (way, below)
                } else {
                    let claim = Claim::Expression(schema.rule_text(expression));
                    (way, vec![Step { claim, holds: told(value), below }])
                }
            }
        };
        let below = way.iter().rev().fold(below, |below, &slot| vec![self.slot(slot, object, value, below)]);
        self.line(group, object, value, below)
    }

    /// The operands of an operation that holds.
    fn operands(&mut self, solve: &Solve, op: u32, object: u32, depth: usize) -> Vec<Step> {
        let graph = self.search.graph;
        match graph.schema.op(op) {
            Some(Op::Both { require, except, .. }) => {
                let mut steps: Vec<Step> =
                    require.iter().map(|&group| self.proof(solve, key(group, object), depth)).collect();
                for &group in except {
                    let value = self.search.solve(object, group);
                    let below = match value {
                        // That nobody is excluded needs no tree.
                        Value::No => self.line(group, object, value, Vec::new()),
                        _ => self.anew(group, object, depth),
                    };
                    steps.push(Step { claim: Claim::Except, holds: told(value), below: vec![below] });
                }
                steps
            }
            Some(Op::When { group, condition }) => {
                vec![self.proof(solve, key(*group, object), depth), self.condition(*condition)]
            }
            Some(Op::All(walks)) => {
                let mut steps = Vec::new();
                for walk in walks {
                    let list = graph.state.list(&graph.schema, walk.edge, object, walk.guarded);
                    for next in list.iter().take(MAX_LIST) {
                        let below =
                            walk.target.map(|target| match solve.numbers.contains_key(&key(target, next)) {
                                true => self.proof(solve, key(target, next), depth + 1),
                                false => self.anew(target, next, depth + 1),
                            });
                        steps.extend(self.relationship(walk.edge, object, next, below.into_iter().collect()));
                    }
                    if list.len() > MAX_LIST {
                        steps.push(Step::leaf(Claim::More(list.len() - MAX_LIST), Some(true)));
                    }
                }
                steps
            }
            None => Vec::new(),
        }
    }

    /// What a search of its own says: for what is excluded, and what this search did not look at.
    fn anew(&mut self, group: u32, object: u32, depth: usize) -> Step {
        let value = self.search.solve(object, group);
        if value == Value::No {
            return self.refusal(group, object, depth);
        }
        let solve = self.search.reasons(object, group);
        self.proof(&solve, key(group, object), depth)
    }

    /// What was tried in vain.
    fn refusal(&mut self, group: u32, object: u32, depth: usize) -> Step {
        let value = self.search.solve(object, group);
        if value == Value::Maybe {
            return self.anew(group, object, depth);
        }
        let mut line = self.line(group, object, value, Vec::new());
        if value == Value::Yes || !self.goes_on(depth) {
            return line;
        }
        if !self.opened.insert(key(group, object)) {
            if let Claim::Permission { again, rule, stored, .. } = &mut line.claim {
                *again = rule.is_some() || *stored > 0;
            }
            return line;
        }
        if let Some(behind) = self.search.graph.schema.behind_group(group) {
            line.below = self.ways(behind, object, depth + 1);
        }
        line
    }

    /// Everything that a rule has to offer.
    fn ways(&mut self, behind: Behind<'g>, object: u32, depth: usize) -> Vec<Step> {
        let schema = &self.search.graph.schema;
        match behind.rule {
            Rule::Nil | Rule::Itself => Vec::new(),
            Rule::This => self.holders(behind.slot, object, depth),
            Rule::Slot(slot) => vec![self.refusal(*slot, object, depth)],
            Rule::Union(rules) => {
                let mut steps = Vec::new();
                for rule in rules {
                    let part = Behind { slot: behind.slot, rule };
                    let ways = self.ways(part, object, depth);
                    let is_op = schema.op_of(part).is_some();
                    match is_op {
                        true => steps.push(Step {
                            claim: Claim::Expression(schema.rule_text(part)),
                            holds: Some(false),
                            below: ways,
                        }),
                        false => steps.extend(ways),
                    }
                }
                steps
            }
            Rule::Arrow { relation, all: false, targets } => self.parents(*relation, targets, object, depth),
            _ => match schema.op_of(behind) {
                Some(op) => self.failed(op, object, depth),
                None => Vec::new(),
            },
        }
    }

    /// The stored relationships that might have led to the subject.
    fn holders(&mut self, slot: u32, object: u32, depth: usize) -> Vec<Step> {
        let graph = self.search.graph;
        let target = self.search.target;
        let (mut steps, mut left_out) = (Vec::new(), 0);
        for &edge in graph.schema.slot(slot).map_or(&[][..], |info| &info.edges) {
            for guarded in [false, true] {
                let list = graph.state.list(&graph.schema, edge, object, guarded);
                match graph.schema.edge(edge).map(|info| info.subject) {
                    // It is there and does not count.
                    Some(SubjectKind::Object(kind))
                        if kind == target.plain && list.contains(target.object) =>
                    {
                        steps.extend(self.relationship(edge, object, target.object, Vec::new()));
                    }
                    Some(SubjectKind::Wildcard(kind)) if kind == target.everyone && !list.is_empty() => {
                        steps.extend(self.relationship(edge, object, 0, Vec::new()));
                    }
                    Some(SubjectKind::Userset(holder)) => {
                        for next in list.iter().take(MAX_LIST) {
                            let below = self.refusal(holder, next, depth + 1);
                            steps.extend(self.relationship(edge, object, next, vec![below]));
                        }
                        left_out += list.len().saturating_sub(MAX_LIST);
                    }
                    _ => {}
                }
            }
        }
        if left_out > 0 {
            steps.push(Step::leaf(Claim::More(left_out), Some(false)));
        }
        steps
    }

    /// The objects over which an arrow leads.
    fn parents(&mut self, relation: u32, targets: &[(u32, u32)], object: u32, depth: usize) -> Vec<Step> {
        let graph = self.search.graph;
        let (mut steps, mut left_out) = (Vec::new(), 0);
        let Some(info) = graph.schema.slot(relation) else { return steps };
        for &edge in &info.edges {
            let lanes = graph.schema.program.layout.edge(edge);
            let target = targets.iter().find(|(type_id, _)| *type_id == lanes.subject_type);
            let Some(&(_, target)) = target.filter(|_| !lanes.wildcard) else { continue };
            for guarded in [false, true] {
                let list = graph.state.list(&graph.schema, edge, object, guarded);
                for next in list.iter().take(MAX_LIST) {
                    let below = self.refusal(target, next, depth + 1);
                    steps.extend(self.relationship(edge, object, next, vec![below]));
                }
                left_out += list.len().saturating_sub(MAX_LIST);
            }
        }
        if left_out > 0 {
            steps.push(Step::leaf(Claim::More(left_out), Some(false)));
        }
        if steps.is_empty() {
            let (object, relation) = (self.named(info.type_id, object), info.name.to_string());
            steps.push(Step::leaf(Claim::NothingStored { object, relation }, Some(false)));
        }
        steps
    }

    /// The operands of an operation that does not hold.
    fn failed(&mut self, op: u32, object: u32, depth: usize) -> Vec<Step> {
        let graph = self.search.graph;
        match graph.schema.op(op) {
            Some(Op::Both { require, except, .. }) => {
                let mut steps: Vec<Step> =
                    require.iter().map(|&group| self.refusal(group, object, depth)).collect();
                for &group in except {
                    let below = match self.search.solve(object, group) {
                        Value::No => self.line(group, object, Value::No, Vec::new()),
                        _ => self.anew(group, object, depth),
                    };
                    steps.push(Step { claim: Claim::Except, holds: below.holds, below: vec![below] });
                }
                steps
            }
            Some(Op::When { group, condition }) => {
                vec![self.refusal(*group, object, depth), self.condition(*condition)]
            }
            Some(Op::All(walks)) => {
                let mut steps = Vec::new();
                for walk in walks {
                    let list = graph.state.list(&graph.schema, walk.edge, object, walk.guarded);
                    // Those on which it does not hold are what matters.
                    let mut shown = 0;
                    for next in list.iter() {
                        let holds = walk.target.map_or(Value::No, |target| self.search.solve(next, target));
                        if holds != Value::Yes && shown < MAX_LIST {
                            let below = walk.target.map(|target| self.refusal(target, next, depth + 1));
                            steps.extend(self.relationship(
                                walk.edge,
                                object,
                                next,
                                below.into_iter().collect(),
                            ));
                            shown += 1;
                        }
                    }
                    if list.len() > shown {
                        steps.push(Step::leaf(Claim::More(list.len() - shown), Some(true)));
                    }
                }
                if let Some((walk, _)) = walks.first().zip(steps.is_empty().then_some(())) {
                    let slot = graph.schema.edge(walk.edge).and_then(|info| graph.schema.slot(info.slot));
                    let (type_id, relation) = slot.map_or((0, ""), |info| (info.type_id, &info.name));
                    let object = self.named(type_id, object);
                    let claim = Claim::NothingStored { object, relation: relation.to_owned() };
                    steps.push(Step::leaf(claim, Some(false)));
                }
                steps
            }
            None => Vec::new(),
        }
    }

    fn relationship(&mut self, edge: u32, object: u32, subject: u32, below: Vec<Step>) -> Option<Step> {
        let relationship = self.search.graph.relationship(edge, object, subject)?;
        let standing = self.search.standing(edge, object, subject);
        let counts = match &standing {
            Standing::Counts => Value::Yes,
            Standing::Expired | Standing::Unmet => Value::No,
            Standing::Missing(_) | Standing::Fault(_) => Value::Maybe,
        };
        let leads = match below.first().map(|step| step.holds) {
            None | Some(Some(true)) => Value::Yes,
            Some(Some(false)) => Value::No,
            Some(None) => Value::Maybe,
        };
        let claim = Claim::Relationship { relationship, standing };
        Some(Step { claim, holds: told(counts.min(leads)), below })
    }

    fn condition(&mut self, id: u32) -> Step {
        let graph = self.search.graph;
        let Some(condition) = graph.schema.condition(id) else { return Step::leaf(Claim::Itself, None) };
        let (holds, missing) = match condition.evaluate(None, self.search.context.values()) {
            Outcome::Holds => (Some(true), Vec::new()),
            Outcome::Fails => (Some(false), Vec::new()),
            Outcome::Missing(places) => {
                (None, places.into_iter().map(|at| condition.parameter(at).to_owned()).collect())
            }
            Outcome::Fault(_) => (None, Vec::new()),
        };
        Step::leaf(Claim::Condition { name: condition.name().to_owned(), missing }, holds)
    }
}

impl Search<'_> {
    /// Whether a stored relationship counts, and if not, why.
    fn standing(&mut self, edge: u32, object: u32, subject: u32) -> Standing {
        let graph = self.graph;
        let Some(guard) = graph.state.guards.get((edge, object, subject)) else { return Standing::Counts };
        if guard.expires_at.is_some_and(|time| time <= self.now()) {
            return Standing::Expired;
        }
        let Some(condition) = guard.condition.and_then(|id| graph.schema.condition(id)) else {
            return Standing::Counts;
        };
        let outcome = match &guard.bound {
            Ok(bound) => condition.evaluate(Some(bound), self.context.values()),
            Err(fault) => Outcome::Fault(fault.clone()),
        };
        match outcome {
            Outcome::Holds => Standing::Counts,
            Outcome::Fails => Standing::Unmet,
            Outcome::Missing(places) => {
                Standing::Missing(places.into_iter().map(|at| condition.parameter(at).to_owned()).collect())
            }
            Outcome::Fault(fault) => Standing::Fault(fault.to_string()),
        }
    }
}
