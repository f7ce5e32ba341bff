//! Which relations are kept by subject: for each subject all objects on which it holds them.
//!
//! A group of groups is a walk of many steps, down from the group; kept by subject it is one short
//! list, and "is anyone of these teams mine" is where two short lists meet. Only relations may be kept
//! so in which nothing but stored relationships without condition and expiry decides (what the paper
//! calls Leopard, section 3.2.5).

use crate::schema::program::{Group, NO_LANE, ProbeKind};
use crate::schema::{EdgeInfo, SubjectKind};

#[derive(Debug, Default)]
pub(crate) struct Flat {
    /// The slots that are kept by subject; a slot's place here is its lane.
    pub(crate) slots: Vec<u32>,
    /// By slot: its lane, or [`NO_LANE`].
    lanes: Vec<u32>,
    /// By edge: the lanes that its relationships count for.
    feeds: Vec<Vec<u32>>,
}

impl Flat {
    pub(crate) fn new(groups: &[Group], edges: &[EdgeInfo]) -> Self {
        let mut fits: Vec<bool> = groups.iter().map(alone).collect();
        loop {
            let kept =
                |group: &Group| group.walks.iter().all(|walk| fits.get(walk.target as usize) == Some(&true));
            let next: Vec<bool> = groups
                .iter()
                .zip(&fits)
                .map(|(group, &fits)| fits && kept(group) && by_usersets(group, edges))
                .collect();
            if next == fits {
                break;
            }
            fits = next;
        }
        // Only what is a subject of others is worth keeping.
        let mut slots: Vec<u32> = edges
            .iter()
            .filter_map(|edge| match edge.subject {
                SubjectKind::Userset(slot) if fits.get(slot as usize) == Some(&true) => Some(slot),
                _ => None,
            })
            .collect();
        slots.sort_unstable();
        slots.dedup();
        let mut lanes = vec![NO_LANE; groups.len()];
        for (lane, &slot) in (0..).zip(&slots) {
            if let Some(place) = lanes.get_mut(slot as usize) {
                *place = lane;
            }
        }
        let mut feeds = vec![Vec::new(); edges.len()];
        for (lane, &slot) in (0..).zip(&slots) {
            let Some(group) = groups.get(slot as usize) else { continue };
            let probes = group.probes.iter().map(|probe| probe.edge);
            for edge in probes.chain(group.walks.iter().map(|walk| walk.edge)) {
                if let Some(feeds) = feeds.get_mut(edge as usize)
                    && !feeds.contains(&lane)
                {
                    feeds.push(lane);
                }
            }
        }
        Self { slots, lanes, feeds }
    }

    pub(crate) fn lane_of(&self, slot: u32) -> u32 {
        self.lanes.get(slot as usize).copied().unwrap_or(NO_LANE)
    }

    /// The lanes that a relationship of this edge counts for.
    pub(crate) fn fed_by(&self, edge: u32) -> &[u32] {
        self.feeds.get(edge as usize).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn len(&self) -> u32 {
        self.slots.len() as u32
    }
}

/// Nothing in the group itself stands against it.
fn alone(group: &Group) -> bool {
    let members = group.probes.iter().all(|probe| probe.kind == ProbeKind::Member);
    let unguarded = group.guarded.is_empty() && group.walks.iter().all(|walk| !walk.guarded);
    members && unguarded && group.ops.is_empty() && !group.itself
}

/// Walks go over usersets only: what an arrow inherits is many objects for each subject.
fn by_usersets(group: &Group, edges: &[EdgeInfo]) -> bool {
    group.walks.iter().all(|walk| {
        let subject = edges.get(walk.edge as usize).map(|edge| edge.subject);
        subject == Some(SubjectKind::Userset(walk.target))
    })
}
