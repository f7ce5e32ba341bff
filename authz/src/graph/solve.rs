//! The thorough way to an answer: the least fixed point, computed on demand.
//!
//! Nodes start as not holding. A node that comes to hold (more) wakes those that wait for it; what has
//! not been woken when nothing is left to look at does not hold (Liu and Smolka, "Simple linear-time
//! algorithms for minimal fixed points", 1998). So cycles are settled, also through an intersection,
//! each node is looked at once, and no answer depends on the order of the search: a provisional "no" is
//! never taken for an answer. Between no and yes lies "maybe", for conditions; a node rises at most
//! twice.
//!
//! What is excluded lies in a lower layer of the schema and is decided by a search of its own. Those
//! searches nest as deep as the schema's layers. A schema whose exclusions go through a cycle (OpenFGA
//! allows it) has no layers: there a search may meet the exclusion that it serves, and then that
//! exclusion excludes, and so does every one around it. So nothing is allowed that does not surely hold.

use rustc_hash::FxHashMap;

use crate::error::TooComplex;
use crate::graph::guard::Value;
use crate::graph::search::Search;
use crate::schema::program::{AllWalk, Group, NO_LANE, Op, Probe, Walk};

/// Nodes of one question.
const MAX_NODES: usize = 2_000_000;
/// Exclusions that are open at the same time; each costs stack.
const MAX_NESTED: usize = 100;
const LEVELS: [Value; 2] = [Value::Maybe, Value::Yes];

/// State of one search; kept for its buffers.
#[derive(Debug, Default)]
pub(super) struct Solve {
    pub(super) numbers: FxHashMap<u64, u32>,
    pub(super) nodes: Vec<Node>,
    pub(super) ops: Vec<PendingOp>,
    waits: Vec<Wait>,
    /// Nodes to be looked at.
    todo: Vec<u32>,
    /// Nodes that have come to hold (more) and have not woken the others yet.
    risen: Vec<u32>,
    /// Reasons are wanted: every node is followed, none is answered from memory.
    proving: bool,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) key: u64,
    pub(super) value: Value,
    pub(super) reason: Option<Reason>,
    /// The first of those that wait for this node, as number + 1 in `waits`.
    waiting: u32,
}

/// Why a node holds as far as it does; reasons only lead to nodes that held before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    Itself,
    Listed(Probe),
    Walked { walk: Walk, object: u32 },
    Op(u32),
}

/// An operation on one object; what it requires is looked at one after the other.
#[derive(Debug)]
pub(super) struct PendingOp {
    pub(super) op: u32,
    pub(super) object: u32,
    pub(super) node: u32,
    /// By level: how much of what is required holds as far.
    met: [u32; 2],
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    who: Waiter,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
enum Waiter {
    Walk { node: u32, walk: Walk, object: u32, cap: Value },
    Op(u32),
}

/// What is known of a node, and where to wait for more.
struct Asked {
    value: Value,
    open: Option<u32>,
}

pub(super) fn key(group: u32, object: u32) -> u64 {
    (u64::from(group) << 32) | u64::from(object)
}

pub(super) fn unkey(key: u64) -> (u32, u32) {
    ((key >> 32) as u32, key as u32)
}

impl Solve {
    fn clear(&mut self) {
        self.numbers.clear();
        self.nodes.clear();
        self.ops.clear();
        self.waits.clear();
        self.todo.clear();
        self.risen.clear();
    }

    fn node(&mut self, key: u64) -> u32 {
        let new = self.nodes.len() as u32;
        let number = *self.numbers.entry(key).or_insert(new);
        if number == new {
            self.nodes.push(Node { key, value: Value::No, reason: None, waiting: 0 });
            self.todo.push(new);
        }
        number
    }

    pub(super) fn value(&self, node: u32) -> Value {
        self.nodes.get(node as usize).map_or(Value::No, |node| node.value)
    }

    fn raise(&mut self, node: u32, value: Value, reason: Reason) {
        if let Some(state) = self.nodes.get_mut(node as usize)
            && state.value < value
        {
            (state.value, state.reason) = (value, Some(reason));
            self.risen.push(node);
        }
    }

    fn wait(&mut self, node: u32, who: Waiter) {
        if let Some(state) = self.nodes.get_mut(node as usize) {
            self.waits.push(Wait { who, next: state.waiting });
            state.waiting = self.waits.len() as u32;
        }
    }
}

impl<'g> Search<'g> {
    pub(super) fn solve(&mut self, object: u32, group: u32) -> Value {
        let root = key(group, object);
        if let Some(&known) = self.aside().known.get(&root) {
            return known;
        }
        let mut solve = self.aside().spare.pop().unwrap_or_default();
        let before = self.aside().cycles;
        let value = self.run(&mut solve, root);
        // What met a cycle through an exclusion is true of this question only.
        if self.aside().cycles == before && !self.is_too_complex() {
            for node in &solve.nodes {
                // Only a search that looked at everything knows what does not hold.
                if node.value == Value::Yes || value != Value::Yes {
                    self.aside().known.insert(node.key, node.value);
                }
            }
        }
        solve.clear();
        self.aside().spare.push(solve);
        value
    }

    /// Where exclusions go through cycles, what another question found says nothing: the answer depends on where
    /// a question begins.
    pub(super) fn forget_others(&mut self) {
        if self.graph.schema.unstratified {
            self.aside().known.clear();
        }
    }

    /// The whole search with its reasons, for a proof.
    pub(super) fn solve_with_reasons(&mut self, object: u32, group: u32) -> Solve {
        self.forget_others();
        self.reasons(object, group)
    }

    /// The same within an explanation, which knows what it has found already.
    pub(super) fn reasons(&mut self, object: u32, group: u32) -> Solve {
        let mut solve = Solve { proving: true, ..Solve::default() };
        self.run(&mut solve, key(group, object));
        solve
    }

    fn run(&mut self, solve: &mut Solve, root: u64) -> Value {
        let root = solve.node(root);
        loop {
            while let Some(risen) = solve.risen.pop() {
                if risen == root && solve.value(root) == Value::Yes {
                    return Value::Yes;
                }
                self.wake(solve, risen);
            }
            let Some(node) = solve.todo.pop() else { return solve.value(root) };
            self.aside().nodes += 1;
            if self.aside().nodes > MAX_NODES {
                self.aside().notes.too_complex.get_or_insert(TooComplex::new("objects", MAX_NODES));
            }
            if self.is_too_complex() {
                return Value::No;
            }
            if solve.value(node) < Value::Yes {
                self.look_at(solve, node);
            }
        }
    }

    /// Tells those that wait for a node that it holds (more).
    fn wake(&mut self, solve: &mut Solve, node: u32) {
        let Some((mut waiting, value)) =
            solve.nodes.get_mut(node as usize).map(|node| (node.waiting, node.value))
        else {
            return;
        };
        while let Some(&Wait { who, next }) =
            waiting.checked_sub(1).and_then(|number| solve.waits.get(number as usize))
        {
            match who {
                Waiter::Walk { node, walk, object, cap } => {
                    solve.raise(node, value.min(cap), Reason::Walked { walk, object });
                }
                Waiter::Op(pending) => self.demand(solve, pending),
            }
            waiting = next;
        }
    }

    fn look_at(&mut self, solve: &mut Solve, node: u32) {
        let Some(key) = solve.nodes.get(node as usize).map(|node| node.key) else { return };
        let (group, object) = unkey(key);
        let Some(group) = self.graph.schema.group(group) else { return };
        if self.is_itself(object, group) {
            return solve.raise(node, Value::Yes, Reason::Itself);
        }
        let record = self.graph.state.record(group.type_id, object);
        if let Some(probe) = group.probes.iter().find(|probe| self.hits(&record, probe)) {
            return solve.raise(node, Value::Yes, Reason::Listed(*probe));
        }
        for probe in &group.guarded {
            let value = self.guarded_hit(&record, object, probe);
            solve.raise(node, value, Reason::Listed(*probe));
        }
        self.follow_walks(solve, node, object, group);
        for &op in &group.ops {
            if solve.value(node) == Value::Yes {
                return;
            }
            solve.ops.push(PendingOp { op, object, node, met: [0; 2] });
            let pending = solve.ops.len() as u32 - 1;
            self.demand(solve, pending);
        }
    }

    fn follow_walks(&mut self, solve: &mut Solve, node: u32, object: u32, group: &'g Group) {
        let record = self.graph.state.record(group.type_id, object);
        for &walk in &group.walks {
            let list = record.list(walk.lane);
            if list.is_empty() {
                continue;
            }
            if walk.flat != NO_LANE
                && !solve.proving
                && let Some(members) = self.members()
            {
                if list.meets(members.list(walk.flat)) {
                    return solve.raise(node, Value::Yes, Reason::Walked { walk, object });
                }
                continue;
            }
            for next in list.iter() {
                let cap = if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
                if cap == Value::No {
                    continue;
                }
                let asked = self.ask(solve, next, walk.target);
                solve.raise(node, asked.value.min(cap), Reason::Walked { walk, object: next });
                if solve.value(node) == Value::Yes {
                    return;
                }
                if let Some(open) = asked.open.filter(|_| asked.value < cap) {
                    solve.wait(open, Waiter::Walk { node, walk, object: next, cap });
                }
            }
        }
    }

    /// Goes on with an operation, level by level, until it waits, fails or holds.
    fn demand(&mut self, solve: &mut Solve, pending: u32) {
        let Some(&PendingOp { op, object, node, .. }) = solve.ops.get(pending as usize) else { return };
        let Some(op) = self.graph.schema.op(op) else { return };
        for (at, level) in LEVELS.into_iter().enumerate() {
            if solve.value(node) >= level {
                continue;
            }
            let holds = match op {
                Op::Both { require, except, .. } => {
                    self.require(solve, pending, at, level, |at| {
                        Some((object, *require.get(at)?, Value::Yes))
                    }) && except.iter().all(|&group| self.is_excluded(object, group).not() >= level)
                }
                Op::When { group, condition } => {
                    let only = (object, *group, Value::Yes);
                    self.require(solve, pending, at, level, |at| (at == 0).then_some(only))
                        && self.condition(*condition) >= level
                }
                Op::All(walks) => self.all(solve, pending, (at, level), walks),
            };
            if !holds {
                return;
            }
            solve.raise(node, level, Reason::Op(pending));
        }
    }

    /// Looks at what is required, from where it stopped before: object, group, and how far the
    /// requirement counts at all.
    fn require(
        &mut self,
        solve: &mut Solve,
        pending: u32,
        at: usize,
        level: Value,
        required: impl Fn(usize) -> Option<(u32, u32, Value)>,
    ) -> bool {
        loop {
            let met = solve.ops.get(pending as usize).and_then(|op| op.met.get(at)).copied().unwrap_or(0);
            let Some((object, group, counts)) = required(met as usize) else { return true };
            if counts.not() < level {
                let asked = self.ask(solve, object, group);
                if asked.value < level {
                    asked.open.into_iter().for_each(|open| solve.wait(open, Waiter::Op(pending)));
                    return false;
                }
            }
            if let Some(met) = solve.ops.get_mut(pending as usize).and_then(|op| op.met.get_mut(at)) {
                *met += 1;
            }
        }
    }

    /// `.all()`: the target holds on every object that counts, and one of them does count.
    fn all(
        &mut self,
        solve: &mut Solve,
        pending: u32,
        (at, level): (usize, Value),
        walks: &[AllWalk],
    ) -> bool {
        let Some(object) = solve.ops.get(pending as usize).map(|op| op.object) else { return false };
        let Some(type_id) =
            walks.first().map(|walk| self.graph.schema.program.layout.edge(walk.edge).object_type)
        else {
            return false;
        };
        let record = self.graph.state.record(type_id, object);
        let (mut exists, mut dead) = (Value::No, Value::No);
        let mut required = Vec::new();
        for walk in walks {
            for next in record.list(walk.lane).iter() {
                let counts = if walk.guarded { self.guard((walk.edge, object, next)) } else { Value::Yes };
                exists = exists.max(counts);
                match walk.target {
                    Some(target) => required.push((next, target, counts)),
                    None => dead = dead.max(counts),
                }
            }
        }
        // Where one counts for sure, what is required of it is enough.
        exists >= level
            && dead.not() >= level
            && self.require(solve, pending, at, level, |at| required.get(at).copied())
            && (exists == Value::Yes || self.any(solve, pending, level, &required))
    }

    /// Whether one of the required groups holds as far; otherwise waits for all of them.
    fn any(&mut self, solve: &mut Solve, pending: u32, level: Value, required: &[(u32, u32, Value)]) -> bool {
        let mut open = Vec::new();
        for &(object, group, _) in required.iter().filter(|(.., counts)| *counts >= level) {
            let asked = self.ask(solve, object, group);
            if asked.value >= level {
                return true;
            }
            open.extend(asked.open);
        }
        open.into_iter().for_each(|open| solve.wait(open, Waiter::Op(pending)));
        false
    }

    fn ask(&mut self, solve: &mut Solve, object: u32, group: u32) -> Asked {
        let key = key(group, object);
        if !solve.proving
            && let Some(&value) = self.aside().known.get(&key)
        {
            return Asked { value, open: None };
        }
        let node = solve.node(key);
        Asked { value: solve.value(node), open: Some(node) }
    }

    fn is_excluded(&mut self, object: u32, group: u32) -> Value {
        let key = key(group, object);
        if self.aside().excluding.contains(&key) {
            // It depends on itself: what it would take away is not given, see below.
            self.aside().cycles += 1;
            return Value::Yes;
        }
        if self.aside().excluding.len() >= MAX_NESTED {
            let deep = TooComplex::new("exclusions in each other", MAX_NESTED);
            self.aside().notes.too_complex.get_or_insert(deep);
            return Value::Yes;
        }
        let before = self.aside().cycles;
        self.aside().excluding.push(key);
        let value = self.solve(object, group);
        self.aside().excluding.pop();
        // A cycle was met under the exclusion: it denies, whatever the rest said. So does every exclusion around
        // it, because what was denied inside would be allowed outside.
        if self.aside().cycles == before { value } else { Value::Yes }
    }
}
