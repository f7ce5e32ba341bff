//! Which hierarchies are kept by object: for each object everything above it.
//!
//! "Whoever views the parent views this" asks one object after the other, each found only in the one
//! before. Kept beside the object, those above it are asked as they stand in a row. Only an arrow may
//! be kept so that leads from a permission to the same one, over relationships without condition and
//! expiry.

use crate::schema::program::{Group, Layout, NO_LANE};
use crate::schema::{EdgeInfo, SubjectKind};

#[derive(Debug, Default)]
pub(crate) struct Chains {
    /// By edge: the lane of what is above, in the record of the object, or [`NO_LANE`].
    lanes: Vec<u32>,
    /// The edges that have one.
    pub(crate) edges: Vec<u32>,
}

impl Chains {
    /// Finds the hierarchies, and a lane for each.
    pub(super) fn new(groups: &[Group], edges: &[EdgeInfo], layout: &mut Layout) -> Self {
        let mut chains = Self { lanes: vec![NO_LANE; edges.len()], edges: Vec::new() };
        for (number, group) in (0..).zip(groups) {
            let Some(edge) = chained(number, group, edges) else { continue };
            if let Some(lane) = chains.lanes.get_mut(edge as usize).filter(|lane| **lane == NO_LANE) {
                *lane = layout.another(group.type_id);
                chains.edges.push(edge);
            }
        }
        chains
    }

    #[inline]
    pub(crate) fn lane_of(&self, edge: u32) -> u32 {
        self.lanes.get(edge as usize).copied().unwrap_or(NO_LANE)
    }
}

/// The edge over which a group leads back to itself; `None` where there are several, for then what is
/// above is not what one of them says.
pub(super) fn chained(number: u32, group: &Group, edges: &[EdgeInfo]) -> Option<u32> {
    let mut again = group.walks.iter().filter(|walk| walk.target == number && !walk.guarded);
    let (walk, other) = (again.next()?, again.next());
    let subject = edges.get(walk.edge as usize).map(|edge| edge.subject);
    (other.is_none() && subject == Some(SubjectKind::Object(group.type_id))).then_some(walk.edge)
}
