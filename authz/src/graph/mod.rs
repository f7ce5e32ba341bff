//! One tenant's relationships in memory, as one immutable snapshot.
//!
//! A graph is a large base, shared between snapshots, and a small overlay of what changed since the
//! base was built. A change makes a new graph in time that grows with the change, not with the
//! graph; when the overlay outgrows a fraction of the base, both become a new base.

mod base;
mod cow_map;
mod edges;
mod names;
mod overlay;
mod proof;
mod search;
mod solve;

use std::fmt;
use std::sync::Arc;

use base::Base;
pub(crate) use base::{Builder, Row};
use overlay::{Delta, Overlay};
use search::Search;

use crate::decision::Decision;
use crate::error::CheckError;
use crate::object::Object;
use crate::relationship::{Change, Relationship};
use crate::schema::Schema;
use crate::subject::Subject;

/// An overlay of so many changes is never merged: merging copies the base.
const MIN_MERGE: usize = 2_048;
/// An overlay is merged when it has more changes than this part of the base.
const MERGE_FRACTION: usize = 8;

/// Stands for an object that has no relationship: no list has this number.
const ABSENT_OBJECT: u32 = u32::MAX;
/// Stands for a subject that has no relationship and is not the object that is asked about.
const ABSENT_SUBJECT: u32 = u32::MAX - 1;

/// One tenant's relationships in memory: an immutable snapshot that answers checks.
///
/// Cheap to clone. [`Graph::apply`] gives a new snapshot and leaves this one as it is, so a reader
/// sees one state for as long as it likes and takes no lock.
///
/// # Who may view the document?
///
/// ```
/// use std::sync::Arc;
/// use formwork_authz::{Change, Decision, Graph, Object, Schema, Subject};
///
/// let schema = Arc::new(Schema::parse("
///     definition user {}
///     definition team { relation member: user }
///     definition document {
///         relation viewer: user | team#member
///         permission view = viewer
///     }
/// ")?);
/// let graph = Graph::load(schema, [
///     "document:7#viewer@team:eng#member".parse()?,
///     "team:eng#member@user:anna".parse()?,
/// ]);
/// let (anna, document) = (Subject::new("user", "anna"), Object::new("document", 7));
/// assert_eq!(graph.check(&anna, "view", &document)?, Decision::Allowed);
///
/// let later = graph.apply(&[Change::Delete("team:eng#member@user:anna".parse()?)]);
/// assert_eq!(later.check(&anna, "view", &document)?, Decision::Denied);
/// assert_eq!(graph.check(&anna, "view", &document)?, Decision::Allowed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Graph {
    schema: Arc<Schema>,
    base: Arc<Base>,
    overlay: Overlay,
    tuples: usize,
    ignored: usize,
}

/// Who is asked about, in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// The type whose lists may have the subject itself.
    plain: Option<u32>,
    /// The type whose wildcards hold for the subject.
    everyone: Option<u32>,
    /// The relation or permission of a userset.
    userset: Option<u32>,
    object: u32,
}

/// What is asked, in numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) target: Target,
    pub(crate) group: u32,
    pub(crate) object: u32,
}

impl Graph {
    /// Builds a graph from relationships in any order; repeated ones count once.
    ///
    /// Relationships that the schema has no place for are left out and counted by
    /// [`Graph::ignored`]: a table may hold what an older schema allowed.
    pub fn load(
        schema: impl Into<Arc<Schema>>,
        relationships: impl IntoIterator<Item = Relationship>,
    ) -> Self {
        let schema = schema.into();
        let mut builder = Builder::new(&schema);
        for relationship in relationships {
            builder.add(&schema, Row::from(&relationship));
        }
        Self::built(schema, builder)
    }

    pub(crate) fn built(schema: Arc<Schema>, builder: Builder) -> Self {
        let ignored = builder.ignored();
        let base = builder.build(&schema);
        Self { tuples: base.tuples(), schema, base: Arc::new(base), overlay: Overlay::default(), ignored }
    }

    /// A snapshot with the changes, in their order; this one stays as it is.
    ///
    /// Changes that the schema has no place for have no effect, as in [`Graph::load`].
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        self.apply_rows(changes.iter().map(|change| match change {
            Change::Touch(relationship) => (Row::from(relationship), true),
            Change::Delete(relationship) => (Row::from(relationship), false),
        }))
    }

    pub(crate) fn apply_rows<'a>(&self, rows: impl IntoIterator<Item = (Row<'a>, bool)>) -> Self {
        let mut graph = self.clone();
        for (row, present) in rows {
            graph.set(row, present);
        }
        if graph.overlay.changes() > MIN_MERGE.max(graph.base.tuples() / MERGE_FRACTION) {
            graph.base = Arc::new(graph.base.merged(&graph.schema, &graph.overlay));
            graph.overlay = Overlay::default();
        }
        graph
    }

    fn set(&mut self, row: Row<'_>, present: bool) -> Option<()> {
        let Some(place) = row.edge(&self.schema) else {
            self.ignored += usize::from(present);
            return None;
        };
        // What is deleted needs no number when it has none.
        let mut number = |type_id, name| match self.find(type_id, name) {
            None if present => {
                let hash = self.base.hash(type_id, name);
                self.overlay.add_name(&self.base, type_id, hash, name)
            }
            found => found,
        };
        let object = number(place.object_type, row.object_id)?;
        let target = match place.subject_type {
            Some(subject_type) => number(subject_type, row.subject_id)?,
            None => 0,
        };
        if self.overlay.set(&self.base, place.edge, object, target, present) {
            self.tuples = if present { self.tuples + 1 } else { self.tuples.saturating_sub(1) };
        }
        Some(())
    }

    /// Does the subject hold the permission, or relation, on the object?
    ///
    /// Cycles among relationships have an answer, whatever their length: what holds only because of
    /// itself does not hold. A userset that is asked about contains itself, and is otherwise a
    /// subject like any other: that its members are excluded does not exclude it.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the types or the permission are not in the schema, or an id cannot be
    /// one. A failure to decide is neither answer.
    pub fn check(
        &self,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Decision, CheckError> {
        let question = self.question(subject, permission, object)?;
        Ok(Decision::from_bool(Search::once(self, question)))
    }

    /// As [`Graph::check`] for several objects, whose answers share what is found out on the way.
    ///
    /// # Errors
    ///
    /// As [`Graph::check`], when one of them could not be decided.
    pub fn check_many(
        &self,
        subject: &Subject,
        permission: &str,
        objects: &[Object],
    ) -> Result<Vec<Decision>, CheckError> {
        let questions = objects.iter().map(|object| self.question(subject, permission, object));
        let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
        let Some(first) = questions.first() else { return Ok(Vec::new()) };
        Ok(Search::with(self, first.target, |search| {
            let decide = |question: &Question| {
                // An absent object that is the subject itself makes the subject another one.
                if question.target.object == search.target.object {
                    Decision::from_bool(search.decide(question.object, question.group))
                } else {
                    Decision::from_bool(Search::once(self, *question))
                }
            };
            questions.iter().map(decide).collect()
        }))
    }

    /// The objects of a type on which the subject holds the permission, by id; complete.
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
        let type_id = self.type_id(object_type)?;
        let group = self.permission(type_id, permission)?;
        let mut target = self.target(subject)?;
        let known = self.base.count(type_id) + self.overlay.count(type_id);
        // A userset holds itself, even on an object that nothing is stored about.
        let own = target.object == ABSENT_SUBJECT
            && target.userset.is_some()
            && subject.subject_type() == object_type;
        if own {
            target.object = ABSENT_OBJECT;
        }
        let mut ids: Vec<&str> = Search::with(self, target, |search| {
            let own = (own && search.decide(ABSENT_OBJECT, group)).then(|| subject.id());
            let held = (0..known).filter(|&object| search.decide(object, group));
            held.filter_map(|object| self.name(type_id, object)).chain(own).collect()
        });
        ids.sort_unstable();
        Ok(ids.into_iter().map(|id| Object::new(object_type.to_owned(), id)).collect())
    }

    /// The relationships of one way in which the question is answered with yes; `None` is a denial.
    ///
    /// They are a proof as far as relationships can be one: that somebody is not excluded follows from
    /// what is absent. Where no exclusion stands in another, a graph of these alone gives the answer.
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn explain_allowed(
        &self,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Option<Vec<Relationship>>, CheckError> {
        let question = self.question(subject, permission, object)?;
        Ok(Search::with(self, question.target, |search| {
            // The plain search is faster to a denial; only what is allowed needs a way.
            search
                .decide(question.object, question.group)
                .then(|| search.prove(question.object, question.group))
        })
        .flatten())
    }

    /// The schema that this graph was built for.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many relationships there are.
    pub fn len(&self) -> usize {
        self.tuples
    }

    /// Whether there is no relationship.
    pub fn is_empty(&self) -> bool {
        self.tuples == 0
    }

    /// How many relationships were left out because the schema has no place for them.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Memory that the graph takes, in bytes; the schema apart, an overlay estimated.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.base.bytes() + self.overlay.bytes()
    }

    pub(crate) fn question(
        &self,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Question, CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let group = self.permission(type_id, permission)?;
        let mut target = self.target(subject)?;
        let number = self.find(type_id, object.id());
        if number.is_none() {
            // What is in the graph has been verified on its way in.
            object.validate()?;
            if target.object == ABSENT_SUBJECT && subject.object() == object {
                target.object = ABSENT_OBJECT;
            }
        }
        Ok(Question { target, group, object: number.unwrap_or(ABSENT_OBJECT) })
    }

    fn target(&self, subject: &Subject) -> Result<Target, CheckError> {
        let type_id = self.type_id(subject.subject_type())?;
        let userset = match subject.relation() {
            Some(relation) => Some(self.permission(type_id, relation)?),
            None => None,
        };
        if subject.is_wildcard() {
            return Ok(Target { plain: None, everyone: Some(type_id), userset, object: ABSENT_SUBJECT });
        }
        let number = self.find(type_id, subject.id());
        if number.is_none() {
            subject.validate()?;
        }
        let plain = userset.is_none().then_some(type_id);
        Ok(Target { plain, everyone: plain, userset, object: number.unwrap_or(ABSENT_SUBJECT) })
    }

    fn type_id(&self, name: &str) -> Result<u32, CheckError> {
        self.schema.type_id(name).ok_or_else(|| CheckError::unknown_type(&self.schema, name))
    }

    fn permission(&self, type_id: u32, name: &str) -> Result<u32, CheckError> {
        let slot = self.schema.type_info(type_id).and_then(|info| info.slot_ids.get(name).copied());
        slot.ok_or_else(|| CheckError::unknown_permission(&self.schema, type_id, name))
    }

    fn find(&self, type_id: u32, name: &str) -> Option<u32> {
        let hash = self.base.hash(type_id, name);
        self.base.find(type_id, hash, name).or_else(|| self.overlay.find(type_id, hash, name))
    }

    fn name(&self, type_id: u32, number: u32) -> Option<&str> {
        self.base.name(type_id, number).or_else(|| self.overlay.name(type_id, number))
    }

    fn list(&self, edge: u32, object: u32) -> List<'_> {
        List { base: self.base.list(edge, object), delta: self.overlay.delta(edge, object) }
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("tuples", &self.tuples).finish_non_exhaustive()
    }
}

/// The subjects of one object in one relation: the base's list as the overlay changed it.
#[derive(Clone, Copy)]
struct List<'g> {
    base: &'g [u32],
    delta: Option<&'g Delta>,
}

impl<'g> List<'g> {
    fn contains(&self, target: u32) -> bool {
        let base = || self.base.binary_search(&target).is_ok();
        match self.delta {
            None => base(),
            Some(delta) => {
                delta.added.binary_search(&target).is_ok()
                    || (base() && delta.removed.binary_search(&target).is_err())
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self.delta {
            None => self.base.is_empty(),
            // What is removed is in the base.
            Some(delta) => delta.added.is_empty() && self.base.len() == delta.removed.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = u32> + use<'g> {
        let removed = self.delta.map_or(&[][..], |delta| &delta.removed);
        let added = self.delta.map_or(&[][..], |delta| &delta.added);
        let kept =
            self.base.iter().filter(|target| removed.is_empty() || removed.binary_search(target).is_err());
        kept.chain(added).copied()
    }
}

impl<'a> From<&'a Relationship> for Row<'a> {
    fn from(relationship: &'a Relationship) -> Self {
        let (object, subject) = (relationship.object(), relationship.subject());
        Row {
            object_type: object.object_type(),
            object_id: object.id(),
            relation: relationship.relation(),
            subject_type: subject.subject_type(),
            subject_id: subject.id(),
            subject_relation: subject.relation(),
        }
    }
}
