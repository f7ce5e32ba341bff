//! Rows to a graph, all at once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::graph::chain::above;
use crate::graph::cow_map::CowMap;
use crate::graph::guard::{Guard, GuardKey};
use crate::graph::key::NameHash;
use crate::graph::names::NamesBuilder;
use crate::graph::row::Row;
use crate::graph::state::State;
use crate::graph::table::Table;
use crate::schema::Schema;

/// Takes rows one by one, in any order; of rows that are one relationship the last one counts.
pub(crate) struct Builder {
    hash: NameHash,
    names: Vec<NamesBuilder>,
    /// By edge: object and subject.
    pairs: Vec<Vec<(u32, u32)>>,
    guards: FxHashMap<GuardKey, Arc<Guard>>,
    ignored: usize,
}

impl Builder {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            hash: NameHash::new(),
            names: schema.types.iter().map(|_| NamesBuilder::default()).collect(),
            pairs: schema.edges.iter().map(|_| Vec::new()).collect(),
            guards: FxHashMap::default(),
            ignored: 0,
        }
    }

    pub(crate) fn add(&mut self, schema: &Schema, row: Row<'_>) {
        if self.try_add(schema, row).is_none() {
            self.ignored += 1;
        }
    }

    /// Rows that the schema has no place for.
    pub(crate) fn ignored(&self) -> usize {
        self.ignored
    }

    fn try_add(&mut self, schema: &Schema, row: Row<'_>) -> Option<()> {
        let place = row.place(schema).filter(|&place| row.fits(schema, place))?;
        let object = self.intern(place.object_type, row.object_id)?;
        let subject = match place.subject_type {
            Some(subject_type) => self.intern(subject_type, row.subject_id)?,
            None => 0,
        };
        let key = (place.edge, object, subject);
        match row.guard(schema) {
            Some(guard) => {
                self.guards.insert(key, Arc::new(guard));
            }
            None if !self.guards.is_empty() => {
                self.guards.remove(&key);
            }
            None => {}
        }
        self.pairs.get_mut(place.edge as usize)?.push((object, subject));
        Some(())
    }

    fn intern(&mut self, type_id: u32, name: &str) -> Option<u32> {
        self.names.get_mut(type_id as usize)?.intern(&self.hash, type_id, name)
    }

    pub(crate) fn build(self, schema: &Schema) -> State {
        let layout = &schema.program.layout;
        let types = schema.types.len();
        // By type: object, lane, number.
        let mut forward: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); types];
        let mut back: Vec<Vec<(u32, u32, u32)>> = vec![Vec::new(); types];
        let mut everyone: Vec<(u32, u32, u32)> = Vec::new();
        let mut tuples = 0;
        for (edge, mut pairs) in (0..).zip(self.pairs) {
            pairs.sort_unstable();
            pairs.dedup();
            tuples += pairs.len();
            let lanes = layout.edge(edge);
            for (object, subject) in pairs {
                let guarded = !self.guards.is_empty() && self.guards.contains_key(&(edge, object, subject));
                if let Some(entries) = forward.get_mut(lanes.object_type as usize) {
                    entries.push((object, lanes.lane(guarded), subject));
                }
                if lanes.wildcard {
                    everyone.push((0, lanes.back(guarded), object));
                } else if let Some(entries) = back.get_mut(lanes.subject_type as usize) {
                    entries.push((subject, lanes.back(guarded), object));
                }
            }
        }
        for &edge in &schema.program.chains.edges {
            let lane = schema.program.chains.lane_of(edge);
            if let Some(entries) = forward.get_mut(layout.edge(edge).object_type as usize) {
                add_chain(entries, layout.edge(edge).plain, lane);
            }
        }
        let tables = |lanes: &[u32], all: Vec<Vec<(u32, u32, u32)>>| -> Arc<[Table]> {
            let built = all.into_iter().zip(lanes).map(|(mut entries, &lanes)| {
                entries.sort_unstable();
                Table::build(lanes, &entries)
            });
            built.collect()
        };
        everyone.sort_unstable();
        let mut guards = CowMap::default();
        for (key, guard) in self.guards {
            guards.insert(key, guard);
        }
        let mut state = State {
            hash: self.hash,
            names: self.names.into_iter().map(NamesBuilder::finish).collect(),
            forward: tables(&layout.forward, forward),
            back: tables(&layout.back, back),
            everyone: Table::build(layout.everyone, &everyone),
            members: (0..types).map(|_| Table::new(schema.program.flat.len())).collect(),
            is_flat: true,
            is_chained: true,
            guards,
            tuples,
            weight: 0,
        };
        state.flatten_all(schema);
        state.weight = state.measured();
        state
    }
}

/// Adds what is above each object that has a parent in a lane, sorted (the entries are not).
fn add_chain(entries: &mut Vec<(u32, u32, u32)>, parents: u32, lane: u32) {
    // By edge, and of an edge by object: those of one lane are sorted.
    let of_lane: Vec<(u32, u32)> =
        entries.iter().filter(|entry| entry.1 == parents).map(|entry| (entry.0, entry.2)).collect();
    let parents = |object: u32| {
        let start = of_lane.partition_point(|pair| pair.0 < object);
        let those = of_lane.get(start..).unwrap_or(&[]).iter();
        those.take_while(move |pair| pair.0 == object).map(|pair| pair.1)
    };
    for of_object in of_lane.chunk_by(|a, b| a.0 == b.0) {
        if let Some(&(object, _)) = of_object.first() {
            entries.extend(above(object, parents).into_iter().map(|above| (object, lane, above)));
        }
    }
}
