//! Rules to flat programs.
//!
//! What a union reaches on one object is gathered into one group, so that a check walks lists of
//! numbers and never an expression. Only intersection and exclusion remain as operations, and their
//! operands are groups again.

use rustc_hash::FxHashSet;

use crate::schema::{EdgeInfo, SlotInfo, SubjectKind};

/// Steps of all programs together. Programs repeat what they contain, so a schema that was made for it
/// could grow with the cube of its text.
pub(crate) const MAX_STEPS: usize = 4_000_000;

/// What one node of the answer needs: any probe that hits, any walk that arrives, any operation
/// that holds.
///
/// The first groups are the schema's relations and permissions, by their number; behind them stand
/// the operands that have no name.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Lists that may hold the subject itself.
    pub(crate) probes: Box<[Probe]>,
    /// Lists of objects on which another group is asked.
    pub(crate) walks: Box<[Walk]>,
    /// Intersections and exclusions, by number.
    pub(crate) ops: Box<[u32]>,
    /// The relations and permissions that this group contains: a userset contains itself.
    pub(crate) covers: Box<[u32]>,
    /// Neither this group nor any that it leads to has an operation: reaching is holding.
    pub(crate) plain: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) edge: u32,
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
    pub(crate) target: u32,
}

/// Holds when every required group holds and no excepted one does.
#[derive(Debug)]
pub(crate) struct Op {
    pub(crate) require: Box<[u32]>,
    pub(crate) except: Box<[u32]>,
}

/// A permission's expression with numbers for names.
#[derive(Debug)]
pub(crate) enum Rule {
    Nil,
    Group(u32),
    Arrow(Vec<Walk>),
    Union(Vec<Rule>),
    Op(u32),
}

/// Flattens every rule; `rules` has one for each permission and unnamed operand, by group number.
/// `None` when the programs would have more than [`MAX_STEPS`].
pub(crate) fn compile(slots: &[SlotInfo], edges: &[EdgeInfo], rules: &[Option<Rule>]) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::with_capacity(rules.len());
    let mut steps = 0;
    for group in 0..rules.len() as u32 {
        let group = flatten(group, slots, edges, rules);
        steps += group.probes.len() + group.walks.len() + group.ops.len() + group.covers.len();
        if steps > MAX_STEPS {
            return None;
        }
        groups.push(group);
    }
    mark_plain(&mut groups);
    Some(groups)
}

fn flatten(root: u32, slots: &[SlotInfo], edges: &[EdgeInfo], rules: &[Option<Rule>]) -> Group {
    let (mut probes, mut walks) = (Distinct::default(), Distinct::default());
    let (mut ops, mut covers) = (Distinct::default(), Distinct::default());
    let named = Rule::Group(root);
    // An unnamed operand is nobody's userset, so it starts with its rule.
    let first = if (root as usize) < slots.len() {
        Some(&named)
    } else {
        rules.get(root as usize).and_then(Option::as_ref)
    };
    let mut todo: Vec<&Rule> = first.into_iter().collect();
    while let Some(rule) = todo.pop() {
        match rule {
            Rule::Nil => {}
            Rule::Arrow(targets) => targets.iter().for_each(|&walk| {
                walks.push(walk);
            }),
            Rule::Union(operands) => todo.extend(operands.iter().rev()),
            Rule::Op(op) => {
                ops.push(*op);
            }
            Rule::Group(slot) => {
                if !covers.push(*slot) {
                    continue;
                }
                if let Some(rule) = rules.get(*slot as usize).and_then(Option::as_ref) {
                    todo.push(rule);
                }
                let stored = slots.get(*slot as usize).and_then(|info| info.edges.as_ref());
                for &edge in stored.into_iter().flatten() {
                    let Some(subject) = edges.get(edge as usize).map(|info| info.subject) else { continue };
                    let (kind, type_id) = match subject {
                        SubjectKind::Object(type_id) => (ProbeKind::Member, type_id),
                        SubjectKind::Wildcard(type_id) => (ProbeKind::Everyone, type_id),
                        SubjectKind::Userset(target) => {
                            walks.push(Walk { edge, target });
                            continue;
                        }
                    };
                    probes.push(Probe { edge, kind, type_id });
                }
            }
        }
    }
    Group {
        probes: probes.order.into(),
        walks: walks.order.into(),
        ops: ops.order.into(),
        covers: covers.order.into(),
        plain: false,
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
    fn push(&mut self, value: T) -> bool {
        let new = self.seen.insert(value);
        if new {
            self.order.push(value);
        }
        new
    }
}

/// Spreads "leads to an operation" backwards along the walks.
fn mark_plain(groups: &mut [Group]) {
    let mut led_to_by: Vec<Vec<u32>> = vec![Vec::new(); groups.len()];
    for (from, group) in groups.iter().enumerate() {
        for walk in &group.walks {
            if let Some(list) = led_to_by.get_mut(walk.target as usize) {
                list.push(from as u32);
            }
        }
    }
    let mut mixed: Vec<bool> = groups.iter().map(|group| !group.ops.is_empty()).collect();
    let mut todo: Vec<u32> =
        (0..groups.len() as u32).filter(|&g| mixed.get(g as usize) == Some(&true)).collect();
    while let Some(group) = todo.pop() {
        for &from in led_to_by.get(group as usize).into_iter().flatten() {
            if let Some(mixed) = mixed.get_mut(from as usize)
                && !*mixed
            {
                *mixed = true;
                todo.push(from);
            }
        }
    }
    for (group, mixed) in groups.iter_mut().zip(mixed) {
        group.plain = !mixed;
    }
}
