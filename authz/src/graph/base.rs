//! The large, unchanging part of a graph.

use crate::graph::edges::{Edges, pair, unpair};
use crate::graph::names::{NameHash, Names};
use crate::graph::overlay::Overlay;
use crate::name::{WILDCARD, check_id};
use crate::schema::{Schema, SubjectKind};

/// One relationship as borrowed text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) object_type: &'a str,
    pub(crate) object_id: &'a str,
    pub(crate) relation: &'a str,
    pub(crate) subject_type: &'a str,
    pub(crate) subject_id: &'a str,
    pub(crate) subject_relation: Option<&'a str>,
}

impl<'a> Row<'a> {
    /// The edge that stores this row, with the types of both its ends; `None` when the schema has no
    /// place for it, as for a row that an older schema allowed or that raw SQL wrote.
    pub(crate) fn edge(&self, schema: &Schema) -> Option<RowEdge> {
        let object_type = schema.type_id(self.object_type)?;
        let slot = *schema.type_info(object_type)?.slot_ids.get(self.relation)?;
        let subject_type = schema.type_id(self.subject_type)?;
        let (subject, named) = match self.subject_relation {
            Some(relation) => {
                let target = *schema.type_info(subject_type)?.slot_ids.get(relation)?;
                (SubjectKind::Userset(target), true)
            }
            None if self.subject_id == WILDCARD => (SubjectKind::Wildcard(subject_type), false),
            None => (SubjectKind::Object(subject_type), true),
        };
        if check_id(self.object_id).is_err() || (named && check_id(self.subject_id).is_err()) {
            return None;
        }
        Some(RowEdge {
            edge: schema.edge_for(slot, subject)?,
            object_type,
            subject_type: named.then_some(subject_type),
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct RowEdge {
    pub(crate) edge: u32,
    pub(crate) object_type: u32,
    /// `None` for a wildcard, whose list has the single number 0.
    pub(crate) subject_type: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Base {
    hash: NameHash,
    /// By type.
    names: Vec<Names>,
    /// By edge.
    edges: Vec<Edges>,
    tuples: usize,
}

impl Base {
    pub(crate) fn hash(&self, type_id: u32, name: &str) -> u64 {
        self.hash.hash(type_id, name)
    }

    pub(crate) fn count(&self, type_id: u32) -> u32 {
        self.names.get(type_id as usize).map_or(0, Names::len)
    }

    pub(crate) fn find(&self, type_id: u32, hash: u64, name: &str) -> Option<u32> {
        self.names.get(type_id as usize)?.find(hash, name)
    }

    pub(crate) fn name(&self, type_id: u32, number: u32) -> Option<&str> {
        self.names.get(type_id as usize)?.name(number)
    }

    pub(crate) fn list(&self, edge: u32, object: u32) -> &[u32] {
        self.edges.get(edge as usize).map_or(&[], |edges| edges.list(object))
    }

    pub(crate) fn tuples(&self) -> usize {
        self.tuples
    }

    pub(crate) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(Names::bytes).sum();
        let edges: usize = self.edges.iter().map(Edges::bytes).sum();
        names
            + edges
            + self.names.capacity() * size_of::<Names>()
            + self.edges.capacity() * size_of::<Edges>()
    }

    /// A base with the overlay's changes in it; every number stays what it was.
    pub(crate) fn merged(&self, schema: &Schema, overlay: &Overlay) -> Self {
        let mut builder = Builder::new(schema);
        builder.hash = self.hash;
        for (type_id, names) in (0..).zip(&self.names) {
            let added = names.len()..names.len() + overlay.count(type_id);
            let added = added.filter_map(|number| overlay.name(type_id, number));
            for name in names.iter().chain(added) {
                builder.intern(type_id, name);
            }
        }
        builder.pairs = self.edges.iter().map(Edges::pairs).collect();
        for (edge, pairs) in (0..).zip(&mut builder.pairs) {
            pairs.retain(|&key| {
                let (object, target) = unpair(key);
                let delta = overlay.delta(edge, object);
                delta.is_none_or(|delta| delta.removed.binary_search(&target).is_err())
            });
        }
        for (key, delta) in overlay.deltas() {
            let (edge, object) = unpair(key);
            if let Some(pairs) = builder.pairs.get_mut(edge as usize) {
                pairs.extend(delta.added.iter().map(|&target| pair(object, target)));
            }
        }
        builder.build(schema)
    }
}

/// Takes rows one by one, in any order and with repetitions.
pub(crate) struct Builder {
    hash: NameHash,
    names: Vec<Names>,
    pairs: Vec<Vec<u64>>,
    ignored: usize,
}

impl Builder {
    pub(crate) fn new(schema: &Schema) -> Self {
        Self {
            hash: NameHash::new(),
            names: schema.types.iter().map(|_| Names::default()).collect(),
            pairs: schema.edges.iter().map(|_| Vec::new()).collect(),
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
        let place = row.edge(schema)?;
        let object = self.intern(place.object_type, row.object_id)?;
        let target = match place.subject_type {
            Some(subject_type) => self.intern(subject_type, row.subject_id)?,
            None => 0,
        };
        self.pairs.get_mut(place.edge as usize)?.push(pair(object, target));
        Some(())
    }

    fn intern(&mut self, type_id: u32, name: &str) -> Option<u32> {
        let hash = self.hash;
        let rehash = |name: &str| hash.hash(type_id, name);
        self.names.get_mut(type_id as usize)?.intern(rehash(name), rehash, name)
    }

    pub(crate) fn build(mut self, schema: &Schema) -> Base {
        self.names.iter_mut().for_each(Names::shrink);
        let names = &self.names;
        let count_of = |slot: u32| {
            let type_id = schema.slot(slot).map_or(0, |slot| slot.type_id);
            names.get(type_id as usize).map_or(0, Names::len)
        };
        let pairs = schema.edges.iter().zip(self.pairs);
        let edges: Vec<Edges> = pairs.map(|(info, pairs)| Edges::build(pairs, count_of(info.slot))).collect();
        Base { hash: self.hash, tuples: edges.iter().map(Edges::len).sum(), names: self.names, edges }
    }
}
