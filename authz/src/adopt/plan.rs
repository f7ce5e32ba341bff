//! What adopting a schema changes.

use std::fmt;

use super::{Orphans, SchemaDiff, SchemaVersion};
use crate::schema::SchemaId;

/// What adopting a schema changes for one tenant, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaPlan {
    pub(super) id: SchemaId,
    pub(super) newest: Option<SchemaVersion>,
    pub(super) diff: SchemaDiff,
    pub(super) orphans: Vec<Orphans>,
}

impl SchemaPlan {
    /// The schema that is to be adopted.
    pub fn id(&self) -> SchemaId {
        self.id
    }

    /// The tenant's newest schema before; none when it has adopted none.
    pub fn newest(&self) -> Option<&SchemaVersion> {
        self.newest.as_ref()
    }

    /// It is the newest already.
    pub fn is_adopted(&self) -> bool {
        self.newest.as_ref().is_some_and(|newest| newest.id() == self.id)
    }

    /// What it says that the newest does not, and the other way round.
    pub fn diff(&self) -> &SchemaDiff {
        &self.diff
    }

    /// Relationships that are stored and that it has no place for, those of a form together; while there are any it is
    /// not adopted.
    pub fn orphans(&self) -> &[Orphans] {
        &self.orphans
    }
}

impl fmt::Display for SchemaPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.newest {
            Some(newest) if newest.id() == self.id => {
                writeln!(f, "{} is version {}", self.id, newest.version())?
            }
            Some(newest) => writeln!(f, "{} after version {}, {}", self.id, newest.version(), newest.id())?,
            None => writeln!(f, "{} is the first", self.id)?,
        }
        write!(f, "{}", self.diff)?;
        self.orphans.iter().try_for_each(|orphans| writeln!(f, "! {orphans}"))
    }
}
