//! Names resolved to numbers once, for those who ask often.

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::names::Seek;
use crate::graph::search::{Question, Search, Target};
use crate::object::Object;
use crate::subject::Subject;

/// Stands for an object that has no relationship: no list has this number.
pub(super) const ABSENT_OBJECT: u32 = u32::MAX;
/// Stands for a subject that has no relationship and is not the object that is asked about.
pub(super) const ABSENT_SUBJECT: u32 = u32::MAX - 1;

/// A subject as numbers of one graph and of those that came from it by [`Graph::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubjectId {
    stamp: u32,
    pub(super) target: Target,
}

/// An object as numbers of one graph and of those that came from it by [`Graph::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId {
    stamp: u32,
    pub(super) type_id: u32,
    pub(super) number: u32,
}

/// A relation or permission as a number of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PermissionId {
    pub(super) type_id: u32,
    pub(super) group: u32,
}

impl Graph {
    /// Resolves a subject, to be asked about with [`Graph::check_ids`].
    ///
    /// A subject that no relationship names is resolved as "somebody unknown": it stays that, in later
    /// snapshots as well, and is never taken for the object that is asked about.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when its type or relation is not in the schema, or the id cannot be one.
    pub fn subject(&self, subject: &Subject) -> Result<SubjectId, CheckError> {
        Ok(SubjectId { stamp: self.state.hash.stamp(), target: self.target(subject)? })
    }

    /// Resolves an object, to be asked about with [`Graph::check_ids`]; one that no relationship names
    /// is resolved as unknown, as with [`Graph::subject`].
    ///
    /// # Errors
    ///
    /// [`CheckError`] when its type is not in the schema, or the id cannot be one.
    pub fn object(&self, object: &Object) -> Result<ObjectId, CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let number = self.state.find(type_id, object.id());
        if number.is_none() {
            object.validate()?;
        }
        Ok(ObjectId { stamp: self.state.hash.stamp(), type_id, number: number.unwrap_or(ABSENT_OBJECT) })
    }

    /// Resolves a permission, or relation, of a type.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the type or the permission is not in the schema.
    pub fn permission(&self, object_type: &str, permission: &str) -> Result<PermissionId, CheckError> {
        let type_id = self.type_id(object_type)?;
        Ok(PermissionId { type_id, group: self.group_of(type_id, permission)? })
    }

    /// The object that an id stands for; `None` when it stands for an unknown one.
    pub fn object_of(&self, id: ObjectId) -> Option<Object> {
        if id.stamp != self.state.hash.stamp() {
            return None;
        }
        let name = self.state.name(id.type_id, id.number)?;
        Some(Object::new(self.schema.type_name(id.type_id).to_owned(), name))
    }

    /// As [`Graph::check`] for what has been resolved: nothing is looked up by name.
    ///
    /// # Errors
    ///
    /// [`CheckError::ForeignId`] when an id is another graph's or the permission another type's;
    /// otherwise as [`Graph::check_in`].
    pub fn check_ids(
        &self,
        subject: SubjectId,
        permission: PermissionId,
        object: ObjectId,
        context: &Context,
    ) -> Result<Decision, CheckError> {
        if !self.knows(subject, permission, object) {
            return Err(CheckError::ForeignId);
        }
        let question = Question { target: subject.target, group: permission.group, object: object.number };
        Search::new(self, question.target, context).check(question)
    }

    #[inline]
    pub(super) fn knows(&self, subject: SubjectId, permission: PermissionId, object: ObjectId) -> bool {
        let stamp = self.state.hash.stamp();
        subject.stamp == stamp && object.stamp == stamp && object.type_id == permission.type_id
    }

    pub(super) fn object_id(&self, type_id: u32, number: u32) -> ObjectId {
        ObjectId { stamp: self.state.hash.stamp(), type_id, number }
    }

    /// The question that strings ask.
    pub(super) fn question(
        &self,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Question, CheckError> {
        let (group, sought) = self.sought(permission, object)?;
        self.put(subject, self.target(subject)?, group, sought, object)
    }

    /// The same of a subject that has been resolved.
    pub(super) fn question_of(
        &self,
        subject: &Subject,
        target: Target,
        permission: &str,
        object: &Object,
    ) -> Result<Question, CheckError> {
        let (group, sought) = self.sought(permission, object)?;
        self.put(subject, target, group, sought, object)
    }

    /// The permission's number, and where the object's will be found.
    #[inline]
    fn sought<'n>(
        &'n self,
        permission: &str,
        object: &'n Object,
    ) -> Result<(u32, Option<Seek<'n>>), CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let group = self.group_of(type_id, permission)?;
        Ok((group, self.state.seek(type_id, object.id())))
    }

    #[inline]
    fn put(
        &self,
        subject: &Subject,
        mut target: Target,
        group: u32,
        sought: Option<Seek<'_>>,
        object: &Object,
    ) -> Result<Question, CheckError> {
        let number = sought.and_then(Seek::number);
        if number.is_none() {
            // What is in the graph has been verified on its way in.
            object.validate()?;
            if target.object == ABSENT_SUBJECT && subject.object() == object {
                target.object = ABSENT_OBJECT;
            }
        }
        Ok(Question { target, group, object: number.unwrap_or(ABSENT_OBJECT) })
    }

    pub(super) fn target(&self, subject: &Subject) -> Result<Target, CheckError> {
        let type_id = self.type_id(subject.subject_type())?;
        let userset = match subject.relation() {
            Some(relation) => Some(self.group_of(type_id, relation)?),
            None => None,
        };
        if subject.is_wildcard() {
            return Ok(Target::everyone(type_id));
        }
        let number = self.state.find(type_id, subject.id());
        if number.is_none() {
            subject.validate()?;
        }
        let number = number.unwrap_or(ABSENT_SUBJECT);
        Ok(match userset {
            Some(slot) => Target::userset(slot, number),
            None => Target::object(type_id, number),
        })
    }

    pub(super) fn type_id(&self, name: &str) -> Result<u32, CheckError> {
        self.schema.type_id(name).ok_or_else(|| CheckError::unknown_type(&self.schema, name))
    }

    pub(super) fn group_of(&self, type_id: u32, name: &str) -> Result<u32, CheckError> {
        let slot = self.schema.type_info(type_id).and_then(|info| info.slot_ids.get(name));
        slot.ok_or_else(|| CheckError::unknown_permission(&self.schema, type_id, name))
    }
}
