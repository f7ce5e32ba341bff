//! One subject, one context: the quick way to an answer.
//!
//! The quick way follows the programs directly and remembers nothing. Most questions are answered
//! within a few steps; one that is not (a cycle, a deep hierarchy, many branches) runs out of its
//! steps and is asked again in [`solve`](super::solve), which visits everything once. So the quick way
//! needs no table of what it has seen, and its answer counts only when it came to an end.

use std::hint::black_box;

use rustc_hash::FxHashMap;

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::closure::TOO_MANY;
use crate::graph::guard::Value;
use crate::graph::list::List;
use crate::graph::record::Record;
use crate::graph::solve::Solve;
use crate::graph::weigh::Notes;
use crate::schema::program::{AllWalk, Group, NO_LANE, Op, Probe, ProbeKind, Walk};

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
    steps: u32,
    /// The quick way came to no end.
    spent: bool,
    members: Members<'g>,
    /// The lane of its last list that was asked for, and the list.
    last: (u32, List<'g>),
    /// What most questions never need.
    pub(super) aside: Option<Box<Aside>>,
}

/// The flat relations of the subject.
enum Members<'g> {
    /// Nobody has looked.
    Unknown,
    Kept(Record<'g>),
    /// They are not kept: groups are walked.
    Walked,
}

/// What conditions and the thorough way keep.
pub(super) struct Aside {
    pub(super) now: Option<i64>,
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

impl Aside {
    #[cold]
    fn new() -> Box<Self> {
        Box::new(Self {
            now: None,
            notes: Notes::default(),
            known: FxHashMap::default(),
            excluding: Vec::new(),
            cycles: 0,
            nodes: 0,
            spare: Vec::new(),
        })
    }
}

impl<'g> Search<'g> {
    #[inline]
    pub(super) fn new(graph: &'g Graph, target: Target, context: &'g Context) -> Self {
        Self {
            graph,
            target,
            context,
            steps: STEPS,
            spent: false,
            members: Members::Unknown,
            last: (NO_LANE, List::EMPTY),
            aside: None,
        }
    }

    pub(super) fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_with(Aside::new)
    }

    pub(super) fn check(&mut self, question: Question) -> Result<Decision, CheckError> {
        let value = self.decide(question.object, question.group);
        self.decision(value)
    }

    /// Does the subject hold the group on the object?
    pub(super) fn decide(&mut self, object: u32, group: u32) -> Value {
        self.begin();
        let Some(found) = self.graph.schema.group(group) else { return Value::No };
        (self.steps, self.spent) = (STEPS, false);
        let value = self.quick(object, found, DEPTH);
        if !self.spent {
            return value;
        }
        self.begin();
        self.aside().nodes = 0;
        self.forget_others();
        self.solve(object, group)
    }

    /// The subject's flat relations; `None` when it has none that are kept.
    #[inline]
    pub(super) fn members(&mut self) -> Option<&Record<'g>> {
        if matches!(self.members, Members::Unknown) {
            self.members = self.find_members();
        }
        match &self.members {
            Members::Kept(record) => Some(record),
            _ => None,
        }
    }

    /// The subject's list of one flat relation; asked again mostly for the same one.
    #[inline]
    fn members_of(&mut self, lane: u32) -> Option<List<'g>> {
        if self.last.0 == lane {
            return Some(self.last.1);
        }
        let list = self.members()?.list(lane);
        self.last = (lane, list);
        Some(list)
    }

    fn find_members(&self) -> Members<'g> {
        let target = self.target;
        if target.plain == NONE || !self.graph.state.is_flat {
            return Members::Walked;
        }
        let record = self.graph.state.members_record(target.plain, target.object);
        match record.list(0) {
            List::Short(&[TOO_MANY]) => Members::Walked,
            _ => Members::Kept(record),
        }
    }

    /// Whether the subject is the very userset or object that the group is about.
    #[inline]
    pub(super) fn is_itself(&self, object: u32, group: &Group) -> bool {
        object == self.target.object
            && (group.covers.contains(&self.target.slot)
                || (group.itself && self.target.plain == group.type_id))
    }

    #[inline]
    pub(super) fn hits(&self, record: &Record<'g>, probe: &Probe) -> bool {
        match probe.kind {
            ProbeKind::Member => {
                self.target.plain == probe.type_id && record.has(probe.lane, self.target.object)
            }
            ProbeKind::Everyone => {
                self.target.everyone == probe.type_id && !record.list(probe.lane).is_empty()
            }
        }
    }

    /// How far a guarded relationship with the subject itself holds.
    pub(super) fn guarded_hit(&mut self, record: &Record<'g>, object: u32, probe: &Probe) -> Value {
        if !self.hits(record, probe) {
            return Value::No;
        }
        let subject = if probe.kind == ProbeKind::Everyone { 0 } else { self.target.object };
        self.guard((probe.edge, object, subject))
    }

    #[inline]
    fn quick(&mut self, object: u32, group: &'g Group, depth: u32) -> Value {
        let record = self.graph.state.record(group.type_id, object);
        self.here(object, group, &record, (depth, false))
    }

    #[inline]
    fn here(&mut self, object: u32, group: &'g Group, record: &Record<'g>, way: (u32, bool)) -> Value {
        if group.leaf && group.flat == NO_LANE {
            let holds =
                self.is_itself(object, group) || group.probes.iter().any(|probe| self.hits(record, probe));
            return if holds { Value::Yes } else { Value::No };
        }
        self.on(object, group, record, way)
    }

    /// Does the subject hold the group on the object that has this record? Without what is above in
    /// the hierarchy when those are asked anyway.
    fn on(
        &mut self,
        object: u32,
        group: &'g Group,
        record: &Record<'g>,
        (depth, alone): (u32, bool),
    ) -> Value {
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
        let mut best = Value::No;
        if record.header & group.mask != 0 {
            best = self.quick_lists(object, group, record, (depth, alone));
        }
        for &op in &group.ops {
            if best == Value::Yes || self.spent {
                return best;
            }
            best = best.max(self.quick_op(object, op, record, depth));
        }
        best
    }

    /// Whether a list says so without a condition. Several short ones are first looked at in one row:
    /// mostly the number is in none of them.
    #[inline(always)]
    fn is_listed(&self, group: &Group, record: &Record<'g>) -> bool {
        let several = group.probes.len() > 1 && record.header & group.everyone == 0;
        if let Some(row) = record.row().filter(|_| several)
            && row.iter().all(|&number| number != self.target.object)
        {
            return false;
        }
        group.probes.iter().any(|probe| self.hits(record, probe))
    }

    /// What the lists of the record say.
    #[inline]
    fn quick_lists(
        &mut self,
        object: u32,
        group: &'g Group,
        record: &Record<'g>,
        (depth, alone): (u32, bool),
    ) -> Value {
        if self.is_listed(group, record) {
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
            best = best.max(if walk.chain == NO_LANE || !self.graph.state.is_chained {
                self.quick_walk(object, walk, record, depth)
            } else if alone {
                Value::No
            } else {
                self.quick_chain(object, group, walk, record, depth)
            });
        }
        best
    }

    fn quick_walk(&mut self, object: u32, walk: &Walk, record: &Record<'g>, depth: u32) -> Value {
        let list = record.list(walk.lane);
        if list.is_empty() {
            return Value::No;
        }
        if walk.flat != NO_LANE
            && let Some(members) = self.members_of(walk.flat)
        {
            return if list.meets(members) { Value::Yes } else { Value::No };
        }
        let Some(target) = self.graph.schema.group(walk.target) else { return Value::No };
        if let (List::Short(&[next]), false) = (list, walk.guarded) {
            return self.quick(next, target, depth - 1);
        }
        let mut best = Value::No;
        for next in list.iter() {
            let cap = if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
            if cap > best {
                best = best.max(cap.min(self.quick(next, target, depth - 1)));
                if best == Value::Yes || self.spent {
                    return best;
                }
            }
        }
        best
    }

    /// Asks all objects above at once: none of them has to be found first.
    fn quick_chain(
        &mut self,
        object: u32,
        group: &'g Group,
        walk: &Walk,
        record: &Record<'g>,
        depth: u32,
    ) -> Value {
        let List::Short(above) = record.list(walk.chain) else { return Value::No };
        if above == [TOO_MANY] {
            return self.quick_walk(object, walk, record, depth);
        }
        let mut best = Value::No;
        let Some(table) = self.graph.state.forward.get(group.type_id as usize) else { return best };
        if above.len() > 2 {
            // Read all of them first: what each says decides the way of the processor, and it would wait
            // for one after the other.
            let headers = above.iter().map(|&object| table.record(object).header);
            black_box(headers.fold(0, |all, header| all | header));
        }
        for &object in above {
            let record = table.record(object);
            if !group.ops.is_empty() || self.steps == 0 || depth <= 1 {
                best = best.max(self.on(object, group, &record, (depth - 1, true)));
            } else {
                self.steps -= 1;
                let nothing = record.header & group.mask == 0;
                best = best.max(match self.is_itself(object, group) {
                    true => Value::Yes,
                    false if nothing => Value::No,
                    false => self.quick_lists(object, group, &record, (depth - 1, true)),
                });
            }
            if best == Value::Yes || self.spent {
                return best;
            }
        }
        best
    }

    fn quick_op(&mut self, object: u32, op: u32, record: &Record<'g>, depth: u32) -> Value {
        let schema = &self.graph.schema;
        let here = |search: &mut Self, group: u32| match schema.group(group) {
            Some(group) => search.here(object, group, record, (depth - 1, false)),
            None => Value::No,
        };
        match schema.op(op) {
            None => Value::No,
            Some(Op::Both { require, except, except_first }) => {
                let mut value = Value::Yes;
                if *except_first {
                    for &group in except {
                        value = value.min(here(self, group).not());
                    }
                }
                for &group in require {
                    if value == Value::No || self.spent {
                        return Value::No;
                    }
                    value = value.min(here(self, group));
                }
                for &group in except.iter().filter(|_| !except_first) {
                    if value == Value::No || self.spent {
                        return Value::No;
                    }
                    value = value.min(here(self, group).not());
                }
                value
            }
            Some(Op::When { group, condition }) => match here(self, *group) {
                Value::No => Value::No,
                value => value.min(self.condition(*condition)),
            },
            Some(Op::All(walks)) => self.quick_all(object, walks, record, depth),
        }
    }

    fn quick_all(&mut self, object: u32, walks: &[AllWalk], record: &Record<'g>, depth: u32) -> Value {
        let (mut exists, mut all) = (Value::No, Value::Yes);
        for walk in walks {
            let target = walk.target.and_then(|target| self.graph.schema.group(target));
            for next in record.list(walk.lane).iter() {
                let counts = if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
                if counts != Value::No {
                    let holds = target.map_or(Value::No, |target| self.quick(next, target, depth - 1));
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
