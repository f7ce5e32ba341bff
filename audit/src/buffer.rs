//! Events that are written together.

use formwork_tenancy::TenantTx;

use crate::{Audit, AuditError, Event};

/// Events of one transaction, gathered while it works and written in one statement at its end.
///
/// ```no_run
/// # async fn example(audit: formwork_audit::Audit, mut tx: formwork_tenancy::TenantTx, rows: Vec<uuid::Uuid>)
/// # -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_audit::{Buffer, Event};
///
/// let mut buffer = Buffer::new();
/// for row in rows {
///     buffer.push(Event::new("task.imported").target(("task", row)));
/// }
/// buffer.flush(&audit, &mut tx).await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[must_use = "events are written when it is flushed"]
pub struct Buffer {
    events: Vec<Event>,
}

impl Buffer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more event, behind the others.
    pub fn push(&mut self, event: Event) {
        self.events.push(event);
    }

    /// How many events it has.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Writes them.
    ///
    /// # Errors
    ///
    /// As [`Audit::record`].
    pub async fn flush(self, audit: &Audit, tx: &mut TenantTx) -> Result<(), AuditError> {
        audit.record_many(tx, &self.events).await
    }
}
