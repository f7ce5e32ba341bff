//! On which objects of a type does a subject hold a permission? Found from the subject, going up.
//!
//! Going up finds all candidates: who holds a group holds one of those below it. Where nothing but
//! reaching decides, they are the answer; otherwise each candidate is asked about.

use rustc_hash::FxHashSet;

use crate::context::Context;
use crate::error::{CheckError, TooComplex};
use crate::graph::Graph;
use crate::graph::guard::Value;
use crate::graph::ids::{ABSENT_SUBJECT, ObjectId, PermissionId, SubjectId};
use crate::graph::key::Name;
use crate::graph::page::{Cursor, Page};
use crate::graph::record::Record;
use crate::graph::search::Search;
use crate::graph::solve::{key, unkey};
use crate::object::Object;
use crate::schema::Schema;
use crate::schema::program::{Group, NO_LANE, Op, ProbeKind, Up};
use crate::subject::Subject;

/// Nodes on the way up.
const MAX_NODES: usize = 5_000_000;

impl Graph {
    /// The objects of a type on which the subject holds the permission, by id; complete. Those of which
    /// it depends on conditions are not among them.
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn lookup_objects(
        &self,
        subject: &Subject,
        permission: &str,
        object_type: &str,
    ) -> Result<Vec<Object>, CheckError> {
        Ok(self.lookup_objects_in(&Context::new(), subject, permission, object_type, None, usize::MAX)?.items)
    }

    /// As [`Graph::lookup_objects`], with values for conditions or as of a time, and in pages: at most
    /// `limit` objects after those of the last page, allowed and conditional ones together.
    ///
    /// ```
    /// use formwork_authz::{Context, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition document { relation viewer: user }
    ///     ")?,
    ///     (1..=5).map(|n| formwork_authz::rel!("document:{n}#viewer@user:anna")),
    /// );
    /// let (context, anna) = (Context::new(), Subject::new("user", "anna"));
    /// let first = graph.lookup_objects_in(&context, &anna, "viewer", "document", None, 3)?;
    /// assert_eq!(first.items.len(), 3);
    /// let rest = graph.lookup_objects_in(&context, &anna, "viewer", "document", first.next.as_ref(), 3)?;
    /// assert_eq!(rest.items, [Object::new("document", 4), Object::new("document", 5)]);
    /// assert_eq!(rest.next, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn lookup_objects_in(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        object_type: &str,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, CheckError> {
        let type_id = self.type_id(object_type)?;
        let group = self.group_of(type_id, permission)?;
        let target = self.target(subject)?;
        let found = Search::new(self, target, context).objects(group)?;
        let name = |(number, value): (u32, Value)| Some((self.state.name(type_id, number)?, value));
        let mut found: Vec<(Name<'_>, Value)> = found.into_iter().filter_map(name).collect();
        // A subject holds what is its own, even when nothing is stored about it.
        if target.object == ABSENT_SUBJECT && !subject.is_wildcard() && subject.subject_type() == object_type
        {
            let question = self.question(subject, permission, subject.object())?;
            let mut search = Search::new(self, question.target, context);
            let value = search.decide(question.object, question.group);
            search.settled(value)?;
            found.extend((value != Value::No).then_some((Name::Text(subject.id()), value)));
        }
        found.sort_unstable();
        let start = after.map_or(0, |after| found.partition_point(|(id, _)| **id <= *after.as_str()));
        let rest = found.get(start..).unwrap_or(&[]);
        let page = rest.get(..limit.min(rest.len())).unwrap_or(&[]);
        let of = |wanted: Value| {
            let those = page.iter().filter(move |(_, value)| *value == wanted);
            those.map(|(id, _)| Object::new(object_type.to_owned(), id)).collect()
        };
        let more = rest.len() > page.len();
        let next = page.last().filter(|_| more).map(|(id, _)| Cursor::after(id.to_string()));
        Ok(Page { items: of(Value::Yes), conditional: of(Value::Maybe), next })
    }

    /// As [`Graph::lookup_objects`] for what has been resolved; in the order of the graph's numbers.
    ///
    /// # Errors
    ///
    /// As [`Graph::check_ids`].
    pub fn lookup_object_ids(
        &self,
        subject: SubjectId,
        permission: PermissionId,
        context: &Context,
    ) -> Result<Vec<ObjectId>, CheckError> {
        if !self.knows(subject, permission, self.object_id(permission.type_id, 0)) {
            return Err(CheckError::ForeignId);
        }
        let found = Search::new(self, subject.target, context).objects(permission.group)?;
        let allowed = found.into_iter().filter(|(_, value)| *value == Value::Yes);
        Ok(allowed.map(|(number, _)| self.object_id(permission.type_id, number)).collect())
    }
}

impl Search<'_> {
    /// The objects on which the subject holds the group, and how far; by number.
    fn objects(&mut self, group: u32) -> Result<Vec<(u32, Value)>, CheckError> {
        let schema = &self.graph.schema;
        let Some(found) = schema.group(group) else { return Ok(Vec::new()) };
        if found.plain {
            return Ok(all_yes(self.candidates(group)?));
        }
        // A userset is in itself, which no set says.
        let itself = found.covers.contains(&self.target.slot);
        if let Some(sets) = Sets::of(schema, found).filter(|_| !itself) {
            return self.by_sets(sets).map(all_yes);
        }
        let mut held = Vec::new();
        for object in self.candidates(group)? {
            let value = self.decide(object, group);
            let value = self.settled(value)?;
            held.extend((value != Value::No).then_some((object, value)));
        }
        Ok(held)
    }

    fn by_sets(&mut self, (require, except): Sets<'_>) -> Result<Vec<u32>, CheckError> {
        let mut held = self.candidates(require)?;
        for &group in except {
            let taken = self.candidates(group)?;
            if !taken.is_empty() {
                held.retain(|object| taken.binary_search(object).is_err());
            }
        }
        Ok(held)
    }

    /// The objects on which the subject may hold the group; sorted.
    fn candidates(&mut self, root: u32) -> Result<Vec<u32>, CheckError> {
        let relevant = Relevant::below(&self.graph.schema, root);
        let mut climb =
            Climb { root, found: Vec::new(), seen: FxHashSet::default(), todo: Vec::new(), relevant };
        let members = self.members().copied();
        for at in 0..climb.relevant.groups.len() {
            let Some(&group) = climb.relevant.groups.get(at) else { break };
            self.stand(&mut climb, group, members);
        }
        while let Some(node) = climb.todo.pop() {
            self.climb(&mut climb, node, members);
            if climb.seen.len() > MAX_NODES {
                return Err(TooComplex::new("objects", MAX_NODES).into());
            }
        }
        // Lists come sorted, one after the other: runs, which this sort knows how to use.
        climb.found.sort();
        climb.found.dedup();
        Ok(climb.found)
    }

    /// Where the subject itself stands.
    fn stand(&self, climb: &mut Climb, group: u32, members: Option<Record<'_>>) {
        let (graph, target) = (self.graph, self.target);
        let Some(found) = graph.schema.group(group) else { return };
        if let Some(members) = members.filter(|_| found.flat != NO_LANE) {
            return members.list(found.flat).iter().for_each(|object| climb.add(group, object));
        }
        let known = target.object < ABSENT_SUBJECT;
        let itself = found.itself && target.plain == found.type_id;
        if known && (itself || found.covers.contains(&target.slot)) {
            climb.add(group, target.object);
        }
        for (probes, guarded) in [(&found.probes, false), (&found.guarded, true)] {
            for probe in probes {
                let fits = match probe.kind {
                    ProbeKind::Member => target.plain == probe.type_id && known,
                    ProbeKind::Everyone => target.everyone == probe.type_id,
                };
                if fits {
                    let list = graph.state.back_list(&graph.schema, probe.edge, target.object, guarded);
                    climb.add_all(group, list.slices());
                }
            }
        }
    }

    fn climb(&self, climb: &mut Climb, node: u64, members: Option<Record<'_>>) {
        let (group, object) = unkey(node);
        let graph = self.graph;
        for &up in graph.schema.program.ups.get(group as usize).into_iter().flatten() {
            match up {
                Up::Same { group } if climb.relevant.has(group) => climb.add(group, object),
                Up::Over { edge, group } if climb.relevant.has(group) => {
                    // All of those are there from the beginning.
                    if members.is_some()
                        && graph.schema.group(group).is_some_and(|group| group.flat != NO_LANE)
                    {
                        continue;
                    }
                    for guarded in [false, true] {
                        let list = graph.state.back_list(&graph.schema, edge, object, guarded);
                        climb.add_all(group, list.slices());
                    }
                }
                _ => {}
            }
        }
    }
}

fn all_yes(objects: Vec<u32>) -> Vec<(u32, Value)> {
    objects.into_iter().map(|object| (object, Value::Yes)).collect()
}

/// A group that is one plain one without others that are direct: its answer is one list without
/// others.
type Sets<'s> = (u32, &'s [u32]);

trait AsSets<'s>: Sized {
    fn of(schema: &'s Schema, group: &'s Group) -> Option<Self>;
}

impl<'s> AsSets<'s> for Sets<'s> {
    fn of(schema: &'s Schema, group: &'s Group) -> Option<Self> {
        let alone =
            group.probes.is_empty() && group.guarded.is_empty() && group.walks.is_empty() && !group.itself;
        let (true, [op]) = (alone, &*group.ops) else { return None };
        let Some(Op::Both { require, except, .. }) = schema.op(*op) else { return None };
        let [require] = **require else { return None };
        let direct = |group: &u32| {
            schema.group(*group).is_some_and(|group| {
                let members = group.probes.iter().all(|probe| probe.kind == ProbeKind::Member);
                group.plain && members && group.walks.is_empty()
            })
        };
        let plain = schema.group(require).is_some_and(|group| group.plain);
        (plain && except.iter().all(direct)).then_some((require, except))
    }
}

/// The groups from which a root can be reached going up.
struct Relevant {
    groups: Vec<u32>,
    has: Vec<bool>,
}

impl Relevant {
    fn has(&self, group: u32) -> bool {
        self.has.get(group as usize) == Some(&true)
    }

    fn add(&mut self, group: u32) {
        if let Some(has) = self.has.get_mut(group as usize)
            && !*has
        {
            *has = true;
            self.groups.push(group);
        }
    }

    fn below(schema: &Schema, root: u32) -> Self {
        let mut relevant = Self { groups: Vec::new(), has: vec![false; schema.program.groups.len()] };
        relevant.add(root);
        let mut at = 0;
        while let Some(group) = relevant.groups.get(at).and_then(|&group| schema.group(group)) {
            at += 1;
            group.walks.iter().for_each(|walk| relevant.add(walk.target));
            for op in group.ops.iter().filter_map(|&op| schema.op(op)) {
                match op {
                    // Whoever holds all holds the first.
                    Op::Both { require, .. } => {
                        require.first().into_iter().for_each(|&group| relevant.add(group))
                    }
                    Op::All(walks) => {
                        walks.iter().filter_map(|walk| walk.target).for_each(|to| relevant.add(to))
                    }
                    Op::When { group, .. } => relevant.add(*group),
                }
            }
        }
        relevant
    }
}

struct Climb {
    root: u32,
    found: Vec<u32>,
    seen: FxHashSet<u64>,
    todo: Vec<u64>,
    relevant: Relevant,
}

impl Climb {
    fn add(&mut self, group: u32, object: u32) {
        if self.seen.insert(key(group, object)) {
            self.todo.push(key(group, object));
            if group == self.root {
                self.found.push(object);
            }
        }
    }

    fn add_all<'l>(&mut self, group: u32, slices: impl Iterator<Item = &'l [u32]>) {
        slices.flatten().for_each(|&object| self.add(group, object));
    }
}
