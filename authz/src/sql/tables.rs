//! Rules as rows: what a statement joins `permission_tuples` with.
//!
//! A group is a relation or permission, or an operand without a name, with everything that it contains on the same
//! object. Its rows say where its subjects are stored, and which other group is asked on which objects.
//!
//! INVARIANT: the rows lead to every relationship that can matter to a group; of rules without operations and conditions
//! they lead to nothing else, so that reaching is holding.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::schema::{Rule, Schema, SlotInfo, SubjectKind};

/// Which stored rows of a form of subject count, when they have no condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Counts {
    pub(crate) bare: bool,
    pub(crate) expiring: bool,
}

/// Objects of a type, or everyone of it, may be stored as subjects in a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) group: u32,
    pub(crate) relation: u32,
    pub(crate) subject_type: u32,
    pub(crate) wildcard: bool,
    pub(crate) counts: Counts,
    /// Under no subtrahend: whoever is stored there may hold the group.
    pub(crate) adds: bool,
}

/// On the objects that a relation holds, another group is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Walk {
    pub(crate) group: u32,
    pub(crate) relation: u32,
    pub(crate) subject_type: u32,
    /// The slot that stands behind `#`.
    pub(crate) subject_relation: Option<u32>,
    pub(crate) counts: Counts,
    /// None where the objects matter and nothing is asked of them: `.all()` over a type that has nothing of the name.
    pub(crate) to: Option<u32>,
    pub(crate) adds: bool,
}

/// A subject that holds a group on its own object: the object itself, or one of its usersets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Own {
    pub(crate) group: u32,
    pub(crate) object_type: u32,
    pub(crate) relation: Option<u32>,
}

/// The rows of some groups and of all that they lead to. The first groups are those that were asked for, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) probes: Vec<Probe>,
    pub(crate) walks: Vec<Walk>,
    pub(crate) own: Vec<Own>,
}

impl Tables {
    /// Of relations and permissions.
    pub(crate) fn of_slots(schema: &Schema, slots: &[u32]) -> Self {
        let mut gather = Gather::new(schema);
        for &slot in slots {
            gather.group_of(slot);
        }
        gather.finish()
    }

    /// Of a union of rules of one slot.
    pub(crate) fn of_rules(schema: &Schema, slot: u32, rules: &[&Rule]) -> Self {
        let mut gather = Gather::new(schema);
        gather.groups = 1;
        gather.gather(0, rules.iter().map(|rule| (slot, *rule, true)).collect());
        gather.finish()
    }

    /// Of nothing but that a userset contains itself.
    pub(crate) fn of_userset(schema: &Schema, slot: u32) -> Self {
        let object_type = schema.slot(slot).map_or(0, |info| info.type_id);
        let own = vec![Own { group: 0, object_type, relation: Some(slot) }];
        Self { own, ..Self::default() }
    }
}

struct Gather<'s> {
    schema: &'s Schema,
    groups: u32,
    known: FxHashMap<u32, u32>,
    todo: Vec<(u32, u32)>,
    tables: Tables,
}

impl<'s> Gather<'s> {
    fn new(schema: &'s Schema) -> Self {
        Self { schema, groups: 0, known: FxHashMap::default(), todo: Vec::new(), tables: Tables::default() }
    }

    fn finish(mut self) -> Tables {
        while let Some((group, slot)) = self.todo.pop() {
            let named = Rule::Slot(slot);
            self.gather(group, vec![(slot, &named, true)]);
        }
        distinct(&mut self.tables.probes);
        distinct(&mut self.tables.walks);
        distinct(&mut self.tables.own);
        self.tables
    }

    fn group_of(&mut self, slot: u32) -> u32 {
        if let Some(&group) = self.known.get(&slot) {
            return group;
        }
        let group = self.groups;
        self.groups += 1;
        self.known.insert(slot, group);
        self.todo.push((group, slot));
        group
    }

    /// Whose subjects become the group's: rules of slots, and whether they add.
    fn gather<'r>(&mut self, group: u32, mut rules: Vec<(u32, &'r Rule, bool)>)
    where
        's: 'r,
    {
        let mut seen = FxHashSet::default();
        while let Some((slot, rule, adds)) = rules.pop() {
            match rule {
                Rule::Nil => {}
                Rule::This => self.stored(group, slot, adds),
                Rule::Itself => self.own(group, slot, None),
                Rule::Slot(named) => {
                    if seen.insert((*named, adds))
                        && let Some(info) = self.schema.slot(*named)
                    {
                        self.own(group, *named, Some(*named));
                        rules.push((*named, &info.rule, adds));
                    }
                }
                Rule::Arrow { relation, all, targets } => self.arrow(group, *relation, *all, targets, adds),
                Rule::Union(operands) | Rule::Intersection(operands) => {
                    rules.extend(operands.iter().map(|operand| (slot, operand, adds)));
                }
                Rule::Exclusion(from, subtrahend) => {
                    rules.push((slot, from, adds));
                    rules.push((slot, subtrahend, false));
                }
                Rule::Conditional(inner, _) => rules.push((slot, inner, adds)),
            }
        }
    }

    fn own(&mut self, group: u32, slot: u32, relation: Option<u32>) {
        let object_type = self.schema.slot(slot).map_or(0, |info| info.type_id);
        self.tables.own.push(Own { group, object_type, relation });
    }

    fn stored(&mut self, group: u32, relation: u32, adds: bool) {
        let schema = self.schema;
        for &edge in schema.slot(relation).into_iter().flat_map(|info| &info.edges) {
            let counts =
                Counts { bare: schema.allows(edge, None, false), expiring: schema.allows(edge, None, true) };
            let (subject_type, wildcard) = match schema.edge(edge).map(|info| info.subject) {
                Some(SubjectKind::Object(id)) => (id, false),
                Some(SubjectKind::Wildcard(id)) => (id, true),
                Some(SubjectKind::Userset(slot)) => {
                    let subject_type = schema.slot(slot).map_or(0, |info| info.type_id);
                    let to = Some(self.group_of(slot));
                    let subject_relation = Some(slot);
                    self.tables.walks.push(Walk {
                        group,
                        relation,
                        subject_type,
                        subject_relation,
                        counts,
                        to,
                        adds,
                    });
                    continue;
                }
                None => continue,
            };
            self.tables.probes.push(Probe { group, relation, subject_type, wildcard, counts, adds });
        }
    }

    /// Of a userset in the relation only the object counts; a wildcard is no object.
    fn arrow(&mut self, group: u32, relation: u32, all: bool, targets: &[(u32, u32)], adds: bool) {
        let schema = self.schema;
        for &edge in schema.slot(relation).into_iter().flat_map(|info| &info.edges) {
            let counts =
                Counts { bare: schema.allows(edge, None, false), expiring: schema.allows(edge, None, true) };
            let (subject_type, subject_relation) = match schema.edge(edge).map(|info| info.subject) {
                Some(SubjectKind::Object(id)) => (id, None),
                Some(SubjectKind::Userset(slot)) => {
                    (schema.slot(slot).map_or(0, |info| info.type_id), Some(slot))
                }
                _ => continue,
            };
            let target = targets.iter().find(|(id, _)| *id == subject_type);
            let to = target.map(|&(_, slot)| self.group_of(slot));
            if to.is_some() || all {
                self.tables.walks.push(Walk {
                    group,
                    relation,
                    subject_type,
                    subject_relation,
                    counts,
                    to,
                    adds,
                });
            }
        }
    }
}

fn distinct<T: Copy + Eq + std::hash::Hash>(rows: &mut Vec<T>) {
    let mut seen = FxHashSet::default();
    rows.retain(|row| seen.insert(*row));
}

/// What keeps a rule from being told by reaching alone, and the slot in which it stands.
pub(crate) fn obstacle(schema: &Schema, slot: u32, rule: &Rule) -> Option<(&'static str, u32)> {
    let (mut seen, mut todo) = (FxHashSet::default(), vec![(slot, rule)]);
    let conditional = |info: &SlotInfo| info.allowed.iter().any(|allowed| allowed.condition.is_some());
    while let Some((at, rule)) = todo.pop() {
        let mut next = |slot: u32, todo: &mut Vec<_>| {
            if seen.insert(slot) {
                todo.extend(schema.slot(slot).map(|info| (slot, &info.rule)));
            }
        };
        match rule {
            Rule::Nil | Rule::Itself => {}
            Rule::This => {
                let Some(info) = schema.slot(at) else { continue };
                if conditional(info) {
                    return Some(("a condition", at));
                }
                for allowed in &info.allowed {
                    if let SubjectKind::Userset(slot) = allowed.subject {
                        next(slot, &mut todo);
                    }
                }
            }
            Rule::Slot(named) => next(*named, &mut todo),
            Rule::Arrow { all: true, .. } => return Some(("`.all()`", at)),
            Rule::Arrow { relation, targets, .. } => {
                if schema.slot(*relation).is_some_and(conditional) {
                    return Some(("a condition", *relation));
                }
                targets.iter().for_each(|&(_, slot)| next(slot, &mut todo));
            }
            Rule::Union(operands) => todo.extend(operands.iter().map(|operand| (at, operand))),
            Rule::Intersection(_) => return Some(("an intersection", at)),
            Rule::Exclusion(..) => return Some(("an exclusion", at)),
            Rule::Conditional(..) => return Some(("a condition", at)),
        }
    }
    None
}
