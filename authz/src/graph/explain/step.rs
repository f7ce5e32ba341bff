//! The lines of an explanation, one below the other.

use crate::object::Object;
use crate::relationship::Relationship;

/// One line of an explanation, and those on which it rests.
///
/// Below what holds stands one way on which it does, and below what does not hold everything that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the line is about.
    pub claim: Claim,
    /// Whether the subject holds it, or the condition is met; `None` when that depends on values that are missing.
    pub holds: Option<bool>,
    /// On what it rests.
    pub below: Vec<Step>,
}

/// What a line of an explanation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// A relation or permission of an object.
    Permission {
        /// The object.
        object: Object,
        /// Its relation or permission.
        permission: String,
        /// How the schema computes it; `None` for a relation, which is stored.
        rule: Option<String>,
        /// How many relationships are stored in it.
        stored: usize,
        /// It stands elsewhere in the tree, with what is below it.
        again: bool,
    },
    /// A part of the rule above.
    Expression(String),
    /// What stands below is taken away from its neighbours.
    Except,
    /// A stored relationship; below it stands what it leads to.
    Relationship {
        /// As it is stored.
        relationship: Relationship,
        /// Whether it counts.
        standing: Standing,
    },
    /// Nothing is stored in the relation over which an arrow leads.
    NothingStored {
        /// The object.
        object: Object,
        /// Its relation.
        relation: String,
    },
    /// The condition of a permission.
    Condition {
        /// Its name.
        name: String,
        /// Claim it would need to know.
        missing: Vec<String>,
    },
    /// The subject is what is asked about.
    Itself,
    /// More of the same, which is left out.
    More(usize),
}

/// Whether a stored relationship counts in the context of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It does.
    Counts,
    /// Its time is over.
    Expired,
    /// Its condition is not met.
    Unmet,
    /// Its condition depends on values that are missing.
    Missing(Vec<String>),
    /// Its condition cannot be evaluated, for this reason.
    Fault(String),
}

impl Step {
    pub(super) fn leaf(claim: Claim, holds: Option<bool>) -> Self {
        Self { claim, holds, below: Vec::new() }
    }

    /// The stored relationships of this step and of those below, without what is taken away.
    pub(super) fn relationships(&self, found: &mut Vec<Relationship>) {
        match &self.claim {
            Claim::Except => return,
            Claim::Relationship { relationship, .. } => found.push(relationship.clone()),
            _ => {}
        }
        self.below.iter().for_each(|step| step.relationships(found));
    }
}
