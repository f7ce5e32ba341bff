//! What of a tenant may be in memory, and which way a question takes.

use std::sync::Arc;

use formwork_tenancy::TenantTx;

use crate::authz::Authz;
use crate::consistency::Consistency;
use crate::error::CheckError;
use crate::graph::Graph;
use crate::view;

/// How much of one tenant may be in memory, and when it gets there; the rest is answered through SQL.
///
/// A relationship takes 20 to 100 bytes of a graph, most of it for ids. A tenant that is found to have more than its budget is
/// asked again after five minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    relationships: Option<u64>,
    cold: u32,
}

impl Budget {
    /// Every tenant is loaded by its first question, however large it is.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// A tenant with more relationships than these is not kept in memory.
    pub fn relationships(count: u64) -> Self {
        Self { relationships: Some(count), cold: 0 }
    }

    /// Nothing is kept in memory.
    pub fn none() -> Self {
        Self::relationships(0)
    }

    /// The first `questions` about a tenant that is not in memory are answered through SQL and the next one loads it: a
    /// tenant that is asked about rarely is never loaded, and nobody waits for the first load of a large one.
    #[must_use]
    pub fn loading_after(self, questions: u32) -> Self {
        Self { cold: questions, ..self }
    }

    pub(crate) fn limit(&self) -> Option<u64> {
        self.relationships
    }
}

/// How a question is answered.
pub(crate) enum Way {
    Memory(Arc<Graph>),
    Sql,
}

pub(crate) async fn way(authz: &Authz, tx: &mut TenantTx) -> Result<Way, CheckError> {
    let (inner, budget) = (authz.inner(), authz.inner().budget);
    // The past is nowhere but in the log.
    let is_past = matches!(authz.consistency(), Consistency::Exact(_));
    if budget == Budget::unlimited() || is_past {
        return Ok(Way::Memory(view::of(authz, tx).await?));
    }
    let slot = inner.cache.slot(tx.tenant());
    let is_kept = budget.limit() != Some(0) && !slot.is_over();
    if !view::has(authz, tx) && (!is_kept || slot.is_cold(budget.cold)) {
        inner.counters.by_sql();
        return Ok(Way::Sql);
    }
    match view::of(authz, tx).await {
        Err(CheckError::OverBudget(_)) => {
            inner.counters.by_sql();
            Ok(Way::Sql)
        }
        Ok(graph) => {
            // It has grown since it was loaded: this transaction keeps what it has seen.
            if budget.limit().is_some_and(|limit| graph.len() as u64 > limit) {
                slot.put_over();
                inner.cache.weigh_again(tx.tenant_id(), &slot);
            }
            Ok(Way::Memory(graph))
        }
        Err(error) => Err(error),
    }
}
