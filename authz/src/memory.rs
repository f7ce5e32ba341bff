//! Is what this process knows fresh enough?

use std::sync::Arc;
use std::time::Instant;

use formwork_tenancy::{CommitToken, Snapshot, Tenant};

use crate::authz::Inner;
use crate::cache::Slot;
use crate::consistency::Consistency;
use crate::error::CheckError;
use crate::graph::Graph;

/// A state that memory has, and when it was the newest.
pub(crate) struct Known {
    pub(crate) graph: Arc<Graph>,
    /// Unknown of what a standby said.
    pub(crate) as_of: Option<Instant>,
}

/// The number of the last look of the follower, whose state whatever is asked from now on includes; 0 for none.
pub(crate) fn last_look(inner: &Inner, slot: &Slot) -> u64 {
    inner.looks.of(&slot.database).map_or(0, |look| look.number)
}

/// What is known of the tenant, when it is as fresh as was asked.
pub(crate) fn known(
    inner: &Inner,
    slot: &Slot,
    tenant: &Tenant,
    asked: &Consistency,
) -> Result<Option<Known>, CheckError> {
    // Before the state: whatever look is found here, the state that is found after it can be told from.
    let look = inner.looks.of(&slot.database);
    let Some(published) = slot.published.load_full() else { return Ok(None) };
    let look =
        look.filter(|look| look.origin == published.origin && slot.is_followed(&published, look.since));
    let as_of = look.as_ref().map(|look| look.at).max(published.asked_at);
    let is_fresh = match asked {
        Consistency::Full | Consistency::Exact(_) => false,
        Consistency::MinimizeLatency(bound) => as_of.is_some_and(|at| at.elapsed() <= *bound),
        Consistency::AtLeast(token) => match state_of(token, tenant)? {
            None => false,
            Some(wanted) => {
                published.snapshot.includes(&wanted) || look.is_some_and(|look| look.state.includes(&wanted))
            }
        },
    };
    Ok(is_fresh.then(|| Known { graph: Arc::clone(&published.graph), as_of }))
}

/// The state that a token names; none for one of before a move, a restore or a promotion.
pub(crate) fn state_of(token: &CommitToken, tenant: &Tenant) -> Result<Option<Snapshot>, CheckError> {
    if token.tenant() != tenant.id() {
        return Err(CheckError::ForeignToken);
    }
    Ok(token.snapshot().parse().ok().filter(|_| token.epoch() == tenant.epoch()))
}
