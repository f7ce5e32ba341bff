//! What is above each object in the hierarchies that are kept (see [`Chains`]).
//!
//! Found by going up from the object. When an object gets another parent, everything below it is looked
//! at again: that is rare, and reading is not. Where too much is below, the lists are given up and objects walked.
//!
//! [`Chains`]: crate::schema::program::Chains

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::graph::closure::TOO_MANY;
use crate::graph::state::{State, Touched, most_again};
use crate::schema::Schema;

/// Objects above one; one that has more is walked instead.
const MAX_ABOVE: usize = 48;

impl State {
    /// Makes the lists anew of every object that is below a changed relationship.
    pub(super) fn chain_again(&mut self, schema: &Schema, touched: &[Touched]) {
        if !self.is_chained {
            return;
        }
        for &edge in &schema.program.chains.edges {
            let mut below: FxHashSet<u32> = FxHashSet::default();
            let mut todo: Vec<u32> =
                touched.iter().filter(|change| change.edge == edge).map(|change| change.object).collect();
            while let Some(object) = todo.pop() {
                if below.len() > most_again(touched) {
                    self.is_chained = false;
                    return;
                }
                if below.insert(object) {
                    todo.extend(self.back_list(schema, edge, object, false).iter());
                }
            }
            let mut below: Vec<u32> = below.into_iter().collect();
            below.sort_unstable();
            for object in below {
                self.chain_object(schema, edge, object);
            }
        }
    }

    fn chain_object(&mut self, schema: &Schema, edge: u32, object: u32) {
        let above = above(object, |object| self.list(schema, edge, object, false).iter());
        let type_id = schema.program.layout.edge(edge).object_type;
        let lane = schema.program.chains.lane_of(edge);
        if self.record(type_id, object).list(lane).iter().eq(above.iter().copied()) {
            return;
        }
        if let Some(table) = Arc::make_mut(&mut self.forward).get_mut(type_id as usize) {
            table.replace(object, lane, &above);
        }
    }
}

/// The objects above one, sorted; those below it as well when there is a cycle, but not itself.
pub(super) fn above<I: Iterator<Item = u32>>(object: u32, parents: impl Fn(u32) -> I) -> Vec<u32> {
    let mut above: Vec<u32> = Vec::new();
    let mut at = 0;
    let mut next = Some(object);
    while let Some(child) = next {
        for parent in parents(child) {
            if parent != object && !above.contains(&parent) {
                above.push(parent);
            }
            if above.len() > MAX_ABOVE {
                return vec![TOO_MANY];
            }
        }
        next = above.get(at).copied();
        at += 1;
    }
    above.sort_unstable();
    above
}
