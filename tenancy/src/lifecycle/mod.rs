//! A tenant's life: in service, out of it, archived, deleted.
//!
//! [`Lifecycle`] changes a tenant's status, and only along the table of [`EDGES`]. Every change has somebody who wants it
//! and a reason ([`Order`]); it goes through steps, of which the row in `platform.tenant_transitions` says how many are
//! done, so one that was cut off is gone on with: by asking for it again, or by [`resume`](Lifecycle::resume).
//!
//! INVARIANT: the registry's row decides what the tenant is. What is deleted is shredded before its home goes, and from
//! the step `doomed` on there is only one way, whoever dies on it.
//!
//! # What is left of a deleted tenant
//!
//! Its row in the registry, without its name: the identity is never given out again, and neither is the slug, so that
//! nobody else answers where it answered. The ledger of its changes, of its moves and of its administrators' grants, its
//! legal holds and the security events: who did what, not what the tenant had. In the outbox, what a consumer has not read
//! yet, until it is pruned like everybody's. And the users who were its members, in `platform.users`: they are the
//! platform's, and may be members elsewhere. Rows, sealed fields, domains, memberships, hints, the log of its permissions
//! are gone.

mod error;
mod hold;
mod hook;
mod ledger;
mod order;
mod purge;
mod report;
mod retention;
mod shred;
mod steps;
mod transition;

use std::{sync::Arc, time::Duration};

pub use error::{LifecycleError, LifecycleFault, LifecycleRefusal};
pub use hold::LegalHold;
pub use hook::{Change, HookError, HookFailure, LifecycleHook};
pub use ledger::TransitionStep;
pub use order::Order;
pub use report::{LifecycleEvent, PastTransition, TransitionReport};
pub use transition::{EDGES, Transition};

use crate::{ControlPlane, TenantId};

/// How long a hook may take, unless it is said otherwise.
const HOOK_LIMIT: Duration = Duration::from_secs(30);
/// Rows that are removed in one transaction: some milliseconds of locks.
const BATCH: u32 = 5_000;

/// Changes what tenants are. The owner's side, as [`ControlPlane`] is. Cheap to clone.
///
/// ```no_run
/// # async fn example(control: formwork_tenancy::ControlPlane, acme: formwork_tenancy::TenantId)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use formwork_tenancy::{Actor, lifecycle::{Lifecycle, Order}};
///
/// let lifecycle = Lifecycle::new(control);
/// let order = Order::new(&Actor::system("billing"), "the contract has ended");
/// lifecycle.suspend(acme, &order).await?;
/// lifecycle.delete(acme, Duration::from_secs(30 * 24 * 60 * 60), &order).await?;
/// // A worker, every hour:
/// for tenant in lifecycle.due().await? {
///     lifecycle.purge(tenant, &Order::new(&Actor::system("worker"), "the time of grace is over"), |_| ()).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Lifecycle {
    control: ControlPlane,
    hooks: Vec<Arc<dyn LifecycleHook>>,
    hook_limit: Duration,
    batch: u32,
    shredder: shred::Shredder,
}

impl Lifecycle {
    /// Changes by this control plane, without hooks.
    pub fn new(control: ControlPlane) -> Self {
        Self {
            control,
            hooks: Vec::new(),
            hook_limit: HOOK_LIMIT,
            batch: BATCH,
            shredder: shred::Shredder::default(),
        }
    }

    /// Calls this around every change, after those that were given before. Whoever changes tenants gives the same ones.
    #[must_use]
    pub fn hook(mut self, hook: impl LifecycleHook + 'static) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// How long one call of a hook may take [default: 30 seconds].
    #[must_use]
    pub fn hook_limit(mut self, limit: Duration) -> Self {
        self.hook_limit = limit;
        self
    }

    /// Rows of a shared home that are removed in one transaction [default: 5,000].
    #[must_use]
    pub fn batch(mut self, rows: u32) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// By what the keys of a tenant are destroyed before its home goes. Without it a tenant that has any is not
    /// purged.
    #[cfg(feature = "keys")]
    #[must_use]
    pub fn shred_with(mut self, tenants: crate::Tenants, keys: crate::keys::Keys) -> Self {
        self.shredder = shred::Shredder::new(tenants, keys);
        self
    }

    /// Into service, from `provisioning` or `suspended`.
    ///
    /// # Errors
    ///
    /// [`LifecycleError`], as of every change: refused, and nothing was done; interrupted, and it is to be resumed.
    pub async fn activate(
        &self,
        tenant: TenantId,
        order: &Order,
    ) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Activate, None, order, &|_| ()).await
    }

    /// Out of service: no session begins anything for it a second later, on any node.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate).
    pub async fn suspend(&self, tenant: TenantId, order: &Order) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Suspend, None, order, &|_| ()).await
    }

    /// Out of service, and no longer written: kept to be looked at and to be exported.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate).
    pub async fn archive(&self, tenant: TenantId, order: &Order) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Archive, None, order, &|_| ()).await
    }

    /// Out of the archive, into service.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate).
    pub async fn restore(&self, tenant: TenantId, order: &Order) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Restore, None, order, &|_| ()).await
    }

    /// Out of service at once, removable for good by [`purge`](Self::purge) after `grace`. Until then
    /// [`undelete`](Self::undelete) brings it back.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate); refused for a tenant on legal hold.
    pub async fn delete(
        &self,
        tenant: TenantId,
        grace: Duration,
        order: &Order,
    ) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Delete, Some(grace), order, &|_| ()).await
    }

    /// Back to what it was before it was to be deleted.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate); refused once its removal has begun.
    pub async fn undelete(
        &self,
        tenant: TenantId,
        order: &Order,
    ) -> Result<TransitionReport, LifecycleError> {
        self.change(tenant, Transition::Undelete, None, order, &|_| ()).await
    }

    /// Removes it for good: destroys its keys, then its home, then what the platform knows of it.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate); refused for a tenant on legal hold, before its time of grace is over, while it
    /// has a move, and when it has keys that nobody here can destroy.
    pub async fn purge<P>(
        &self,
        tenant: TenantId,
        order: &Order,
        progress: P,
    ) -> Result<TransitionReport, LifecycleError>
    where
        P: Fn(LifecycleEvent<'_>) + Send + Sync,
    {
        self.change(tenant, Transition::Purge, None, order, &progress).await
    }

    /// Goes on with a change that was cut off, and calls the hooks that have not succeeded yet.
    ///
    /// # Errors
    ///
    /// As [`activate`](Self::activate); refused when there is nothing to be resumed.
    pub async fn resume<P>(&self, tenant: TenantId, progress: P) -> Result<TransitionReport, LifecycleError>
    where
        P: Fn(LifecycleEvent<'_>) + Send + Sync,
    {
        self.go_on(tenant, &progress).await
    }

    /// Tenants with something to be resumed.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn unfinished(&self) -> Result<Vec<TenantId>, LifecycleError> {
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
            "select distinct tenant_id from platform.tenant_transitions
              where step not in ('finished', 'refused') order by 1",
        )
        .fetch_all(&self.control.pool)
        .await?;
        Ok(ids.into_iter().map(TenantId::from).collect())
    }

    /// Tenants whose time of grace is over and that nobody holds, those that have waited longest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn due(&self) -> Result<Vec<TenantId>, LifecycleError> {
        let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
            "select id from platform.tenants t
              where status = 'deleting' and delete_after <= clock_timestamp()
                and not exists (select from platform.legal_holds h where h.tenant_id = t.id and h.released_at is null)
              order by delete_after, id",
        )
        .fetch_all(&self.control.pool)
        .await?;
        Ok(ids.into_iter().map(TenantId::from).collect())
    }

    /// Every change that was ever asked for, the oldest first: also of a tenant that is gone.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn history(&self, tenant: TenantId) -> Result<Vec<PastTransition>, LifecycleError> {
        let entries = ledger::all(&self.control.pool, tenant).await?;
        Ok(entries.into_iter().map(PastTransition::of).collect())
    }
}
