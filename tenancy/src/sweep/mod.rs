//! Work over many tenants: visit those that have some, and now and then all of them.
//!
//! Whoever makes work leaves a hint in the same transaction ([`TenantTx::hint`]). A sweep visits each tenant with a
//! hint once a round, in a [`TenantTx`] of the service's login, so that row security holds the work as it does any
//! other; the hint is taken away in that same transaction. A slow full round visits every tenant in service, for work
//! whose hint was lost or never written.
//!
//! Which tenants there are is known to the relay alone, and of them it sees identities and kinds of work; whoever has
//! the rows cannot list the tenants. A process that sweeps has both logins; a server needs none of this.

mod hint;
mod round;
mod visit;

use std::{collections::HashMap, fmt, time::Duration};

use futures::future::BoxFuture;

use crate::{Relay, StorageError, TenantId, TenantTx, Tenants};

pub use round::SweepRound;
pub use visit::VisitError;

use visit::Failures;

/// What ends a visit that cannot do its work.
pub type SweepError = Box<dyn std::error::Error + Send + Sync>;

/// Visits tenants to do one kind of work. Made by [`Tenants::sweep`].
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, relay: formwork_tenancy::Relay)
/// # -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// use std::time::Duration;
///
/// let mut expiry = tenants.sweep("expiry", &relay).every(Duration::from_secs(6 * 60 * 60));
/// expiry
///     .run(
///         |tx| Box::pin(async move {
///             sqlx::query("delete from invitations where expires_at < now()").execute(&mut **tx).await?;
///             Ok(())
///         }),
///         |round| println!("{round}"),
///     )
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Sweep {
    kind: String,
    tenants: Tenants,
    relay: Relay,
    every: Duration,
    at_once: usize,
    failures: Failures,
}

impl Tenants {
    /// A sweep for work of this kind: a full round every six hours, four visits at once.
    pub fn sweep(&self, kind: impl Into<String>, relay: &Relay) -> Sweep {
        Sweep {
            kind: kind.into(),
            tenants: self.clone(),
            relay: relay.clone(),
            every: Duration::from_secs(6 * 60 * 60),
            at_once: 4,
            failures: Failures::default(),
        }
    }
}

impl Sweep {
    /// How long after the end of a full round the next one begins. The database remembers, also across processes.
    #[must_use]
    pub fn every(mut self, pause: Duration) -> Self {
        self.every = pause;
        self
    }

    /// Visits at the same time, each with a connection.
    #[must_use]
    pub fn at_once(mut self, visits: usize) -> Self {
        self.at_once = visits.max(1);
        self
    }

    /// Sweeps until it is given up, which may happen at any await: a visit that is under way is then undone, and comes
    /// again. `report` hears of every round that visited anybody.
    ///
    /// A tenant whose visit fails, or panics, does not stop the others; it is visited again after a pause that grows
    /// from one second to ten minutes. While the database cannot be reached, it is tried again.
    ///
    /// # Errors
    ///
    /// When the relay may not read the hints, or the database fails in another way than by being out of reach.
    pub async fn run(
        &mut self,
        work: impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
        mut report: impl FnMut(&SweepRound),
    ) -> Result<(), StorageError> {
        let mut wake = self.relay.wake();
        loop {
            let done = async {
                wake.ready().await?;
                let round = self.round(&work).await?;
                let full = match self.is_full_round_due().await? {
                    true => self.full_round(&work).await?,
                    false => None,
                };
                Ok::<_, StorageError>((round, full))
            };
            match done.await {
                Ok((round, full)) => {
                    for round in [Some(round), full].into_iter().flatten().filter(|round| !round.is_empty()) {
                        report(&round);
                    }
                }
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(kind = self.kind, %error, "the sweep waits for the database");
                }
                Err(error) => return Err(error),
            }
            wake.wait(self.failures.next_try().unwrap_or(Duration::MAX)).await;
        }
    }
}

/// Why each tenant was not visited.
pub(crate) type Reasons = HashMap<TenantId, VisitError>;

impl fmt::Display for SweepRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let round = if self.is_full() { "full round" } else { "round" };
        let (visited, failed, skipped) = (self.visited(), self.failed().len(), self.skipped());
        write!(f, "{round} of {}: {visited} visited, {failed} failed, {skipped} skipped", self.kind())
    }
}
