//! Which subjects of a type hold a permission on an object? Found from the object, going down.
//!
//! Going down finds everyone who is named anywhere below, those who are excluded as well; each is asked
//! about unless nothing but reaching decides. Everyone of the type is one more to be asked about: then
//! those who are named and do not hold it are its exceptions.

use rustc_hash::FxHashSet;

use crate::context::Context;
use crate::error::{CheckError, TooComplex};
use crate::graph::Graph;
use crate::graph::guard::Value;
use crate::graph::ids::ABSENT_OBJECT;
use crate::graph::key::Name;
use crate::graph::page::{Cursor, Page};
use crate::graph::search::{Search, Target};
use crate::object::Object;
use crate::schema::program::{Group, Op, ProbeKind};
use crate::subject::Subject;

const MAX_NODES: usize = 5_000_000;

/// A subject that holds a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSubject {
    /// Who; everyone of the type when it is a wildcard.
    pub subject: Subject,
    /// Of a wildcard: those who do not hold it all the same, by id. Those for whom it depends on
    /// conditions are among the page's conditional ones.
    pub except: Vec<Subject>,
}

impl Graph {
    /// The subjects of a type that hold the permission on the object, by id; complete. With a relation,
    /// usersets are looked for: `("team", Some("member"))` finds teams whose members hold it.
    ///
    /// Everyone of a type, found by a wildcard, comes first and has its exceptions. Subjects that hold
    /// the permission by the wildcard only are not listed one by one.
    ///
    /// ```
    /// use formwork_authz::{Context, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition document {
    ///             relation viewer: user | user:*
    ///             relation banned: user
    ///             permission view = viewer - banned
    ///         }
    ///     ")?,
    ///     ["document:7#viewer@user:*".parse()?, "document:7#banned@user:eve".parse()?],
    /// );
    /// let found = graph.lookup_subjects(&Context::new(), &Object::new("document", 7), "view", ("user", None), None, 10)?;
    /// assert_eq!(found.items[0].subject, Subject::wildcard("user"));
    /// assert_eq!(found.items[0].except, [Subject::new("user", "eve")]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn lookup_subjects(
        &self,
        context: &Context,
        object: &Object,
        permission: &str,
        (subject_type, relation): (&str, Option<&str>),
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<FoundSubject>, CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let group = self.group_of(type_id, permission)?;
        let wanted_type = self.type_id(subject_type)?;
        let slot = relation.map(|relation| self.group_of(wanted_type, relation)).transpose()?;
        let number = match self.state.find(type_id, object.id()) {
            Some(number) => number,
            None => {
                object.validate()?;
                ABSENT_OBJECT
            }
        };
        let wanted = Wanted { type_id: wanted_type, slot };
        let below = self.below(number, group, wanted)?;
        let mut found = self.hold(context, number, group, wanted, below)?;
        // What holds of itself does so even when nothing is stored about it.
        if number == ABSENT_OBJECT && subject_type == object.object_type() {
            let subject = match relation {
                Some(relation) => Subject::userset(subject_type.to_owned(), object.id(), relation.to_owned()),
                None => Subject::new(subject_type.to_owned(), object.id()),
            };
            let question = self.question(&subject, permission, object)?;
            let mut search = Search::new(self, question.target, context);
            let value = search.decide(question.object, question.group);
            search.settled(value)?;
            found.named.extend((value != Value::No).then_some((Name::Text(object.id()), value)));
        }
        let make = |id: &str| match relation {
            Some(relation) => Subject::userset(subject_type.to_owned(), id, relation.to_owned()),
            None => Subject::new(subject_type.to_owned(), id),
        };
        Ok(page(found, make, subject_type, after, limit))
    }

    /// Everyone who is named below a node.
    fn below(&self, object: u32, group: u32, wanted: Wanted) -> Result<FxHashSet<u32>, CheckError> {
        let mut found = FxHashSet::default();
        let mut seen: FxHashSet<(u32, u32)> = FxHashSet::default();
        let mut todo = vec![(group, object)];
        while let Some((number, object)) = todo.pop() {
            if !seen.insert((number, object)) {
                continue;
            }
            if seen.len() > MAX_NODES {
                return Err(TooComplex::new("objects", MAX_NODES).into());
            }
            let Some(group) = self.schema.group(number) else { continue };
            if group.type_id == wanted.type_id && (wanted.slot.is_some() || group.itself) {
                found.insert(object);
            }
            self.step_down(object, group, wanted, &mut found, &mut todo);
        }
        found.remove(&ABSENT_OBJECT);
        Ok(found)
    }

    fn step_down(
        &self,
        object: u32,
        group: &Group,
        wanted: Wanted,
        found: &mut FxHashSet<u32>,
        todo: &mut Vec<(u32, u32)>,
    ) {
        let record = self.state.record(group.type_id, object);
        for probe in group.probes.iter().chain(&group.guarded) {
            if probe.kind == ProbeKind::Member && probe.type_id == wanted.type_id && wanted.slot.is_none() {
                found.extend(record.list(probe.lane).iter());
            }
        }
        for walk in &group.walks {
            todo.extend(record.list(walk.lane).iter().map(|next| (walk.target, next)));
        }
        for op in group.ops.iter().filter_map(|&op| self.schema.op(op)) {
            match op {
                Op::Both { require, except, .. } => {
                    todo.extend(require.iter().chain(except).map(|&group| (group, object)));
                }
                Op::When { group, .. } => todo.push((*group, object)),
                Op::All(walks) => {
                    for walk in walks {
                        let Some(target) = walk.target else { continue };
                        todo.extend(record.list(walk.lane).iter().map(|next| (target, next)));
                    }
                }
            }
        }
    }

    fn hold(
        &self,
        context: &Context,
        object: u32,
        group: u32,
        wanted: Wanted,
        below: FxHashSet<u32>,
    ) -> Result<Found<'_>, CheckError> {
        let ask = |target: Target| {
            let mut search = Search::new(self, target, context);
            let value = search.decide(object, group);
            search.settled(value)
        };
        let everyone = if wanted.slot.is_none() { ask(Target::everyone(wanted.type_id))? } else { Value::No };
        let plain = wanted.slot.is_none() && self.schema.group(group).is_some_and(|group| group.plain);
        let mut found = Found { everyone, named: Vec::new(), except: Vec::new() };
        for number in below {
            let Some(id) = self.state.name(wanted.type_id, number) else { continue };
            if plain {
                found.named.push((id, Value::Yes));
                continue;
            }
            let target = match wanted.slot {
                Some(slot) => Target::userset(slot, number),
                None => Target::object(wanted.type_id, number),
            };
            let value = ask(target)?;
            if value == Value::No {
                found.except.push(id);
            } else if value < everyone || everyone == Value::No || ask(target.without_wildcards())? >= value {
                found.named.push((id, value));
            }
        }
        Ok(found)
    }
}

#[derive(Clone, Copy)]
struct Wanted {
    type_id: u32,
    slot: Option<u32>,
}

struct Found<'g> {
    everyone: Value,
    named: Vec<(Name<'g>, Value)>,
    except: Vec<Name<'g>>,
}

fn page(
    mut found: Found<'_>,
    make: impl Fn(&str) -> Subject,
    subject_type: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> Page<FoundSubject> {
    found.named.sort_unstable();
    found.except.sort_unstable();
    let start = after.map_or(0, |after| found.named.partition_point(|(id, _)| **id <= *after.as_str()));
    let rest = found.named.get(start..).unwrap_or(&[]);
    let wildcard = found.everyone != Value::No && after.is_none();
    let room = limit.saturating_sub(usize::from(wildcard));
    let here = rest.get(..room.min(rest.len())).unwrap_or(&[]);
    let mut page = Page { items: Vec::new(), conditional: Vec::new(), next: None };
    if wildcard && limit > 0 {
        let except = found.except.iter().map(|id| make(id)).collect();
        let everyone = FoundSubject { subject: Subject::wildcard(subject_type.to_owned()), except };
        page.put(everyone, found.everyone);
    }
    for (id, value) in here {
        page.put(FoundSubject { subject: make(id), except: Vec::new() }, *value);
    }
    if rest.len() > here.len() {
        // The wildcard alone may have filled the page: `*` is before every id.
        let last = here.last().map_or(String::new(), |(id, _)| id.to_string());
        page.next = Some(Cursor::after(last));
    }
    page
}

impl Page<FoundSubject> {
    fn put(&mut self, found: FoundSubject, value: Value) {
        if value == Value::Yes { self.items.push(found) } else { self.conditional.push(found) }
    }
}

impl Target {
    fn without_wildcards(self) -> Self {
        Self { everyone: u32::MAX, ..self }
    }
}
