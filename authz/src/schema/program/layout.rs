//! Where the relationships of each kind lie: the lanes of the records.
//!
//! A lane is one relation with one form of subject, and apart from it the relationships of the same
//! kind that have a condition or an expiry. So whoever asks a schema without conditions never looks
//! at one.

use crate::schema::program::{Group, ProbeKind};
use crate::schema::{EdgeInfo, SlotInfo, SubjectKind};

/// There is no such lane: it is empty in every record.
pub(crate) const NO_LANE: u32 = u32::MAX;
/// Lanes whose lengths fit the header of a record, four bits for each.
pub(crate) const NARROW: u32 = 16;

/// The lanes of one edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EdgeLanes {
    pub(crate) object_type: u32,
    /// Of a wildcard: the type of everyone.
    pub(crate) subject_type: u32,
    pub(crate) wildcard: bool,
    /// In the record of the object.
    pub(crate) plain: u32,
    pub(crate) guarded: u32,
    /// In the record of the subject, or of everyone.
    pub(crate) back_plain: u32,
    pub(crate) back_guarded: u32,
}

const NOWHERE: EdgeLanes = EdgeLanes {
    object_type: 0,
    subject_type: 0,
    wildcard: false,
    plain: NO_LANE,
    guarded: NO_LANE,
    back_plain: NO_LANE,
    back_guarded: NO_LANE,
};

impl EdgeLanes {
    /// The lane in the record of the object.
    pub(crate) fn lane(&self, guarded: bool) -> u32 {
        if guarded { self.guarded } else { self.plain }
    }

    /// The lane in the record of the subject.
    pub(crate) fn back(&self, guarded: bool) -> u32 {
        if guarded { self.back_guarded } else { self.back_plain }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Layout {
    edges: Vec<EdgeLanes>,
    /// By type: lanes of the records of objects, and of subjects.
    pub(crate) forward: Vec<u32>,
    pub(crate) back: Vec<u32>,
    /// Lanes of the one record that has all wildcards.
    pub(crate) everyone: u32,
}

impl Layout {
    pub(crate) fn new(types: usize, slots: &[SlotInfo], edges: &[EdgeInfo]) -> Self {
        let mut layout = Self {
            edges: vec![NOWHERE; edges.len()],
            forward: vec![0; types],
            back: vec![0; types],
            everyone: 0,
        };
        // Lanes without a guard come first, so that the bitmap of most records is one word.
        for guarded in [false, true] {
            for (at, edge) in edges.iter().enumerate() {
                let allowed = slots.get(edge.slot as usize).into_iter().flat_map(|slot| &slot.allowed);
                let mut forms = allowed.filter(|allowed| allowed.subject == edge.subject);
                if forms.any(|form| (form.condition.is_some() || form.expiration) == guarded) {
                    layout.place(at, edge, slots, guarded);
                }
            }
        }
        layout
    }

    fn place(&mut self, at: usize, edge: &EdgeInfo, slots: &[SlotInfo], guarded: bool) {
        let type_of = |slot: u32| slots.get(slot as usize).map_or(0, |slot| slot.type_id);
        let (subject_type, wildcard) = match edge.subject {
            SubjectKind::Object(id) => (id, false),
            SubjectKind::Wildcard(id) => (id, true),
            SubjectKind::Userset(slot) => (type_of(slot), false),
        };
        let object_type = type_of(edge.slot);
        let mut fallback = 0;
        let lane = next(self.forward.get_mut(object_type as usize).unwrap_or(&mut fallback));
        let back = next(if wildcard {
            &mut self.everyone
        } else {
            self.back.get_mut(subject_type as usize).unwrap_or(&mut fallback)
        });
        let Some(lanes) = self.edges.get_mut(at) else { return };
        (lanes.object_type, lanes.subject_type, lanes.wildcard) = (object_type, subject_type, wildcard);
        if guarded {
            (lanes.guarded, lanes.back_guarded) = (lane, back);
        } else {
            (lanes.plain, lanes.back_plain) = (lane, back);
        }
    }

    /// A lane more in the records of a type's objects.
    pub(super) fn another(&mut self, type_id: u32) -> u32 {
        self.forward.get_mut(type_id as usize).map_or(NO_LANE, next)
    }

    /// Says of each group which part of a narrow header it looks at.
    pub(super) fn mask(&self, groups: &mut [Group]) {
        for group in groups {
            if self.forward.get(group.type_id as usize).is_some_and(|&lanes| lanes <= NARROW) {
                let probes = group.probes.iter().chain(&group.guarded).map(|probe| probe.lane);
                let lanes = probes.chain(group.walks.iter().map(|walk| walk.lane));
                group.mask = lanes.fold(0, |mask, lane| mask | (15 << (lane * 4)));
                let everyone = group.probes.iter().filter(|probe| probe.kind == ProbeKind::Everyone);
                group.everyone = everyone.fold(0, |mask, probe| mask | (15 << (probe.lane * 4)));
            }
        }
    }

    #[inline]
    pub(crate) fn edge(&self, edge: u32) -> EdgeLanes {
        self.edges.get(edge as usize).copied().unwrap_or(NOWHERE)
    }
}

fn next(count: &mut u32) -> u32 {
    *count += 1;
    *count - 1
}
