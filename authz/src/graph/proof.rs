//! The relationships on one way to a "yes".

use rustc_hash::FxHashSet;

use crate::graph::edges::pair;
use crate::graph::search::Search;
use crate::graph::solve::{Reason, Solve};
use crate::object::Object;
use crate::relationship::Relationship;
use crate::schema::SubjectKind;
use crate::subject::Subject;

impl Search<'_> {
    /// The relationships from which the node follows, the first ones on the object itself.
    ///
    /// That something is excluded does not follow from any relationship, so exclusions add none.
    pub(super) fn prove(&mut self, object: u32, group: u32) -> Option<Vec<Relationship>> {
        // Proofs are made from scratch, so that a fault in what a search remembers cannot enter one.
        self.scratch.held.clear();
        self.scratch.in_vain.clear();
        let solve = self.solve_with_reasons(object, group)?;
        let mut proof = Vec::new();
        let mut seen = FxHashSet::default();
        let mut todo = vec![pair(group, object)];
        while let Some(key) = todo.pop() {
            if seen.insert(key) {
                self.step(&solve, key, &mut proof, &mut todo)?;
            }
        }
        Some(proof)
    }

    fn step(
        &self,
        solve: &Solve,
        key: u64,
        proof: &mut Vec<Relationship>,
        todo: &mut Vec<u64>,
    ) -> Option<()> {
        let node = solve.nodes.get(*solve.numbers.get(&key)? as usize)?;
        let object = key as u32;
        match node.reason? {
            Reason::Itself => {}
            Reason::Listed(probe) => proof.push(self.relationship(probe.edge, object, self.target.object)?),
            Reason::Walked { walk, object: next } => {
                proof.push(self.relationship(walk.edge, object, next)?);
                todo.push(pair(walk.target, next));
            }
            Reason::Op(pending) => {
                let pending = solve.ops.get(pending as usize)?;
                let op = self.graph.schema.op(pending.op)?;
                todo.extend(op.require.iter().rev().map(|&group| pair(group, pending.object)));
            }
        }
        Some(())
    }

    /// Numbers back to text.
    fn relationship(&self, edge: u32, object: u32, target: u32) -> Option<Relationship> {
        let (graph, schema) = (self.graph, &self.graph.schema);
        let info = schema.edge(edge)?;
        let slot = schema.slot(info.slot)?;
        let named = |type_id: u32, number: u32| {
            Some((schema.type_name(type_id).to_owned(), graph.name(type_id, number)?))
        };
        let (object_type, object_id) = named(slot.type_id, object)?;
        let subject = match info.subject {
            SubjectKind::Wildcard(type_id) => Subject::wildcard(schema.type_name(type_id).to_owned()),
            SubjectKind::Object(type_id) => {
                let (subject_type, id) = named(type_id, target)?;
                Subject::new(subject_type, id)
            }
            SubjectKind::Userset(slot) => {
                let relation = schema.slot(slot)?;
                let (subject_type, id) = named(relation.type_id, target)?;
                Subject::userset(subject_type, id, relation.name.to_string())
            }
        };
        Some(Relationship::new(Object::new(object_type, object_id), slot.name.to_string(), subject))
    }
}
