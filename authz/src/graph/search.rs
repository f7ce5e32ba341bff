//! One subject, one context: the quick way to an answer.
//!
//! The quick way follows the programs directly and remembers nothing. Most questions are answered
//! within a few steps; one that is not (a cycle, a deep hierarchy, many branches) runs out of its
//! steps and is asked again in [`solve`](super::solve), which visits everything once. So the quick way
//! needs no table of what it has seen, and its answer counts only when it came to an end.

use rustc_hash::FxHashMap;

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::closure::TOO_MANY;
use crate::graph::guard::Value;
use crate::graph::solve::Solve;
use crate::graph::table::Record;
use crate::graph::weigh::Notes;
use crate::schema::program::{Group, NO_LANE, Op, Probe, ProbeKind};

/// Steps of the quick way; each is about one cache line.
const STEPS: u32 = 1_500;
/// How deep the quick way goes: it recurses.
const DEPTH: u32 = 48;
/// No type, or no slot.
const NONE: u32 = u32::MAX;

/// Who is asked about, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target {
    /// The type whose lists may have the subject itself.
    pub(super) plain: u32,
    /// The type whose wildcards hold for the subject.
    pub(super) everyone: u32,
    /// The relation or permission of a userset.
    pub(super) slot: u32,
    pub(super) object: u32,
}

impl Target {
    pub(super) fn object(type_id: u32, object: u32) -> Self {
        Self { plain: type_id, everyone: type_id, slot: NONE, object }
    }

    pub(super) fn userset(slot: u32, object: u32) -> Self {
        Self { plain: NONE, everyone: NONE, slot, object }
    }

    pub(super) fn everyone(type_id: u32) -> Self {
        Self { plain: NONE, everyone: type_id, slot: NONE, object: super::ids::ABSENT_SUBJECT }
    }
}

/// What is asked, in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) target: Target,
    pub(super) group: u32,
    pub(super) object: u32,
}

/// The questions about one subject in one snapshot and one context.
pub(super) struct Search<'g> {
    pub(super) graph: &'g Graph,
    pub(super) target: Target,
    pub(super) context: &'g Context,
    pub(super) now: Option<i64>,
    steps: u32,
    /// The quick way came to no end.
    spent: bool,
    /// The flat relations of the subject, once they have been looked for.
    members: Option<Option<Record<'g>>>,
    pub(super) notes: Notes,
    /// Nodes whose value has been settled; the quick way does not fill it.
    pub(super) known: FxHashMap<u64, Value>,
    /// Nodes under an exclusion that is being decided.
    pub(super) excluding: Vec<u64>,
    /// How often one of them was met again, on a way that leads back to it.
    pub(super) cycles: usize,
    pub(super) nodes: usize,
    pub(super) spare: Vec<Solve>,
}

impl<'g> Search<'g> {
    pub(super) fn new(graph: &'g Graph, target: Target, context: &'g Context) -> Self {
        Self {
            graph,
            target,
            context,
            now: None,
            steps: STEPS,
            spent: false,
            members: None,
            notes: Notes::default(),
            known: FxHashMap::default(),
            excluding: Vec::new(),
            cycles: 0,
            nodes: 0,
            spare: Vec::new(),
        }
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    pub(super) fn check(&mut self, question: Question) -> Result<Decision, CheckError> {
        let value = self.decide(question.object, question.group);
        self.decision(value)
    }

    /// Does the subject hold the group on the object?
    pub(super) fn decide(&mut self, object: u32, group: u32) -> Value {
        self.begin();
        let Some(found) = self.graph.schema.group(group) else { return Value::No };
        (self.steps, self.spent, self.nodes) = (STEPS, false, 0);
        let value = self.quick(object, found, DEPTH);
        if !self.spent {
            return value;
        }
        self.begin();
        self.forget_others();
        self.solve(object, group)
    }

    /// The subject's flat relations; `None` when it has none that are kept.
    #[inline]
    pub(super) fn members(&mut self) -> Option<Record<'g>> {
        if self.members.is_none() {
            let target = self.target;
            let record =
                (target.plain != NONE).then(|| self.graph.state.members_record(target.plain, target.object));
            self.members = Some(record.filter(|record| !record.list(0).contains(TOO_MANY)));
        }
        self.members.flatten()
    }

    /// Whether the subject is the very userset or object that the group is about.
    #[inline]
    pub(super) fn is_itself(&self, object: u32, group: &Group) -> bool {
        object == self.target.object
            && (group.covers.contains(&self.target.slot)
                || (group.itself && self.target.plain == group.type_id))
    }

    #[inline]
    pub(super) fn hits(&self, record: Record<'g>, probe: &Probe) -> bool {
        match probe.kind {
            ProbeKind::Member => {
                self.target.plain == probe.type_id && record.list(probe.lane).contains(self.target.object)
            }
            ProbeKind::Everyone => {
                self.target.everyone == probe.type_id && !record.list(probe.lane).is_empty()
            }
        }
    }

    /// How far a guarded relationship with the subject itself holds.
    pub(super) fn guarded_hit(&mut self, record: Record<'g>, object: u32, probe: &Probe) -> Value {
        if !self.hits(record, probe) {
            return Value::No;
        }
        let subject = if probe.kind == ProbeKind::Everyone { 0 } else { self.target.object };
        self.guard((probe.edge, object, subject))
    }

    fn quick(&mut self, object: u32, group: &'g Group, depth: u32) -> Value {
        if self.steps == 0 || depth == 0 {
            self.spent = true;
            return Value::No;
        }
        self.steps -= 1;
        if self.is_itself(object, group) {
            return Value::Yes;
        }
        if group.flat != NO_LANE
            && let Some(members) = self.members()
        {
            return if members.list(group.flat).contains(object) { Value::Yes } else { Value::No };
        }
        let record = self.graph.state.record(group.type_id, object);
        if group.probes.iter().any(|probe| self.hits(record, probe)) {
            return Value::Yes;
        }
        let mut best = Value::No;
        for probe in &group.guarded {
            best = best.max(self.guarded_hit(record, object, probe));
        }
        for walk in &group.walks {
            if best == Value::Yes || self.spent {
                return best;
            }
            let list = record.list(walk.lane);
            if list.is_empty() {
                continue;
            }
            if walk.flat != NO_LANE
                && let Some(members) = self.members()
            {
                if list.meets(members.list(walk.flat)) {
                    return Value::Yes;
                }
                continue;
            }
            let Some(target) = self.graph.schema.group(walk.target) else { continue };
            for next in list.iter() {
                let cap = if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
                if cap > best {
                    best = best.max(cap.min(self.quick(next, target, depth - 1)));
                    if best == Value::Yes || self.spent {
                        return best;
                    }
                }
            }
        }
        for &op in &group.ops {
            if best == Value::Yes || self.spent {
                return best;
            }
            best = best.max(self.quick_op(object, op, record, depth));
        }
        best
    }

    fn quick_op(&mut self, object: u32, op: u32, record: Record<'g>, depth: u32) -> Value {
        let schema = &self.graph.schema;
        let ask = |search: &mut Self, object: u32, group: u32| match schema.group(group) {
            Some(group) => search.quick(object, group, depth - 1),
            None => Value::No,
        };
        match schema.op(op) {
            None => Value::No,
            Some(Op::Both { require, except, except_first }) => {
                let mut value = Value::Yes;
                if *except_first {
                    for &group in except {
                        value = value.min(ask(self, object, group).not());
                    }
                }
                for &group in require {
                    if value == Value::No || self.spent {
                        return Value::No;
                    }
                    value = value.min(ask(self, object, group));
                }
                for &group in except.iter().filter(|_| !except_first) {
                    if value == Value::No || self.spent {
                        return Value::No;
                    }
                    value = value.min(ask(self, object, group).not());
                }
                value
            }
            Some(Op::When { group, condition }) => match ask(self, object, *group) {
                Value::No => Value::No,
                value => value.min(self.condition(*condition)),
            },
            Some(Op::All(walks)) => {
                let (mut exists, mut all) = (Value::No, Value::Yes);
                for walk in walks {
                    for next in record.list(walk.lane).iter() {
                        let counts =
                            if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
                        if counts != Value::No {
                            let holds = walk.target.map_or(Value::No, |target| ask(self, next, target));
                            exists = exists.max(counts.min(holds));
                            all = all.min(counts.not().max(holds));
                        }
                        if all == Value::No || self.spent {
                            return Value::No;
                        }
                    }
                }
                exists.min(all)
            }
        }
    }
}
