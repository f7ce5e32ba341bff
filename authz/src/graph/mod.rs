//! One tenant's relationships in memory, as one immutable snapshot.
//!
//! A change makes a new snapshot in time that grows with the change, not with the graph: what has not
//! changed is shared. There is nothing to merge later.

mod ask;
mod asker;
mod batch;
mod build;
mod chain;
mod chunk;
mod closure;
mod cow_map;
mod cow_vec;
mod expand;
mod expand_text;
mod explain;
mod guard;
mod ids;
mod json_lines;
mod key;
mod list;
mod lookup_objects;
mod lookup_subjects;
mod names;
mod page;
mod record;
mod row;
mod search;
mod solve;
mod state;
mod table;
mod weigh;

use std::fmt;
use std::sync::Arc;

pub use asker::GraphAsker;
pub(crate) use build::Builder;
pub use expand::{Expansion, Tree};
pub use explain::{Attempt, Claim, Explanation, Remedies, Standing, Step};
pub use ids::{ObjectId, PermissionId, SubjectId};
pub use json_lines::Answered;
pub use lookup_subjects::FoundSubject;
pub use page::{Cursor, Page};
pub(crate) use row::Row;
use state::State;

use crate::context::{Clock, SystemClock};
use crate::relationship::{Change, Relationship};
use crate::schema::Schema;

/// One tenant's relationships in memory: an immutable snapshot that answers checks.
///
/// Cheap to clone. [`Graph::apply`] gives a new snapshot and leaves this one as it is, so a reader
/// sees one state for as long as it likes and takes no lock.
///
/// # Who may view the document?
///
/// ```
/// use std::sync::Arc;
/// use formwork_authz::{Change, Decision, Graph, Object, Schema, Subject};
///
/// let schema = Arc::new(Schema::parse("
///     definition user {}
///     definition team { relation member: user }
///     definition document {
///         relation viewer: user | team#member
///         permission view = viewer
///     }
/// ")?);
/// let graph = Graph::load(schema, [
///     "document:7#viewer@team:eng#member".parse()?,
///     "team:eng#member@user:anna".parse()?,
/// ]);
/// let (anna, document) = (Subject::new("user", "anna"), Object::new("document", 7));
/// assert_eq!(graph.check(&anna, "view", &document)?, Decision::Allowed);
///
/// let later = graph.apply(&[Change::Delete("team:eng#member@user:anna".parse()?)]);
/// assert_eq!(later.check(&anna, "view", &document)?, Decision::Denied);
/// assert_eq!(graph.check(&anna, "view", &document)?, Decision::Allowed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Graph {
    schema: Arc<Schema>,
    state: State,
    ignored: usize,
    clock: Arc<dyn Clock>,
}

impl Graph {
    /// Builds a graph from relationships in any order; of repeated ones the last counts.
    ///
    /// Relationships that the schema has no place for are left out and counted by
    /// [`Graph::ignored`]: a table may hold what an older schema allowed.
    pub fn load(
        schema: impl Into<Arc<Schema>>,
        relationships: impl IntoIterator<Item = Relationship>,
    ) -> Self {
        let schema = schema.into();
        let mut builder = Builder::new(&schema);
        for relationship in relationships {
            builder.add(&schema, Row::from(&relationship));
        }
        Self::built(schema, builder)
    }

    pub(crate) fn built(schema: Arc<Schema>, builder: Builder) -> Self {
        let ignored = builder.ignored();
        let state = builder.build(&schema);
        Self { schema, state, ignored, clock: Arc::new(SystemClock) }
    }

    /// A snapshot whose expiries are compared with this clock; by default that is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// A snapshot with the changes, in their order; this one stays as it is.
    ///
    /// Changes that the schema has no place for have no effect, as in [`Graph::load`]. The same serves
    /// for relationships that shall count for one question only (contextual tuples): ask the snapshot
    /// that has them, and drop it.
    #[must_use]
    pub fn apply(&self, changes: &[Change]) -> Self {
        self.apply_rows(changes.iter().map(|change| match change {
            Change::Touch(relationship) => (Row::from(relationship), true),
            Change::Delete(relationship) => (Row::from(relationship), false),
        }))
    }

    pub(crate) fn apply_rows<'a>(&self, rows: impl IntoIterator<Item = (Row<'a>, bool)>) -> Self {
        let mut graph = self.clone();
        let mut touched = Vec::new();
        for (row, present) in rows {
            let placed = graph.state.set(&graph.schema, row, present, &mut touched);
            graph.ignored += usize::from(placed.is_none() && present);
        }
        graph.state.flatten_again(&graph.schema, &touched);
        graph.state.chain_again(&graph.schema, &touched);
        graph
    }

    /// The schema that this graph was built for.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// How many relationships there are; those that have expired are counted until they are deleted.
    pub fn len(&self) -> usize {
        self.state.tuples
    }

    /// Whether there is no relationship.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many relationships were left out because the schema has no place for them.
    pub fn ignored(&self) -> usize {
        self.ignored
    }

    /// Memory that the graph takes, in bytes; the schema apart. Measured when it was loaded, estimated
    /// for what has been applied since.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.state.weight
    }

    /// The part of [`Graph::memory_bytes`] that the ids take.
    pub fn names_bytes(&self) -> usize {
        self.state.names_bytes()
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Graph").field("tuples", &self.len()).finish_non_exhaustive()
    }
}
