//! Rules to flat programs.
//!
//! What a union reaches on one object is gathered into one group, so that a check walks lists of
//! numbers and never an expression. Only intersection and exclusion remain as operations, and their
//! operands are groups again.

use rustc_hash::FxHashSet;

use crate::schema::rule::Rule;
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

/// A rule whose intersections and exclusions have become operations, and their operands groups.
#[derive(Debug)]
enum Part {
    Nil,
    Stored(u32),
    Group(u32),
    Arrow(Vec<Walk>),
    Union(Vec<Part>),
    Op(u32),
}

/// Why rules cannot be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The programs would have more than [`MAX_STEPS`].
    TooLarge,
    /// The rule of this slot has a form that the engine cannot answer yet.
    Unsupported(u32),
}

/// Flattens every rule.
pub(crate) fn compile(slots: &[SlotInfo], edges: &[EdgeInfo]) -> Result<(Vec<Group>, Vec<Op>), Unfit> {
    let mut lowering = Lowering { slots, edges, parts: Vec::new(), ops: Vec::new(), steps: 0 };
    lowering.parts.extend(slots.iter().map(|_| None));
    for (slot, info) in slots.iter().enumerate() {
        let part = lowering.part(slot as u32, &info.rule)?;
        if let Some(place) = lowering.parts.get_mut(slot) {
            *place = Some(part);
        }
    }
    let Lowering { parts, ops, .. } = lowering;
    let mut groups: Vec<Group> = Vec::with_capacity(parts.len());
    let mut steps = 0;
    for group in 0..parts.len() as u32 {
        let group = flatten(group, slots, edges, &parts);
        steps += group.probes.len() + group.walks.len() + group.ops.len() + group.covers.len();
        if steps > MAX_STEPS {
            return Err(Unfit::TooLarge);
        }
        groups.push(group);
    }
    mark_plain(&mut groups);
    Ok((groups, ops))
}

struct Lowering<'a> {
    slots: &'a [SlotInfo],
    edges: &'a [EdgeInfo],
    /// By group: the named ones first, then operands.
    parts: Vec<Option<Part>>,
    ops: Vec<Op>,
    /// Steps of all arrows together.
    steps: usize,
}

impl Lowering<'_> {
    /// Recursion is bounded: the parsers bound the depth of rules.
    fn part(&mut self, slot: u32, rule: &Rule) -> Result<Part, Unfit> {
        Ok(match rule {
            Rule::Nil => Part::Nil,
            Rule::This => Part::Stored(slot),
            Rule::Slot(named) => Part::Group(*named),
            Rule::Arrow { relation, all: false, targets } => Part::Arrow(self.walks(*relation, targets)?),
            Rule::Union(operands) => {
                let parts: Result<Vec<Part>, Unfit> =
                    operands.iter().map(|rule| self.part(slot, rule)).collect();
                Part::Union(parts?)
            }
            Rule::Intersection(operands) => {
                let require: Result<Box<[u32]>, Unfit> =
                    operands.iter().map(|rule| self.operand(slot, rule)).collect();
                self.op(Op { require: require?, except: Box::default() })
            }
            Rule::Exclusion(..) => {
                // A chain is one operation: `a - b - c` lacks both.
                let (mut first, mut except) = (rule, Vec::new());
                while let Rule::Exclusion(left, right) = first {
                    except.push(self.operand(slot, right)?);
                    first = left;
                }
                let require = self.operand(slot, first)?;
                self.op(Op { require: Box::new([require]), except: except.into() })
            }
            Rule::Itself | Rule::Arrow { .. } | Rule::Conditional(..) => {
                return Err(Unfit::Unsupported(slot));
            }
        })
    }

    /// The group of an operand: its own when it is a name, otherwise a new one.
    fn operand(&mut self, slot: u32, rule: &Rule) -> Result<u32, Unfit> {
        Ok(match self.part(slot, rule)? {
            Part::Group(named) => named,
            part => {
                self.parts.push(Some(part));
                self.parts.len() as u32 - 1
            }
        })
    }

    fn op(&mut self, op: Op) -> Part {
        self.ops.push(op);
        Part::Op(self.ops.len() as u32 - 1)
    }

    fn walks(&mut self, relation: u32, targets: &[(u32, u32)]) -> Result<Vec<Walk>, Unfit> {
        let mut walks = Vec::new();
        for &edge in self.slots.get(relation as usize).into_iter().flat_map(|info| &info.edges) {
            let object_type = match self.edges.get(edge as usize).map(|info| info.subject) {
                Some(SubjectKind::Object(id)) => Some(id),
                Some(SubjectKind::Userset(slot)) => self.slots.get(slot as usize).map(|info| info.type_id),
                _ => None,
            };
            let target = targets.iter().find(|(type_id, _)| Some(*type_id) == object_type);
            walks.extend(target.map(|&(_, target)| Walk { edge, target }));
        }
        self.steps += walks.len();
        if self.steps > MAX_STEPS { Err(Unfit::TooLarge) } else { Ok(walks) }
    }
}

fn flatten(root: u32, slots: &[SlotInfo], edges: &[EdgeInfo], parts: &[Option<Part>]) -> Group {
    let (mut probes, mut walks) = (Distinct::default(), Distinct::default());
    let (mut ops, mut covers) = (Distinct::default(), Distinct::default());
    let named = Part::Group(root);
    // An unnamed operand is nobody's userset, so it starts with its rule.
    let first = if (root as usize) < slots.len() {
        Some(&named)
    } else {
        parts.get(root as usize).and_then(Option::as_ref)
    };
    let mut todo: Vec<&Part> = first.into_iter().collect();
    while let Some(part) = todo.pop() {
        match part {
            Part::Nil => {}
            Part::Arrow(targets) => targets.iter().for_each(|&walk| {
                walks.push(walk);
            }),
            Part::Union(operands) => todo.extend(operands.iter().rev()),
            Part::Op(op) => {
                ops.push(*op);
            }
            Part::Group(slot) => {
                if covers.push(*slot)
                    && let Some(part) = parts.get(*slot as usize).and_then(Option::as_ref)
                {
                    todo.push(part);
                }
            }
            Part::Stored(slot) => {
                for &edge in slots.get(*slot as usize).into_iter().flat_map(|info| &info.edges) {
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
