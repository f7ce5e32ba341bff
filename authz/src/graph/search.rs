//! Plain questions: where no intersection and no exclusion is on the way, holding is reaching.
//!
//! The search goes breadth first over (object, group) nodes and visits each once, so cycles end and
//! depth costs no stack. Nodes that were searched in vain stay known as such for as long as the same
//! subject is asked about; nothing is remembered of a search that was cut short by a hit.

use std::cell::RefCell;

use rustc_hash::FxHashSet;

use crate::graph::edges::{pair, unpair};
use crate::graph::solve::Solve;
use crate::graph::{Graph, Question, Target};
use crate::schema::Group;
use crate::schema::program::{Probe, ProbeKind};

/// Buffers larger than this are given back after a search: clearing a table takes its size.
const KEEP: usize = 4_096;

/// What searches on this thread use again, so that a check allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Nodes in the order of their discovery, each with the place of the one that led to it.
    queue: Vec<(u64, usize)>,
    /// Nodes that do not hold, or are being searched.
    pub(super) in_vain: FxHashSet<u64>,
    /// Nodes that hold.
    pub(super) held: FxHashSet<u64>,
    /// Nodes under an exclusion that is being decided.
    pub(super) excluding: Vec<u64>,
    pub(super) solves: Vec<Solve>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The questions about one subject in one snapshot.
pub(super) struct Search<'g> {
    pub(super) graph: &'g Graph,
    pub(super) target: Target,
    pub(super) scratch: Scratch,
    /// More than one question is asked: what holds is worth remembering.
    several: bool,
}

impl<'g> Search<'g> {
    /// Asks one question.
    pub(super) fn once(graph: &'g Graph, question: Question) -> bool {
        let Question { target, group, object } = question;
        let several = graph.schema.group(group).is_some_and(|group| !group.plain);
        Self::asked(Self { graph, target, scratch: SCRATCH.take(), several }, |search| {
            search.decide(object, group)
        })
    }

    /// Asks several questions about one subject, which share what they find out.
    pub(super) fn with<T>(graph: &'g Graph, target: Target, ask: impl FnOnce(&mut Self) -> T) -> T {
        Self::asked(Self { graph, target, scratch: SCRATCH.take(), several: true }, ask)
    }

    fn asked<T>(mut search: Self, ask: impl FnOnce(&mut Self) -> T) -> T {
        let answer = ask(&mut search);
        let mut scratch = search.scratch;
        scratch.clear();
        SCRATCH.set(scratch);
        answer
    }

    /// Does the subject hold the group on the object?
    pub(super) fn decide(&mut self, object: u32, group: u32) -> bool {
        match self.graph.schema.group(group) {
            Some(found) if found.plain => self.reach(object, group, found),
            Some(_) => self.solve(object, group),
            None => false,
        }
    }

    /// Whether the node holds at once, by a list that has the subject.
    pub(super) fn probe(&self, object: u32, group: &Group) -> Option<Hit> {
        if let Some(slot) = self.target.userset
            && object == self.target.object
            && group.covers.contains(&slot)
        {
            return Some(Hit::Itself);
        }
        group.probes.iter().find(|probe| self.hits(probe, object)).map(|probe| Hit::Listed(*probe))
    }

    fn hits(&self, probe: &Probe, object: u32) -> bool {
        match probe.kind {
            ProbeKind::Member => {
                self.target.plain == Some(probe.type_id)
                    && self.graph.list(probe.edge, object).contains(self.target.object)
            }
            ProbeKind::Everyone => {
                self.target.everyone == Some(probe.type_id) && !self.graph.list(probe.edge, object).is_empty()
            }
        }
    }

    fn reach(&mut self, object: u32, group: u32, found: &Group) -> bool {
        // The common question, answered without a table.
        if self.probe(object, found).is_some() {
            return true;
        }
        let root = pair(group, object);
        if self.is_held(root) {
            return true;
        }
        if found.walks.is_empty() || !self.scratch.in_vain.insert(root) {
            return false;
        }
        self.scratch.queue.clear();
        self.scratch.queue.push((root, 0));
        let mut next = 0;
        while let Some(&(node, _)) = self.scratch.queue.get(next) {
            if self.visit(node, next) {
                self.keep_hit(next);
                return true;
            }
            next += 1;
        }
        false
    }

    /// Looks at one node, and queues those that it leads to.
    fn visit(&mut self, node: u64, place: usize) -> bool {
        let (group, object) = unpair(node);
        let graph = self.graph;
        let Some(group) = graph.schema.group(group) else { return false };
        // The first was looked at before the queue was begun.
        if place > 0 && self.probe(object, group).is_some() {
            return true;
        }
        for walk in &group.walks {
            for next in graph.list(walk.edge, object).iter() {
                let node = pair(walk.target, next);
                if self.is_held(node) {
                    return true;
                }
                if self.scratch.in_vain.insert(node) {
                    self.scratch.queue.push((node, place));
                }
            }
        }
        false
    }

    fn is_held(&self, node: u64) -> bool {
        self.several && self.scratch.held.contains(&node)
    }

    /// After a hit nothing is known of what was looked at but this: the way to the hit holds.
    fn keep_hit(&mut self, mut place: usize) {
        if !self.several {
            return;
        }
        let scratch = &mut self.scratch;
        for (node, _) in &scratch.queue {
            scratch.in_vain.remove(node);
        }
        while let Some(&(node, from)) = scratch.queue.get(place) {
            scratch.held.insert(node);
            if place == 0 {
                break;
            }
            place = from;
        }
    }
}

/// Why a node holds at once.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hit {
    Listed(Probe),
    /// A userset contains itself.
    Itself,
}

impl Scratch {
    fn clear(&mut self) {
        if self.queue.capacity() > KEEP || self.in_vain.capacity() > KEEP || self.held.capacity() > KEEP {
            *self = Self::default();
            return;
        }
        self.queue.clear();
        self.in_vain.clear();
        self.held.clear();
        self.excluding.clear();
        self.solves.truncate(8);
    }
}
