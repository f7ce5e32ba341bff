//! Engines that answer the workload's questions, ours among them, each in the form that its own documentation shows
//! for relationships.
//!
//! INVARIANT: all load the same tuples, and what an engine answers wrongly it is never timed on.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

mod casbin;
mod cedar;
mod formwork;
mod zanzibar;

use std::collections::HashSet;

use formwork_authz::{Object, Relationship, Subject};

pub use casbin::Casbin;
pub use cedar::Cedar;
pub use formwork::{ByIds, ByStrings, graph};
pub use zanzibar::Zanzibar;

use crate::workload::{Question, Workload};

/// The tuples and the questions.
#[derive(Debug)]
pub struct World {
    /// Makes them.
    pub workload: Workload,
    /// Each tuple once.
    pub relationships: Vec<Relationship>,
}

/// Answers questions from memory.
pub trait Engine {
    /// A question as it is handed over: whatever can be made ready beforehand is.
    type Asked;

    /// Makes a question ready.
    fn prepare(&self, question: &Question) -> Self::Asked;

    /// Asks it.
    fn ask(&self, asked: &Self::Asked) -> bool;

    /// How many documents a user may edit, each one found; none when it cannot say.
    fn documents(&self, _editor: &Subject) -> Option<usize> {
        None
    }

    /// How many users are viewers of a document, each one found; none when it cannot say.
    fn viewers(&self, _document: &Object) -> Option<usize> {
        None
    }
}

impl World {
    /// About so many tuples.
    pub fn of(tuples: usize) -> Self {
        let workload = Workload::of(tuples);
        let mut seen = HashSet::new();
        let relationships = workload.relationships().filter(|tuple| seen.insert(tuple.to_string())).collect();
        Self { workload, relationships }
    }
}
