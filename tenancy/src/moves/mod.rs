//! Moving a tenant to another home, while it is read.
//!
//! From `shared` to a schema of its own and back, and to another database, which is also how a region changes:
//! [`ControlPlane::move_tenant`]. The steps are prepare, freeze, copy, verify, flip, release; the row in
//! `platform.tenant_moves` says how far a move has come, so one that was cut off is gone on with
//! ([`resume_move`](ControlPlane::resume_move)) or undone ([`abort_move`](ControlPlane::abort_move)).
//!
//! INVARIANT: the registry's row decides where the tenant lives. Until it is flipped the old home has every row and the
//! new one can be thrown away; afterwards the other way round.
//!
//! # What the tenant's users notice
//!
//! From freeze to release nothing can be committed for the tenant: the commit asks the home's own database, under a lock
//! that the freeze holds alone, so no cache has to be right. [`Tenants::run`](crate::Tenants::run) waits and goes on in
//! the new home; a single transaction fails with [`is_moving`](crate::StorageError::is_moving). Reads go on in the old
//! home, and for as long after the flip as a registry's entry is fresh, a second; so the old home stays as it was until
//! [`finish_move`](ControlPlane::finish_move), which should leave the longest read its time.
//!
//! # What is not copied
//!
//! - Streams are a database's: events of the outbox that are not delivered yet stay where they were written, and are
//!   delivered from there. The new home begins new ones, under a new epoch.
//! - Generated columns, and `xid8` columns with a default: a row's transaction is the one that wrote it here.
//! - Tables without `tenant_id`, which are nobody's.

mod copy;
mod error;
pub(crate) mod hands;
mod ledger;
mod report;
mod steps;
pub(crate) mod tables;
pub(crate) mod undo;
mod verify;

use std::time::Duration;

pub use error::{MoveError, MoveFault, MoveRefusal};
pub use ledger::{MoveStep, OpenMove};
pub use report::{MoveEvent, MoveReport, MovedTable};

use crate::{ControlPlane, HomePlace, TenantId};
use hands::Hand;
use ledger::Move;

impl ControlPlane {
    /// Moves the tenant to `to`. On return it lives there; what it left behind stays until
    /// [`finish_move`](Self::finish_move).
    ///
    /// It needs connections of its own to the databases, not through a pooler. Migrations and moves wait for each other.
    ///
    /// ```no_run
    /// # async fn example(control: formwork_tenancy::ControlPlane, acme: formwork_tenancy::TenantId)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use formwork_tenancy::{HomePlace, moves::MoveEvent};
    ///
    /// let report = control
    ///     .move_tenant(acme, &HomePlace::database("eu"), |event| {
    ///         if let MoveEvent::Copied { table, rows, .. } = event {
    ///             println!("{table}: {rows} rows");
    ///         }
    ///     })
    ///     .await?;
    /// println!("{report}");
    /// // An hour later, when no read of the old home is left.
    /// control.finish_move(acme, Duration::from_secs(3600)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`MoveError::Refused`]: nothing was begun. [`MoveError::RolledBack`]: it failed, and the tenant lives where it
    /// lived. [`MoveError::Interrupted`]: it failed and could not be undone now.
    pub async fn move_tenant<P>(
        &self,
        tenant: TenantId,
        to: &HomePlace,
        progress: P,
    ) -> Result<MoveReport, MoveError>
    where
        P: Fn(MoveEvent<'_>) + Send + Sync,
    {
        self.pool_of(to.database_name()).map_err(MoveRefusal::UnknownDatabase)?;
        let mut main = Hand::main(self, tenant).await?;
        let begun = Move::begin(&mut main, tenant, to, self.region_of(to.database_name())).await?;
        self.go_on(main, begun, &progress).await
    }

    /// Goes on with a move that was cut off.
    ///
    /// # Errors
    ///
    /// As [`move_tenant`](Self::move_tenant); refused when there is no open move, or when it is being undone.
    pub async fn resume_move<P>(&self, tenant: TenantId, progress: P) -> Result<MoveReport, MoveError>
    where
        P: Fn(MoveEvent<'_>) + Send + Sync,
    {
        let mut main = Hand::main(self, tenant).await?;
        let mut found = Move::open(&mut main, tenant).await?.ok_or(MoveRefusal::NotOpen)?;
        if found.step == MoveStep::Aborting {
            return Err(MoveRefusal::Open { step: found.step }.into());
        }
        if found.step == MoveStep::Verified {
            // Time has passed since.
            found.step = MoveStep::Copied;
        }
        self.go_on(main, found, &progress).await
    }

    /// Undoes a move that has not reached its flip: the tenant is written again where it lived, and what was copied is
    /// removed.
    ///
    /// # Errors
    ///
    /// Refused when there is no open move, or when the tenant lives in its new home already.
    pub async fn abort_move(&self, tenant: TenantId) -> Result<(), MoveError> {
        undo::abort(self, tenant, "aborted by an operator").await
    }

    /// Removes what a move has left behind, once `grace` has passed since its flip. Rows of the old home that is
    /// shared are deleted, a schema of the tenant's own is dropped, an audit trail with them: the tenant has it in its
    /// new home.
    ///
    /// # Errors
    ///
    /// Refused when there is no move to finish, or too early.
    pub async fn finish_move(&self, tenant: TenantId, grace: Duration) -> Result<(), MoveError> {
        undo::finish(self, tenant, grace).await
    }

    /// The tenant's move that has not been finished or undone.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn open_move(&self, tenant: TenantId) -> Result<Option<OpenMove>, MoveError> {
        ledger::look(&self.pool, tenant).await
    }
}
