//! Questions outside of a transaction: from memory where that is fresh enough, else from the database.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use formwork_tenancy::{Session, Tenants};

use crate::authz::Authz;
use crate::consistency::Consistency;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::memory;
use crate::view;

/// One state of a tenant's relationships, as fresh as was asked; it answers what a [`Graph`] answers.
#[derive(Clone)]
pub struct View {
    graph: Arc<Graph>,
    as_of: Option<Instant>,
    is_from_memory: bool,
}

impl View {
    /// How long ago this was the newest state, at most; unknown of what a standby said.
    pub fn age(&self) -> Option<Duration> {
        self.as_of.map(|at| at.elapsed())
    }

    /// No database was asked.
    pub fn is_from_memory(&self) -> bool {
        self.is_from_memory
    }
}

impl Deref for View {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        &self.graph
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("age", &self.age()).finish_non_exhaustive()
    }
}

impl Authz {
    /// The session's tenant as this handle's [`Consistency`] wants it, outside of a transaction.
    ///
    /// While the database cannot be reached, [`Consistency::MinimizeLatency`] goes on within its bound, and
    /// [`Consistency::AtLeast`] where the state in memory has the token's commit; [`View::age`] says how old it is. All
    /// else fails with a retryable error until the database is back.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     authz: formwork_authz::Authz,
    /// #     tenants: formwork_tenancy::Tenants,
    /// #     session: formwork_tenancy::Session,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_authz::{Consistency, Object, Subject};
    ///
    /// let recent = authz.with_consistency(Consistency::MinimizeLatency(std::time::Duration::from_secs(1)));
    /// let view = recent.view(&tenants, &session).await?;
    /// let decision = view.check(&Subject::new("user", "anna"), "view", &Object::new("document", 7))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CheckError::Storage`] when the database had to be asked and failed, [`CheckError::ForeignToken`] and
    /// [`CheckError::TooOld`] for tokens that are of no use.
    pub async fn view(&self, tenants: &Tenants, session: &Session) -> Result<View, CheckError> {
        let inner = self.inner();
        // What is asked before a transaction begins is asked before memory answers as well.
        let admitted = tenants.admit_read(session).await?;
        let session = admitted.as_ref().unwrap_or(session);
        let slot = inner.cache.slot(session.tenant());
        if let Some(known) = memory::known(inner, &slot, session.tenant(), self.consistency())? {
            inner.counters.remembered();
            return Ok(View { graph: known.graph, as_of: known.as_of, is_from_memory: true });
        }
        let as_of = Some(Instant::now());
        // On the primary: what a standby says cannot be gone on from.
        let mut tx = tenants.begin(session).await?;
        let asked = match self.consistency() {
            Consistency::Exact(_) => self.clone(),
            _ => self.with_consistency(Consistency::Full),
        };
        let graph = view::of(&asked, &mut tx).await?;
        tx.rollback().await?;
        Ok(View { graph, as_of, is_from_memory: false })
    }
}
