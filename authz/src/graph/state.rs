//! The relationships of one tenant as numbers: what a snapshot consists of.
//!
//! Every part shares with its copies what has not changed, so that a change costs what it touches.

use std::sync::Arc;

use crate::graph::cow_map::CowMap;
use crate::graph::guard::{Guard, GuardKey};
use crate::graph::key::{Name, NameHash};
use crate::graph::list::List;
use crate::graph::names::{Names, Seek};
use crate::graph::record::Record;
use crate::graph::row::Row;
use crate::graph::search::Target;
use crate::graph::table::Table;
use crate::schema::Schema;
use crate::schema::program::NO_LANE;

#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(super) hash: NameHash,
    /// By type.
    pub(super) names: Arc<[Names]>,
    /// By type of the object: who is in its relations.
    pub(super) forward: Arc<[Table]>,
    /// By type of the subject: on what it, or its userset, stands.
    pub(super) back: Arc<[Table]>,
    /// One record: where wildcards stand.
    pub(super) everyone: Table,
    /// By type of the subject: the flat relations that it holds, directly or not.
    pub(super) members: Arc<[Table]>,
    /// Those lists are kept up to date; a change below which too much lies ends that, and subjects are walked.
    pub(super) is_flat: bool,
    /// The same of the lists of what is above each object.
    pub(super) is_chained: bool,
    pub(super) guards: CowMap<GuardKey, Arc<Guard>>,
    pub(super) tuples: usize,
    /// Bytes, measured when the state was built and estimated for each change since: measuring takes a
    /// walk over every chunk.
    pub(super) weight: usize,
}

/// What one relationship adds, both directions, when its chunks have room.
const TUPLE_WEIGHT: usize = 24;
/// What an id adds beside its text.
const NAME_WEIGHT: usize = 24;

/// Lists that are made anew for one change, on average more for many at once: a change above more than these would keep
/// everybody waiting who is behind it. What is kept is then given up until the graph is loaded again.
pub(super) const MOST_AGAIN: usize = 20_000;

/// How many lists may be made anew for these changes.
pub(super) fn most_again(touched: &[Touched]) -> usize {
    MOST_AGAIN + touched.len() * 4
}

/// A relationship of an edge whose counting for flat relations or hierarchies has changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touched {
    pub(super) edge: u32,
    pub(super) object: u32,
    pub(super) subject: u32,
}

impl State {
    pub(super) fn find(&self, type_id: u32, name: &str) -> Option<u32> {
        self.names.get(type_id as usize)?.find(&self.hash, type_id, name)
    }

    #[inline]
    pub(super) fn seek<'n>(&'n self, type_id: u32, name: &'n str) -> Option<Seek<'n>> {
        Some(self.names.get(type_id as usize)?.seek(&self.hash, type_id, name))
    }

    pub(super) fn name(&self, type_id: u32, number: u32) -> Option<Name<'_>> {
        self.names.get(type_id as usize)?.name(number)
    }

    pub(super) fn count(&self, type_id: u32) -> u32 {
        self.names.get(type_id as usize).map_or(0, Names::len)
    }

    #[inline]
    pub(super) fn record(&self, type_id: u32, object: u32) -> Record<'_> {
        self.forward.get(type_id as usize).map_or(Record::EMPTY, |table| table.record(object))
    }

    #[inline]
    pub(super) fn members_record(&self, type_id: u32, subject: u32) -> Record<'_> {
        self.members.get(type_id as usize).map_or(Record::EMPTY, |table| table.record(subject))
    }

    /// Something of the record of a subject's flat relations, to have it read.
    pub(super) fn members_header(&self, target: Target) -> u64 {
        self.members_record(target.plain, target.object).header
    }

    /// The objects that have this subject, or its userset, in the list of an edge.
    pub(super) fn back_list(&self, schema: &Schema, edge: u32, subject: u32, guarded: bool) -> List<'_> {
        let lanes = schema.program.layout.edge(edge);
        let lane = lanes.back(guarded);
        if lane == NO_LANE {
            return List::EMPTY;
        }
        if lanes.wildcard {
            return self.everyone.list(0, lane);
        }
        self.back.get(lanes.subject_type as usize).map_or(List::EMPTY, |table| table.list(subject, lane))
    }

    /// The subjects in the list of an edge.
    pub(super) fn list(&self, schema: &Schema, edge: u32, object: u32, guarded: bool) -> List<'_> {
        let lanes = schema.program.layout.edge(edge);
        self.record(lanes.object_type, object).list(lanes.lane(guarded))
    }

    fn number(&mut self, type_id: u32, name: &str, present: bool) -> Option<u32> {
        let hash = self.hash;
        let known = self.names.get(type_id as usize)?.find(&hash, type_id, name);
        // What is deleted needs no number when it has none.
        if known.is_some() || !present {
            return known;
        }
        self.weight += name.len() + NAME_WEIGHT;
        Arc::make_mut(&mut self.names).get_mut(type_id as usize)?.add(&hash, type_id, name)
    }

    /// Puts a row in, in place of the same relationship with other terms, or takes it out. `None` when
    /// the schema has no place for it.
    pub(super) fn set(
        &mut self,
        schema: &Schema,
        row: Row<'_>,
        present: bool,
        touched: &mut Vec<Touched>,
    ) -> Option<()> {
        let place = row.place(schema)?;
        // A row that does not fit still takes the place of the one that is replaced.
        let fits = row.fits(schema, place);
        let object = self.number(place.object_type, row.object_id, present && fits);
        let subject = match place.subject_type {
            Some(subject_type) => self.number(subject_type, row.subject_id, present && fits),
            None => Some(0),
        };
        if let (Some(object), Some(subject)) = (object, subject) {
            let key = (place.edge, object, subject);
            let stays = present && fits;
            let guard = if stays { row.guard(schema) } else { None };
            let was_plain = self.set_lane(schema, key, false, stays && guard.is_none());
            let was_guarded = self.set_lane(schema, key, true, stays && guard.is_some());
            match guard {
                Some(guard) => {
                    self.weight += guard.bytes();
                    self.guards.insert(key, Arc::new(guard));
                }
                None if was_guarded => {
                    self.guards.remove(key);
                }
                None => {}
            }
            self.tuples = self.tuples + usize::from(stays) - usize::from(was_plain || was_guarded);
            match (stays, was_plain || was_guarded) {
                (true, false) => self.weight += TUPLE_WEIGHT,
                (false, true) => self.weight = self.weight.saturating_sub(TUPLE_WEIGHT),
                _ => {}
            }
            let is_plain = stays && !row.is_guarded();
            let program = &schema.program;
            let counts =
                !program.flat.fed_by(place.edge).is_empty() || program.chains.lane_of(place.edge) != NO_LANE;
            if was_plain != is_plain && counts {
                touched.push(Touched { edge: place.edge, object, subject });
            }
        }
        (fits || !present).then_some(())
    }

    /// Sets both directions of one lane; says whether the relationship was there before.
    fn set_lane(
        &mut self,
        schema: &Schema,
        (edge, object, subject): GuardKey,
        guarded: bool,
        present: bool,
    ) -> bool {
        let lanes = schema.program.layout.edge(edge);
        let (lane, back) = (lanes.lane(guarded), lanes.back(guarded));
        if lane == NO_LANE {
            return false;
        }
        let was = self.record(lanes.object_type, object).list(lane).contains(subject);
        if was == present {
            return was;
        }
        if let Some(table) = Arc::make_mut(&mut self.forward).get_mut(lanes.object_type as usize) {
            table.set(object, lane, subject, present);
        }
        if lanes.wildcard {
            self.everyone.set(0, back, object, present);
        } else if let Some(table) = Arc::make_mut(&mut self.back).get_mut(lanes.subject_type as usize) {
            table.set(subject, back, object, present);
        }
        was
    }

    /// Walks over every chunk.
    pub(super) fn measured(&self) -> usize {
        let tables =
            |tables: &[Table]| tables.iter().map(|table| table.bytes() + size_of::<Table>()).sum::<usize>();
        let guards: usize = self.guards.iter().map(|(_, guard)| guard.bytes()).sum();
        self.names_bytes()
            + tables(&self.forward)
            + tables(&self.back)
            + tables(&self.members)
            + self.everyone.bytes()
            + self.guards.bytes()
            + guards
    }

    pub(super) fn names_bytes(&self) -> usize {
        self.names.iter().map(|names| names.bytes() + size_of::<Names>()).sum()
    }
}
