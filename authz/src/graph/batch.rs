//! Several questions at once: their memory is fetched together before they are answered.
//!
//! A question waits for memory most of the time, and what it waits for can be known before: the record
//! of the object, those of the objects that it leads to, and the groups of the subject. Reading them for
//! a block of questions first lets the processor wait for all of them at the same time.

use std::hint::black_box;

use crate::context::Context;
use crate::decision::Decision;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::graph::ids::{ObjectId, PermissionId, SubjectId};
use crate::graph::list::List;
use crate::graph::record::Record;
use crate::graph::search::{Question, Search};
use crate::schema::program::{Group, NO_LANE, Op};

/// Questions whose memory is fetched together.
pub(super) const BLOCK: usize = 16;

impl Graph {
    /// As [`Graph::check_ids`] for questions of any kind, in their order; faster than one after the other.
    ///
    /// ```
    /// use formwork_authz::{Context, Decision, Graph, Object, Schema, Subject};
    ///
    /// let graph = Graph::load(
    ///     Schema::parse("
    ///         definition user {}
    ///         definition document { relation viewer: user }
    ///     ")?,
    ///     ["document:7#viewer@user:anna".parse()?],
    /// );
    /// let view = graph.permission("document", "viewer")?;
    /// let document = graph.object(&Object::new("document", 7))?;
    /// let questions = ["anna", "bob"].map(|name| graph.subject(&Subject::new("user", name)));
    /// let questions: Result<Vec<_>, _> =
    ///     questions.into_iter().map(|subject| Ok((subject?, view, document))).collect();
    /// let questions = questions.map_err(|error: formwork_authz::CheckError| error)?;
    /// let answers = graph.check_many_ids(&questions, &Context::new())?;
    /// assert_eq!(answers, [Decision::Allowed, Decision::Denied]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Graph::check_ids`], when one of them could not be decided.
    pub fn check_many_ids(
        &self,
        questions: &[(SubjectId, PermissionId, ObjectId)],
        context: &Context,
    ) -> Result<Vec<Decision>, CheckError> {
        let mut answers = Vec::with_capacity(questions.len());
        for block in questions.chunks(BLOCK) {
            self.fetch(block.iter().map(|(_, permission, object)| (permission.group, object.number)));
            let headers = block.iter().map(|(subject, ..)| self.state.members_header(subject.target));
            black_box(headers.fold(0, |all, header| all ^ header));
            for &(subject, permission, object) in block {
                answers.push(self.check_ids(subject, permission, object, context)?);
            }
        }
        Ok(answers)
    }

    /// Answers questions whose subject is the same one.
    pub(super) fn check_block(
        &self,
        search: &mut Search<'_>,
        questions: &[Question],
        mut answer: impl FnMut(Decision),
    ) -> Result<(), CheckError> {
        for block in questions.chunks(BLOCK) {
            let records = block.iter().filter_map(|question| {
                let group = self.schema.group(question.group)?;
                Some(self.state.record(group.type_id, question.object).header)
            });
            black_box(records.fold(0, |all, header| all ^ header));
            for &question in block {
                answer(search.check(question)?);
            }
        }
        Ok(())
    }

    /// Reads the records of objects, and those of the objects that they lead to.
    fn fetch(&self, asked: impl Iterator<Item = (u32, u32)>) {
        let mut block = [None; BLOCK];
        for (slot, (group, object)) in block.iter_mut().zip(asked) {
            let Some(group) = self.schema.group(group) else { continue };
            *slot = Some((group, self.state.record(group.type_id, object)));
        }
        let mut read = 0;
        for (group, record) in block.iter().flatten() {
            self.steps(group, record, &mut |target, next| {
                read ^= self.state.record(target.type_id, next).header;
            });
        }
        black_box(read);
    }

    /// The groups that a group asks on other objects, of each list the first one.
    fn steps<'g>(&'g self, group: &'g Group, record: &Record<'g>, step: &mut impl FnMut(&'g Group, u32)) {
        let here = group.ops.iter().filter_map(|&op| match self.schema.op(op) {
            Some(Op::Both { require, .. }) => self.schema.group(*require.first()?),
            Some(Op::When { group, .. }) => self.schema.group(*group),
            _ => None,
        });
        for group in std::iter::once(group).chain(here) {
            for walk in group.walks.iter().filter(|walk| walk.flat == NO_LANE) {
                if let List::Short([next, ..]) = record.list(walk.lane)
                    && let Some(target) = self.schema.group(walk.target)
                {
                    step(target, *next);
                }
            }
        }
    }
}
