//! Checks: one, many, and all permissions of one object.

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::ids::{ObjectId, PermissionId, SubjectId};
use crate::graph::search::{Question, Search};
use crate::object::Object;
use crate::subject::Subject;

impl Graph {
    /// Does the subject hold the permission, or relation, on the object?
    ///
    /// Cycles among relationships have an answer, whatever their length: what holds only because of
    /// itself does not hold. A userset that is asked about contains itself, and is otherwise a
    /// subject like any other: that its members are excluded does not exclude it. Everyone of a type,
    /// `user:*`, holds what a wildcard gives, and not what each one happens to hold.
    ///
    /// # Errors
    ///
    /// [`CheckError`] when the types or the permission are not in the schema, or an id cannot be
    /// one; when the answer depends on a condition that cannot be evaluated; when it takes too much.
    /// A failure to decide is neither answer.
    pub fn check(
        &self,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Decision, CheckError> {
        self.check_in(&Context::new(), subject, permission, object)
    }

    /// As [`Graph::check`], with values for conditions, or as of a time.
    ///
    /// # May Anna view it at night?
    ///
    /// ```
    /// use formwork_authz::{Context, Decision, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         caveat daytime(hour int) { hour >= 8 && hour < 18 }
    ///         definition document { relation viewer: user with daytime }
    ///     ")?,
    ///     ["document:7#viewer@user:anna[daytime]".parse()?],
    /// );
    /// let (anna, document) = (Subject::new("user", "anna"), Object::new("document", 7));
    /// let at = |hour: u32| graph.check_in(&Context::new().with("hour", hour), &anna, "viewer", &document);
    /// assert_eq!(at(12)?, Decision::Allowed);
    /// assert_eq!(at(23)?, Decision::Denied);
    /// let unknown = graph.check(&anna, "viewer", &document)?;
    /// assert_eq!(unknown, Decision::Conditional { missing: ["hour".into()].into() });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn check_in(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        object: &Object,
    ) -> Result<Decision, CheckError> {
        let question = self.question(subject, permission, object)?;
        Search::new(self, question.target, context).check(question)
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
        self.check_many_in(&Context::new(), subject, permission, objects)
    }

    /// As [`Graph::check_many`], with values for conditions, or as of a time.
    ///
    /// # Errors
    ///
    /// As [`Graph::check_many`].
    pub fn check_many_in(
        &self,
        context: &Context,
        subject: &Subject,
        permission: &str,
        objects: &[Object],
    ) -> Result<Vec<Decision>, CheckError> {
        let questions = objects.iter().map(|object| self.question(subject, permission, object));
        let questions: Vec<Question> = questions.collect::<Result<_, _>>()?;
        self.check_questions(context, &questions)
    }

    pub(super) fn check_questions(
        &self,
        context: &Context,
        questions: &[Question],
    ) -> Result<Vec<Decision>, CheckError> {
        let mut answers = Vec::with_capacity(questions.len());
        // An absent object that is the subject itself makes the subject another one.
        for same in questions.chunk_by(|a, b| a.target == b.target) {
            let Some(first) = same.first() else { continue };
            let mut search = Search::new(self, first.target, context);
            self.check_block(&mut search, same, |decision| answers.push(decision))?;
        }
        Ok(answers)
    }

    /// Those of the objects on which the subject holds the permission, in their order: a page of a
    /// list, filtered.
    ///
    /// # Errors
    ///
    /// As [`Graph::check_ids`].
    pub fn filter_ids(
        &self,
        subject: SubjectId,
        permission: PermissionId,
        objects: &[ObjectId],
        context: &Context,
    ) -> Result<Vec<ObjectId>, CheckError> {
        if objects.iter().any(|&object| !self.knows(subject, permission, object)) {
            return Err(CheckError::ForeignId);
        }
        let (target, group) = (subject.target, permission.group);
        let asked = objects.iter().map(|object| Question { target, group, object: object.number });
        let asked: Vec<Question> = asked.collect();
        let mut kept = Vec::new();
        let mut rest = objects.iter();
        let mut search = Search::new(self, target, context);
        self.check_block(&mut search, &asked, |decision| {
            kept.extend(rest.next().filter(|_| decision.is_allowed()).copied());
        })?;
        Ok(kept)
    }

    /// Every permission and relation of the object's type, and whether the subject holds it there, in
    /// the order of the schema.
    ///
    /// # Errors
    ///
    /// As [`Graph::check`].
    pub fn permissions(
        &self,
        context: &Context,
        subject: &Subject,
        object: &Object,
    ) -> Result<Vec<(&str, Decision)>, CheckError> {
        let type_id = self.type_id(object.object_type())?;
        let slots = self.schema.type_info(type_id).map_or(&[][..], |info| &info.slots);
        let mut search: Option<Search<'_>> = None;
        let mut answers = Vec::with_capacity(slots.len());
        for slot in slots.iter().filter_map(|&slot| self.schema.slot(slot)) {
            let question = self.question(subject, &slot.name, object)?;
            let search = search.get_or_insert_with(|| Search::new(self, question.target, context));
            answers.push((&*slot.name, search.check(question)?));
        }
        Ok(answers)
    }
}
