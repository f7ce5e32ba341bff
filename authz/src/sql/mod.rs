//! Answers from Postgres itself: as one statement where the schema can be said in one, else from the reachable part of the
//! relationships, fetched into a passing graph.
//!
//! INVARIANT: one question reads the relationships in one statement, so that it sees one snapshot at every isolation
//! level. What cannot be answered so is an error, never a part of the answer.

mod ask;
mod budget;
mod fetch;
mod formula;
mod functions;
mod objects;
mod tables;
mod text;

pub(crate) use ask::{Statements, answer, ask, list, passing};
pub use budget::Budget;
pub(crate) use budget::{Way, way};
pub use formula::Inexpressible;
pub use objects::ObjectFilter;
pub(crate) use objects::decided;
