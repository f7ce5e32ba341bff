//! Rules to flat programs.
//!
//! What a union reaches on one object is gathered into one group, so that a check walks lists of
//! numbers and never an expression. Only intersection, exclusion, `.all()` and conditions remain as
//! operations, and their operands are groups again.

mod chain;
mod flat;
mod layout;
mod lower;

use rustc_hash::{FxHashMap, FxHashSet};

pub(crate) use chain::Chains;
pub(crate) use flat::Flat;
pub(crate) use layout::{Layout, NARROW, NO_LANE};
pub(crate) use lower::Numbered;
use lower::{Lowered, Part};

use crate::condition::Condition;
use crate::schema::diagnostic::Span;
use crate::schema::{ConditionInfo, Dialect, EdgeInfo, SlotInfo, SubjectKind};

/// Steps of all programs together. Programs repeat what they contain, so a schema that was made for it
/// could grow with the cube of its text.
pub(crate) const MAX_STEPS: usize = 4_000_000;

/// Everything that is computed from the rules: what there is to do, and where the lists lie.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) groups: Vec<Group>,
    pub(crate) ops: Vec<Op>,
    pub(crate) layout: Layout,
    pub(crate) flat: Flat,
    pub(crate) chains: Chains,
    /// By group: what it is part of.
    pub(crate) ups: Vec<Vec<Up>>,
    /// By form of subject: the edges that store it.
    pub(crate) edges_of: FxHashMap<SubjectKind, Vec<u32>>,
    /// By number.
    pub(crate) conditions: Vec<Condition>,
    /// By operation, and by group behind the named ones: the slot in whose rule it stands. Ascending.
    pub(crate) op_slots: Box<[u32]>,
    pub(crate) operand_slots: Box<[u32]>,
}

impl Program {
    /// Compiles the conditions, or says where which one is wrong.
    pub(crate) fn take_conditions(
        &mut self,
        infos: &[ConditionInfo],
        dialect: Dialect,
    ) -> Result<(), (Span, String)> {
        for info in infos {
            self.conditions.push(Condition::compile(info, dialect).map_err(|message| (info.span, message))?);
        }
        Ok(())
    }
}

/// What one node of the answer needs: any probe that hits, any walk that arrives, any operation
/// that holds.
///
/// The first groups are the schema's relations and permissions, by their number; behind them stand
/// the operands that have no name.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) type_id: u32,
    /// Lists that may hold the subject itself.
    pub(crate) probes: Box<[Probe]>,
    /// The same for relationships with a condition or an expiry.
    pub(crate) guarded: Box<[Probe]>,
    /// Lists of objects on which another group is asked; those that cost least come first.
    pub(crate) walks: Box<[Walk]>,
    /// Intersections, exclusions and their like, by number.
    pub(crate) ops: Box<[u32]>,
    /// The relations and permissions that this group contains: a userset contains itself.
    pub(crate) covers: Box<[u32]>,
    /// `self` is in it: an object holds it on itself.
    pub(crate) itself: bool,
    /// Its place among those whose members are kept by subject, or [`NO_LANE`].
    pub(crate) flat: u32,
    /// Neither this group nor any that it leads to has an operation or a guard: reaching is holding.
    pub(crate) plain: bool,
    /// One record answers it.
    pub(crate) cheap: bool,
    /// Nothing but probes decides.
    pub(crate) leaf: bool,
    /// The bits that the lengths of its lanes have in the header of a narrow record; all bits when there
    /// are too many lanes for one.
    pub(crate) mask: u64,
    /// The part of it that is about wildcards.
    pub(crate) everyone: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) edge: u32,
    pub(crate) lane: u32,
    pub(crate) kind: ProbeKind,
    pub(crate) type_id: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    /// The subject is in the list.
    Member,
    /// The list is a wildcard of the subject's type.
    Everyone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    pub(crate) edge: u32,
    pub(crate) lane: u32,
    /// The relationships of the lane have a condition or an expiry.
    pub(crate) guarded: bool,
    pub(crate) target: u32,
    /// Place of the target among those whose members are kept by subject, or [`NO_LANE`].
    pub(crate) flat: u32,
    /// Of a walk back to its own group whose objects above are kept: their lane, or [`NO_LANE`].
    pub(crate) chain: u32,
}

/// What remains an operation.
#[derive(Debug)]
pub(crate) enum Op {
    /// Holds when every required group holds and no excepted one does.
    Both {
        require: Box<[u32]>,
        except: Box<[u32]>,
        /// The excepted groups cost little: they are asked first.
        except_first: bool,
    },
    /// Holds when there is an object in the lists and the target holds on every one.
    All(Box<[AllWalk]>),
    /// Holds when the group does and the condition as well.
    When { group: u32, condition: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AllWalk {
    pub(crate) edge: u32,
    pub(crate) lane: u32,
    pub(crate) guarded: bool,
    /// `None` for a type that has nothing of the name: nothing holds there.
    pub(crate) target: Option<u32>,
}

/// That a group is part of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Up {
    /// On the same object.
    Same { group: u32 },
    /// On the objects that have this one in the list of an edge.
    Over { edge: u32, group: u32 },
}

/// Why rules cannot be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The programs would have more than [`MAX_STEPS`].
    TooLarge,
}

/// Flattens every rule.
pub(crate) fn compile(types: usize, slots: &[SlotInfo], edges: &[EdgeInfo]) -> Result<Program, Unfit> {
    let mut layout = Layout::new(types, slots, edges);
    let Lowered { parts, ops, types: type_of, op_slots, operand_slots } =
        lower::lower(slots, edges, &layout)?;
    let mut groups: Vec<Group> = Vec::with_capacity(parts.len());
    let mut steps = 0;
    for group in 0..parts.len() as u32 {
        let type_id = type_of.get(group as usize).copied().unwrap_or(0);
        let group = flatten(group, type_id, slots, edges, &layout, &parts);
        steps += group.probes.len() + group.walks.len() + group.ops.len() + group.covers.len();
        if steps > MAX_STEPS {
            return Err(Unfit::TooLarge);
        }
        groups.push(group);
    }
    let flat = Flat::new(&groups, edges);
    let chains = Chains::new(&groups, edges, &mut layout);
    finish_groups(&mut groups, &ops, edges, &flat, &chains);
    layout.mask(&mut groups);
    let ops = with_cheap_exclusions(ops, &groups);
    let ups = ups(&groups, &ops);
    let mut edges_of: FxHashMap<SubjectKind, Vec<u32>> = FxHashMap::default();
    for (number, edge) in (0..).zip(edges) {
        edges_of.entry(edge.subject).or_default().push(number);
    }
    let (op_slots, operand_slots) = (op_slots.into(), operand_slots.into());
    let conditions = Vec::new();
    Ok(Program { groups, ops, layout, flat, chains, ups, edges_of, conditions, op_slots, operand_slots })
}

fn flatten(
    root: u32,
    type_id: u32,
    slots: &[SlotInfo],
    edges: &[EdgeInfo],
    layout: &Layout,
    parts: &[Part],
) -> Group {
    let mut group = Gathered::default();
    let named = Part::Group(root);
    // An unnamed operand is nobody's userset, so it starts with its rule.
    let first = if (root as usize) < slots.len() { Some(&named) } else { parts.get(root as usize) };
    let mut todo: Vec<&Part> = first.into_iter().collect();
    while let Some(part) = todo.pop() {
        match part {
            Part::Nil => {}
            Part::Itself => group.itself = true,
            Part::Arrow(targets) => targets.iter().for_each(|&walk| group.walks.push(walk)),
            Part::Union(operands) => todo.extend(operands.iter().rev()),
            Part::Op(op) => group.ops.push(*op),
            Part::Group(slot) => {
                if group.covers.add(*slot)
                    && let Some(part) = parts.get(*slot as usize)
                {
                    todo.push(part);
                }
            }
            Part::Stored(slot) => {
                for &edge in slots.get(*slot as usize).into_iter().flat_map(|info| &info.edges) {
                    group.stored(edge, edges, layout);
                }
            }
        }
    }
    Group {
        type_id,
        probes: group.probes.order.into(),
        guarded: group.guarded.order.into(),
        walks: group.walks.order.into(),
        ops: group.ops.order.into(),
        covers: group.covers.order.into(),
        itself: group.itself,
        flat: NO_LANE,
        plain: false,
        cheap: false,
        leaf: false,
        mask: u64::MAX,
        everyone: u64::MAX,
    }
}

#[derive(Default)]
struct Gathered {
    probes: Distinct<Probe>,
    guarded: Distinct<Probe>,
    walks: Distinct<Walk>,
    ops: Distinct<u32>,
    covers: Distinct<u32>,
    itself: bool,
}

impl Gathered {
    fn stored(&mut self, edge: u32, edges: &[EdgeInfo], layout: &Layout) {
        let Some(subject) = edges.get(edge as usize).map(|info| info.subject) else { return };
        let lanes = layout.edge(edge);
        for (lane, guarded) in [(lanes.plain, false), (lanes.guarded, true)] {
            if lane == NO_LANE {
                continue;
            }
            let (kind, type_id) = match subject {
                SubjectKind::Object(type_id) => (ProbeKind::Member, type_id),
                SubjectKind::Wildcard(type_id) => (ProbeKind::Everyone, type_id),
                SubjectKind::Userset(target) => {
                    self.walks.push(Walk { edge, lane, guarded, target, flat: NO_LANE, chain: NO_LANE });
                    continue;
                }
            };
            let probes = if guarded { &mut self.guarded } else { &mut self.probes };
            probes.push(Probe { edge, lane, kind, type_id });
        }
    }
}

/// Values in the order of their first appearance.
struct Distinct<T> {
    seen: FxHashSet<T>,
    order: Vec<T>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self { seen: FxHashSet::default(), order: Vec::new() }
    }
}

impl<T: Copy + Eq + std::hash::Hash> Distinct<T> {
    fn push(&mut self, value: T) {
        self.add(value);
    }

    fn add(&mut self, value: T) -> bool {
        let new = self.seen.insert(value);
        if new {
            self.order.push(value);
        }
        new
    }
}

/// What follows from all groups together: which are flat, plain and cheap, and the order of walks.
fn finish_groups(groups: &mut [Group], ops: &[Op], edges: &[EdgeInfo], flat: &Flat, chains: &Chains) {
    for (number, group) in (0..).zip(groups.iter_mut()) {
        group.flat = flat.lane_of(number);
        let chained = chain::chained(number, group, edges);
        for walk in &mut group.walks {
            walk.flat = if walk.guarded { NO_LANE } else { flat.lane_of(walk.target) };
            if !walk.guarded && walk.target == number && chained == Some(walk.edge) {
                walk.chain = chains.lane_of(walk.edge);
            }
        }
        // An arrow leads up a hierarchy; a userset is mostly one step.
        group.walks.sort_by_key(|walk| (walk.flat == NO_LANE, walk.guarded, walk.chain != NO_LANE));
        group.leaf = group.walks.is_empty() && group.ops.is_empty() && group.guarded.is_empty();
        group.cheap = group.ops.is_empty() && group.walks.iter().all(|walk| walk.flat != NO_LANE);
    }
    let ups = ups(groups, ops);
    let guarded = |group: &Group| !group.guarded.is_empty() || group.walks.iter().any(|walk| walk.guarded);
    let mut mixed: Vec<bool> = groups.iter().map(|group| !group.ops.is_empty() || guarded(group)).collect();
    let mut todo: Vec<u32> =
        (0..groups.len() as u32).filter(|&g| mixed.get(g as usize) == Some(&true)).collect();
    while let Some(group) = todo.pop() {
        for up in ups.get(group as usize).into_iter().flatten() {
            let (Up::Same { group } | Up::Over { group, .. }) = *up;
            if let Some(mixed) = mixed.get_mut(group as usize)
                && !*mixed
            {
                *mixed = true;
                todo.push(group);
            }
        }
    }
    for (group, mixed) in groups.iter_mut().zip(mixed) {
        group.plain = !mixed;
    }
}

fn with_cheap_exclusions(ops: Vec<Op>, groups: &[Group]) -> Vec<Op> {
    let cheap = |group: &u32| groups.get(*group as usize).is_some_and(|group| group.cheap);
    let with = |op| match op {
        Op::Both { require, except, .. } => {
            let except_first = !except.is_empty() && except.iter().all(cheap);
            Op::Both { require, except, except_first }
        }
        other => other,
    };
    ops.into_iter().map(with).collect()
}

/// For each group those that it is part of, subtrahends left out: whoever holds a group holds one of
/// those below it.
fn ups(groups: &[Group], ops: &[Op]) -> Vec<Vec<Up>> {
    let mut ups: Vec<Distinct<Up>> = groups.iter().map(|_| Distinct::default()).collect();
    let mut add = |below: u32, up: Up| {
        if let Some(list) = ups.get_mut(below as usize) {
            list.push(up);
        }
    };
    for (number, group) in (0..).zip(groups) {
        for walk in &group.walks {
            add(walk.target, Up::Over { edge: walk.edge, group: number });
        }
        for op in group.ops.iter().filter_map(|&op| ops.get(op as usize)) {
            match op {
                Op::Both { require, .. } => {
                    for &below in require {
                        add(below, Up::Same { group: number });
                    }
                }
                Op::All(walks) => {
                    for walk in walks {
                        if let Some(target) = walk.target {
                            add(target, Up::Over { edge: walk.edge, group: number });
                        }
                    }
                }
                Op::When { group: below, .. } => add(*below, Up::Same { group: number }),
            }
        }
    }
    ups.into_iter().map(|list| list.order).collect()
}
