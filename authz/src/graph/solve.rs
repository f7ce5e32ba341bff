//! Questions with intersection or exclusion on the way: the least answer, computed on demand.
//!
//! Nodes start as not holding. A node that is found to hold wakes those that wait for it, once for
//! each that waits; what has not been woken when nothing is left to look at does not hold (Liu and
//! Smolka, "Simple linear-time algorithms for minimal fixed points", 1998). So cycles through an
//! intersection are settled as well, and no answer depends on the order of the search: a provisional
//! "no" is never taken for an answer.
//!
//! What is excluded lies in a lower layer of the schema and is decided by a search of its own. Those
//! searches nest as deep as the schema's layers, which are bounded; nothing else recurses.

use rustc_hash::FxHashMap;

use crate::graph::edges::{pair, unpair};
use crate::graph::search::{Hit, Search};
use crate::schema::Group;
use crate::schema::program::{Probe, Walk};

/// State of one search; kept for its buffers.
#[derive(Debug, Default)]
pub(super) struct Solve {
    pub(super) numbers: FxHashMap<u64, u32>,
    pub(super) nodes: Vec<Node>,
    pub(super) ops: Vec<PendingOp>,
    waits: Vec<Wait>,
    /// Nodes to be looked at.
    todo: Vec<u32>,
    /// Nodes that were found to hold and have not woken the others yet.
    risen: Vec<u32>,
    /// Reasons are wanted: every node is followed, none is answered from memory.
    proving: bool,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) key: u64,
    pub(super) reason: Option<Reason>,
    /// The first of those that wait for this node, as number + 1 in `waits`.
    waiting: u32,
}

/// Why a node holds; reasons only lead to nodes that held before.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reason {
    Itself,
    Listed(Probe),
    Walked { walk: Walk, object: u32 },
    Op(u32),
}

/// An operation on one object; its requirements are looked at one after the other.
#[derive(Debug)]
pub(super) struct PendingOp {
    pub(super) op: u32,
    pub(super) object: u32,
    node: u32,
    met: u32,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    who: Waiter,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
enum Waiter {
    Walk { node: u32, walk: Walk, object: u32 },
    Op(u32),
}

enum Asked {
    Holds,
    Fails,
    Open(u32),
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
            self.nodes.push(Node { key, reason: None, waiting: 0 });
            self.todo.push(new);
        }
        number
    }

    pub(super) fn holds(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.reason.is_some())
    }

    fn raise(&mut self, node: u32, reason: Reason) {
        if let Some(state) = self.nodes.get_mut(node as usize)
            && state.reason.is_none()
        {
            state.reason = Some(reason);
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

impl Search<'_> {
    pub(super) fn solve(&mut self, object: u32, group: u32) -> bool {
        let root = pair(group, object);
        if self.scratch.held.contains(&root) {
            return true;
        }
        if self.scratch.in_vain.contains(&root) {
            return false;
        }
        let mut solve = self.scratch.solves.pop().unwrap_or_default();
        solve.proving = false;
        let holds = self.run(&mut solve, root);
        for node in &solve.nodes {
            if node.reason.is_some() {
                self.scratch.held.insert(node.key);
            } else if !holds {
                // Only a search that looked at everything knows what does not hold.
                self.scratch.in_vain.insert(node.key);
            }
        }
        solve.clear();
        self.scratch.solves.push(solve);
        holds
    }

    /// The whole search with its reasons, for a proof.
    pub(super) fn solve_with_reasons(&mut self, object: u32, group: u32) -> Option<Solve> {
        let mut solve = Solve { proving: true, ..Solve::default() };
        self.run(&mut solve, pair(group, object)).then_some(solve)
    }

    fn run(&mut self, solve: &mut Solve, root: u64) -> bool {
        let root = solve.node(root);
        loop {
            while let Some(risen) = solve.risen.pop() {
                if risen == root {
                    return true;
                }
                self.wake(solve, risen);
            }
            let Some(node) = solve.todo.pop() else { return false };
            if !solve.holds(node) {
                self.look_at(solve, node);
            }
        }
    }

    /// Tells those that wait for a node that it holds.
    fn wake(&mut self, solve: &mut Solve, node: u32) {
        let mut waiting = solve.nodes.get(node as usize).map_or(0, |node| node.waiting);
        while let Some(&Wait { who, next }) =
            waiting.checked_sub(1).and_then(|number| solve.waits.get(number as usize))
        {
            match who {
                Waiter::Walk { node, walk, object } => solve.raise(node, Reason::Walked { walk, object }),
                Waiter::Op(pending) => {
                    if let Some(pending) = solve.ops.get_mut(pending as usize) {
                        pending.met += 1;
                    }
                    self.demand(solve, pending);
                }
            }
            waiting = next;
        }
    }

    fn look_at(&mut self, solve: &mut Solve, node: u32) {
        let Some(key) = solve.nodes.get(node as usize).map(|node| node.key) else { return };
        let (group, object) = unpair(key);
        let graph = self.graph;
        let Some(group) = graph.schema.group(group) else { return };
        match self.probe(object, group) {
            Some(Hit::Itself) => return solve.raise(node, Reason::Itself),
            Some(Hit::Listed(probe)) => return solve.raise(node, Reason::Listed(probe)),
            None => {}
        }
        self.follow_walks(solve, node, object, group);
        for &op in &group.ops {
            if solve.holds(node) {
                return;
            }
            solve.ops.push(PendingOp { op, object, node, met: 0 });
            let pending = solve.ops.len() as u32 - 1;
            self.demand(solve, pending);
        }
    }

    fn follow_walks(&mut self, solve: &mut Solve, node: u32, object: u32, group: &Group) {
        let graph = self.graph;
        for &walk in &group.walks {
            for next in graph.list(walk.edge, object).iter() {
                match self.ask(solve, next, walk.target) {
                    Asked::Fails => {}
                    Asked::Holds => return solve.raise(node, Reason::Walked { walk, object: next }),
                    Asked::Open(asked) if solve.holds(asked) => {
                        return solve.raise(node, Reason::Walked { walk, object: next });
                    }
                    Asked::Open(asked) => solve.wait(asked, Waiter::Walk { node, walk, object: next }),
                }
            }
        }
    }

    /// Goes on with an operation until it waits, fails or holds.
    fn demand(&mut self, solve: &mut Solve, pending: u32) {
        let graph = self.graph;
        let Some(&PendingOp { op, object, node, .. }) = solve.ops.get(pending as usize) else { return };
        let Some(rule) = graph.schema.op(op) else { return };
        loop {
            let Some(state) = solve.ops.get(pending as usize) else { return };
            let Some(&group) = rule.require.get(state.met as usize) else { break };
            if solve.holds(node) {
                return;
            }
            match self.ask(solve, object, group) {
                Asked::Fails => return,
                Asked::Open(asked) if !solve.holds(asked) => return solve.wait(asked, Waiter::Op(pending)),
                Asked::Open(_) | Asked::Holds => {
                    if let Some(state) = solve.ops.get_mut(pending as usize) {
                        state.met += 1;
                    }
                }
            }
        }
        if !rule.except.iter().any(|&group| self.is_excluded(object, group)) {
            solve.raise(node, Reason::Op(pending));
        }
    }

    fn ask(&mut self, solve: &mut Solve, object: u32, group: u32) -> Asked {
        let key = pair(group, object);
        if solve.proving {
            return Asked::Open(solve.node(key));
        }
        if self.graph.schema.group(group).is_none_or(|group| group.plain) {
            return if self.decide(object, group) { Asked::Holds } else { Asked::Fails };
        }
        if self.scratch.held.contains(&key) {
            return Asked::Holds;
        }
        if self.scratch.in_vain.contains(&key) {
            return Asked::Fails;
        }
        Asked::Open(solve.node(key))
    }

    fn is_excluded(&mut self, object: u32, group: u32) -> bool {
        let key = pair(group, object);
        // The layers of a schema make this impossible. Should it happen all the same, then an
        // exclusion that depends on itself excludes.
        if self.scratch.excluding.contains(&key) {
            return true;
        }
        self.scratch.excluding.push(key);
        let excluded = self.decide(object, group);
        self.scratch.excluding.pop();
        excluded
    }
}
