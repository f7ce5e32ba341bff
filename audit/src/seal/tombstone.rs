//! The sealer's part of retention: it says, signed and in the chain, which events may be gone.
//!
//! Removing them is the owner's (`formwork-tenancy`'s `Lifecycle::remove_events`), and a legal hold comes first. INVARIANT:
//! a tombstone covers sealed events alone, so what nobody has proven cannot be removed under it.

use chrono::{DateTime, Utc};
use formwork_tenancy::TenantTx;
use uuid::Uuid;

use super::{SealError, Sealer, SignedCheckpoint, Tombstone, store};

impl Sealer {
    /// Seals what is new, then signs a tombstone over the tenant's events from before `until`, by their identities; none
    /// when there are none. They are removed afterwards, under its number.
    ///
    /// ```no_run
    /// # async fn example(sealer: formwork_audit::seal::Sealer, tenants: formwork_tenancy::Tenants,
    /// #   session: formwork_tenancy::Session, life: formwork_tenancy::lifecycle::Lifecycle)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_tenancy::{Actor, lifecycle::Order};
    ///
    /// let until = chrono::Utc::now() - chrono::Months::new(24);
    /// let mut tx = tenants.begin(&session).await?;
    /// let tombstone = sealer.bury(&mut tx, until).await?;
    /// let tenant = tx.tenant_id();
    /// tx.commit().await?;
    /// if let Some(tombstone) = tombstone {
    ///     let order = Order::new(&Actor::system("retention"), "kept for two years");
    ///     life.remove_events(tenant, tombstone.checkpoint().number(), &order).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`seal`](Self::seal); [`SealError::Broken`] when an event from before has no leaf although all were sealed.
    pub async fn bury(
        &self,
        tx: &mut TenantTx,
        until: DateTime<Utc>,
    ) -> Result<Option<SignedCheckpoint>, SealError> {
        while !self.seal(tx).await?.is_caught_up() {}
        let now = store::lock(tx).await?;
        let before = first_id_at(until);
        let (events, unsealed) = store::events_before(tx, before).await?;
        if unsealed > 0 {
            return Err(SealError::Broken { what: "an event from long ago is not sealed" });
        }
        if events == 0 {
            return Ok(None);
        }
        let kept = store::last_checkpoint(tx).await?;
        let tree = self.stand_on(tx, kept)?;
        Ok(Some(self.sign(tx, &tree, now, Some(Tombstone { before, events })).await?))
    }
}

/// No UUIDv7 of this millisecond is lower.
fn first_id_at(moment: DateTime<Utc>) -> Uuid {
    Uuid::from_u128((moment.timestamp_millis().max(0) as u128) << 80)
}
