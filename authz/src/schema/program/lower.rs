//! Rules become parts: operations get numbers, and their operands become groups.

use crate::schema::program::{AllWalk, Layout, MAX_STEPS, NO_LANE, Op, Unfit, Walk};
use crate::schema::{EdgeInfo, Rule, SlotInfo, SubjectKind};

/// A rule whose operations have numbers, and their operands groups.
#[derive(Debug)]
pub(super) enum Part {
    Nil,
    Itself,
    Stored(u32),
    Group(u32),
    Arrow(Vec<Walk>),
    Union(Vec<Part>),
    Op(u32),
}

pub(super) struct Lowered {
    /// By group: the named ones first, then operands.
    pub(super) parts: Vec<Part>,
    pub(super) ops: Vec<Op>,
    /// By group: the type of its objects.
    pub(super) types: Vec<u32>,
    /// By operation, and by group behind the named ones: the slot in whose rule it stands. Ascending.
    pub(super) op_slots: Vec<u32>,
    pub(super) operand_slots: Vec<u32>,
}

/// The operations of a rule, and the operands that have no name.
///
/// INVARIANT: both in the order in which [`Lowering`] numbers them.
#[derive(Debug, Default)]
pub(crate) struct Numbered<'r> {
    pub(crate) ops: Vec<&'r Rule>,
    pub(crate) operands: Vec<&'r Rule>,
}

impl<'r> Numbered<'r> {
    pub(crate) fn of(rule: &'r Rule) -> Self {
        let mut found = Self::default();
        found.part(rule);
        found
    }

    /// Recursion is bounded: the parsers bound the depth of rules.
    fn part(&mut self, rule: &'r Rule) {
        match rule {
            Rule::Union(operands) => return operands.iter().for_each(|rule| self.part(rule)),
            Rule::Intersection(operands) => operands.iter().for_each(|rule| self.operand(rule)),
            Rule::Exclusion(..) => {
                let mut first = rule;
                while let Rule::Exclusion(left, right) = first {
                    self.operand(right);
                    first = left;
                }
                self.operand(first);
            }
            Rule::Conditional(inner, _) => self.operand(inner),
            Rule::Arrow { all: true, .. } => {}
            _ => return,
        }
        self.ops.push(rule);
    }

    fn operand(&mut self, rule: &'r Rule) {
        self.part(rule);
        if !matches!(rule, Rule::Slot(_)) {
            self.operands.push(rule);
        }
    }
}

pub(super) fn lower(slots: &[SlotInfo], edges: &[EdgeInfo], layout: &Layout) -> Result<Lowered, Unfit> {
    let parts = slots.iter().map(|_| Part::Nil).collect();
    let types = slots.iter().map(|slot| slot.type_id).collect();
    let (op_slots, operand_slots) = (Vec::new(), Vec::new());
    let lowered = Lowered { parts, ops: Vec::new(), types, op_slots, operand_slots };
    let mut lowering = Lowering { slots, edges, layout, lowered, steps: 0 };
    for (slot, info) in slots.iter().enumerate() {
        let part = lowering.part(slot as u32, &info.rule)?;
        if let Some(place) = lowering.lowered.parts.get_mut(slot) {
            *place = part;
        }
    }
    Ok(lowering.lowered)
}

struct Lowering<'a> {
    slots: &'a [SlotInfo],
    edges: &'a [EdgeInfo],
    layout: &'a Layout,
    lowered: Lowered,
    /// Steps of all arrows together.
    steps: usize,
}

impl Lowering<'_> {
    /// Recursion is bounded: the parsers bound the depth of rules.
    fn part(&mut self, slot: u32, rule: &Rule) -> Result<Part, Unfit> {
        Ok(match rule {
            Rule::Nil => Part::Nil,
            Rule::This => Part::Stored(slot),
            Rule::Itself => Part::Itself,
            Rule::Slot(named) => Part::Group(*named),
            Rule::Arrow { relation, all: false, targets } => {
                let walks = self.walks(*relation, targets)?.into_iter().filter_map(|walk| {
                    let AllWalk { edge, lane, guarded, target } = walk;
                    target.map(|target| Walk { edge, lane, guarded, target, flat: NO_LANE, chain: NO_LANE })
                });
                Part::Arrow(walks.collect())
            }
            Rule::Arrow { relation, all: true, targets } => {
                let walks = self.walks(*relation, targets)?;
                self.op(slot, Op::All(walks.into()))
            }
            Rule::Union(operands) => {
                let parts: Result<Vec<Part>, Unfit> =
                    operands.iter().map(|rule| self.part(slot, rule)).collect();
                Part::Union(parts?)
            }
            Rule::Intersection(operands) => {
                let require: Result<Box<[u32]>, Unfit> =
                    operands.iter().map(|rule| self.operand(slot, rule)).collect();
                self.op(slot, Op::Both { require: require?, except: Box::default(), except_first: false })
            }
            Rule::Exclusion(..) => {
                // A chain is one operation: `a - b - c` lacks both.
                let (mut first, mut except) = (rule, Vec::new());
                while let Rule::Exclusion(left, right) = first {
                    except.push(self.operand(slot, right)?);
                    first = left;
                }
                let require = self.operand(slot, first)?;
                let (require, except) = (Box::new([require]), except.into());
                self.op(slot, Op::Both { require, except, except_first: false })
            }
            Rule::Conditional(inner, condition) => {
                let group = self.operand(slot, inner)?;
                self.op(slot, Op::When { group, condition: *condition })
            }
        })
    }

    /// The group of an operand: its own when it is a name, otherwise a new one.
    fn operand(&mut self, slot: u32, rule: &Rule) -> Result<u32, Unfit> {
        Ok(match self.part(slot, rule)? {
            Part::Group(named) => named,
            part => {
                self.lowered.parts.push(part);
                self.lowered.operand_slots.push(slot);
                self.lowered.types.push(self.slots.get(slot as usize).map_or(0, |info| info.type_id));
                self.lowered.parts.len() as u32 - 1
            }
        })
    }

    fn op(&mut self, slot: u32, op: Op) -> Part {
        self.lowered.ops.push(op);
        self.lowered.op_slots.push(slot);
        Part::Op(self.lowered.ops.len() as u32 - 1)
    }

    /// The lanes of a relation's objects and what is asked there; of a userset only the object counts.
    fn walks(&mut self, relation: u32, targets: &[(u32, u32)]) -> Result<Vec<AllWalk>, Unfit> {
        let mut walks = Vec::new();
        for &edge in self.slots.get(relation as usize).into_iter().flat_map(|info| &info.edges) {
            let object_type = match self.edges.get(edge as usize).map(|info| info.subject) {
                Some(SubjectKind::Object(id)) => id,
                Some(SubjectKind::Userset(slot)) => {
                    self.slots.get(slot as usize).map_or(0, |info| info.type_id)
                }
                _ => continue,
            };
            let target = targets.iter().find(|(id, _)| *id == object_type).map(|&(_, target)| target);
            let lanes = self.layout.edge(edge);
            for guarded in [false, true] {
                let lane = lanes.lane(guarded);
                if lane != NO_LANE {
                    walks.push(AllWalk { edge, lane, guarded, target });
                }
            }
        }
        self.steps += walks.len();
        if self.steps > MAX_STEPS { Err(Unfit::TooLarge) } else { Ok(walks) }
    }
}
