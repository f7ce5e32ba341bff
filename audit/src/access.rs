//! Access to the trail is part of the trail.
//!
//! INVARIANT: what was looked for is recorded in the transaction that reads it. The same question of the same actor is one
//! event a day, so that turning pages and refreshing does not fill the trail with itself.

use formwork_tenancy::{Cursor, TenantTx};
use sha2::{Digest, Sha256};

use crate::{Action, Audit, AuditError, Event, Filter, Outcome, Page, Target, hex};

/// Somebody has read the trail. The filter stands in `after`.
pub const READ: Action = Action::new("audit.read");
/// Somebody has exported the trail. The format and the filter stand in `after`.
pub const EXPORTED: Action = Action::new("audit.exported");

const DAY: u64 = 24 * 60 * 60;

impl Audit {
    /// As [`list`](Self::list), and tells the trail who has asked for what. Commit the transaction, or there was no
    /// access: do not show what was read when the commit fails.
    ///
    /// ```no_run
    /// # async fn example(audit: formwork_audit::Audit, mut tx: formwork_tenancy::TenantTx)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use formwork_audit::{Filter, Outcome};
    ///
    /// let denied = Filter { outcome: Some(Outcome::Denied), ..Filter::default() };
    /// let page = audit.read(&mut tx, &denied, None, 50).await?;
    /// tx.commit().await?;
    /// println!("{} denials", page.events.len());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list) and [`record`](Self::record).
    pub async fn read(
        &self,
        tx: &mut TenantTx,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Page, AuditError> {
        let page = self.list(tx, filter, after, limit).await?;
        let event = Event::of(&READ).after(serde_json::to_value(filter).unwrap_or_default());
        self.tell_access(tx, once_a_day(tx, event, filter)).await?;
        Ok(page)
    }

    /// What was done to one entity, the newest first; a denial is not among it.
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list).
    pub async fn history(
        &self,
        tx: &mut TenantTx,
        entity: impl Into<Target>,
        after: Option<Cursor>,
        limit: u64,
    ) -> Result<Page, AuditError> {
        let filter =
            Filter { target: Some(entity.into()), outcome: Some(Outcome::Success), ..Filter::default() };
        self.list(tx, &filter, after, limit).await
    }

    /// Records an event of the crate's own, which a program's actions need not name.
    pub(crate) async fn tell_access(&self, tx: &mut TenantTx, event: Event) -> Result<(), AuditError> {
        self.insert(tx, std::slice::from_ref(&event)).await
    }
}

/// By actor, question, and the day of the event's own identity.
fn once_a_day(tx: &TenantTx, event: Event, filter: &Filter) -> Event {
    let session = tx.session();
    let day = event.id().get_timestamp().map_or(0, |stamp| stamp.to_unix().0 / DAY);
    let who = format!("{} {:?}", session.actor(), session.impersonator());
    let asked = Sha256::digest(format!("{who} {filter:?}").as_bytes());
    event.idempotency_key(format!("audit.read {day} {}", hex::encode(&asked)))
}
