//! What is declared in one definition: what relations may hold, and what permissions are computed from.

use rustc_hash::FxHashSet;

use crate::schema::code::Code;
use crate::schema::resolve::Resolver;
use crate::schema::rule::{AllowedSubject, Rule};
use crate::schema::syntax::{Body, Definition, Item, SubjectForm, SubjectType};
use crate::schema::{EdgeInfo, SubjectKind};

/// The subjects of one relation that were met.
#[derive(Default)]
struct Seen {
    /// With their condition, and whether they expire.
    forms: FxHashSet<(SubjectKind, Option<u32>, bool)>,
    kinds: FxHashSet<SubjectKind>,
}

impl<'d> Resolver<'d, '_> {
    pub(super) fn definition(&mut self, definition: &'d Definition, stored: bool) {
        let Some(type_id) = self.type_ids.get(&definition.name.text) else { return };
        for item in &definition.items {
            let Some(slot) = self.slot_of(type_id, &item.name.text) else { continue };
            // A second declaration of the name has been reported and has no number of its own.
            if !self.places.get(slot as usize).is_some_and(|name| std::ptr::eq(*name, &item.name)) {
                continue;
            }
            if stored {
                self.stored(slot, &item.body);
            } else {
                self.computed(slot, type_id, item);
            }
        }
    }

    fn stored(&mut self, slot: u32, body: &Body) {
        if let Body::Relation(subjects) | Body::Define { subjects, .. } = body {
            let mut seen = Seen::default();
            for subject in subjects {
                self.subject_type(slot, subject, &mut seen);
            }
        }
    }

    fn computed(&mut self, slot: u32, type_id: u32, item: &Item) {
        let rule = match &item.body {
            Body::Relation(_) => Rule::This,
            Body::Permission { expression, .. } | Body::Define { expression, .. } => {
                self.rule(type_id, expression, &item.name, 0)
            }
            Body::Include => return,
        };
        let announced = match &item.body {
            Body::Permission { announced: Some(names), .. } => {
                Some(names.iter().filter_map(|name| self.type_named(name)).collect())
            }
            _ => None,
        };
        if let Some(info) = self.slots.get_mut(slot as usize) {
            info.rule = rule;
            info.announced = announced;
        }
    }

    fn subject_type(&mut self, slot: u32, subject: &SubjectType, seen: &mut Seen) {
        let Some(type_id) = self.type_named(&subject.name) else { return };
        let kind = match &subject.form {
            SubjectForm::Plain => SubjectKind::Object(type_id),
            SubjectForm::Wildcard => SubjectKind::Wildcard(type_id),
            SubjectForm::Userset(relation) => match self.slot_named(type_id, relation) {
                Some(target) => SubjectKind::Userset(target),
                None => return,
            },
        };
        let condition = match &subject.condition {
            Some(name) => match self.condition_named(name) {
                Some(condition) => Some(condition),
                None => return,
            },
            None => None,
        };
        let edge = self.edges.len() as u32;
        let Some(info) = self.slots.get_mut(slot as usize) else { return };
        if !seen.forms.insert((kind, condition, subject.expiration)) {
            let message = "this type of subjects is named twice in the relation";
            self.faults.report(Code::SubjectTwice, subject.span, message);
            return;
        }
        if seen.kinds.insert(kind) {
            info.edges.push(edge);
            self.edges.push(EdgeInfo { slot, subject: kind });
        }
        info.allowed.push(AllowedSubject {
            subject: kind,
            condition,
            expiration: subject.expiration,
            deprecated: subject.deprecated.clone(),
        });
    }
}
