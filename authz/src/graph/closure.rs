//! Flat relations: for each subject the objects on which it holds them, directly or not.
//!
//! A subject's lists are found by going up from the subject. When a relationship between groups
//! changes, every subject below it is looked at again: that is rare, and reading is not. Where too many are below, the
//! lists are given up and subjects walked.

use rustc_hash::FxHashSet;

use std::sync::Arc;

use crate::graph::state::{State, Touched, most_again};
use crate::graph::table::Table;
use crate::schema::{Schema, SubjectKind};

/// Objects of all flat relations of one subject; a subject with more is walked instead.
const MAX_OF_SUBJECT: usize = 20_000;
/// Numbers kept for each relationship, on average, before subjects are walked instead.
const MAX_PER_TUPLE: usize = 4;
const ALWAYS: usize = 16_384;
/// In place of a subject's lists: it has too many, and must be walked.
pub(super) const TOO_MANY: u32 = u32::MAX;

impl State {
    /// Makes all lists anew.
    pub(super) fn flatten_all(&mut self, schema: &Schema) {
        let lanes = schema.program.flat.len();
        if lanes == 0 {
            return;
        }
        let mut kept = 0;
        let limit = ALWAYS + self.tuples * MAX_PER_TUPLE;
        let mut tables = Vec::with_capacity(self.members.len());
        for type_id in 0..self.members.len() as u32 {
            let mut entries = Vec::new();
            if self.feeds(schema, type_id) {
                for subject in 0..self.count(type_id) {
                    let lists = self.lists_of(schema, type_id, subject);
                    kept += lists.len();
                    if lists.len() > MAX_OF_SUBJECT || kept > limit {
                        entries.push((subject, 0, TOO_MANY));
                    } else {
                        entries.extend(lists.into_iter().map(|(lane, object)| (subject, lane, object)));
                    }
                }
            }
            tables.push(Table::build(lanes, &entries));
        }
        self.members = tables.into();
    }

    /// Whether subjects of the type may stand in a flat relation.
    fn feeds(&self, schema: &Schema, type_id: u32) -> bool {
        (0..).zip(&schema.edges).any(|(edge, info)| {
            info.subject == SubjectKind::Object(type_id) && !schema.program.flat.fed_by(edge).is_empty()
        })
    }

    /// Makes the lists anew of every subject that changed relationships may count for.
    pub(super) fn flatten_again(&mut self, schema: &Schema, touched: &[Touched]) {
        if !self.is_flat {
            return;
        }
        let mut subjects: FxHashSet<(u32, u32)> = FxHashSet::default();
        let mut below = FxHashSet::default();
        let mut todo: Vec<(u32, u32)> = Vec::new();
        for change in touched {
            match schema.edge(change.edge).map(|info| info.subject) {
                Some(SubjectKind::Object(type_id)) => {
                    subjects.insert((type_id, change.subject));
                }
                Some(SubjectKind::Userset(slot)) if below.insert((slot, change.subject)) => {
                    todo.push((slot, change.subject));
                }
                _ => {}
            }
        }
        while let Some((slot, object)) = todo.pop() {
            if subjects.len() + below.len() > most_again(touched) {
                break;
            }
            let Some(group) = schema.group(slot) else { continue };
            let record = self.record(group.type_id, object);
            for probe in &group.probes {
                subjects.extend(record.list(probe.lane).iter().map(|subject| (probe.type_id, subject)));
            }
            for walk in &group.walks {
                todo.extend(
                    record
                        .list(walk.lane)
                        .iter()
                        .map(|next| (walk.target, next))
                        .filter(|&node| below.insert(node)),
                );
            }
        }
        if subjects.len() + below.len() > most_again(touched) {
            self.is_flat = false;
            return;
        }
        let mut subjects: Vec<(u32, u32)> = subjects.into_iter().collect();
        subjects.sort_unstable();
        for (type_id, subject) in subjects {
            self.flatten_subject(schema, type_id, subject);
        }
    }

    fn flatten_subject(&mut self, schema: &Schema, type_id: u32, subject: u32) {
        let lists = self.lists_of(schema, type_id, subject);
        let mut by_lane: Vec<Vec<u32>> = vec![Vec::new(); schema.program.flat.len() as usize];
        if lists.len() > MAX_OF_SUBJECT {
            by_lane.first_mut().into_iter().for_each(|first| first.push(TOO_MANY));
        } else {
            for (lane, object) in lists {
                by_lane.get_mut(lane as usize).into_iter().for_each(|list| list.push(object));
            }
        }
        let record = self.members_record(type_id, subject);
        let same = (0..).zip(&by_lane).all(|(lane, list)| record.list(lane).iter().eq(list.iter().copied()));
        if same {
            return;
        }
        if let Some(table) = Arc::make_mut(&mut self.members).get_mut(type_id as usize) {
            table.replace_all(subject, &by_lane);
        }
    }

    /// Lane and object of everything flat that a subject holds, sorted; cut short when it is too much.
    fn lists_of(&self, schema: &Schema, type_id: u32, subject: u32) -> Vec<(u32, u32)> {
        let flat = &schema.program.flat;
        let mut seen: FxHashSet<(u32, u32)> = FxHashSet::default();
        let mut todo: Vec<(u32, u32)> = Vec::new();
        for &edge in schema.edges_of(SubjectKind::Object(type_id)) {
            for object in self.back_list(schema, edge, subject, false).iter() {
                todo.extend(flat.fed_by(edge).iter().map(|&lane| (lane, object)));
            }
        }
        while let Some((lane, object)) = todo.pop() {
            if !seen.insert((lane, object)) {
                continue;
            }
            if seen.len() > MAX_OF_SUBJECT {
                break;
            }
            let Some(&slot) = flat.slots.get(lane as usize) else { continue };
            for &edge in schema.edges_of(SubjectKind::Userset(slot)) {
                for next in self.back_list(schema, edge, object, false).iter() {
                    todo.extend(flat.fed_by(edge).iter().map(|&lane| (lane, next)));
                }
            }
        }
        let mut lists: Vec<(u32, u32)> = seen.into_iter().collect();
        lists.sort_unstable();
        lists
    }
}
