//! Events that leave with the data: appended in the business transaction, followed by a relay.

use serde_json::Value;
use uuid::Uuid;

use crate::{StorageError, TenantTx};

/// Something that happened to a tenant, for whoever listens.
#[derive(Debug, Clone)]
pub struct OutboxEvent {
    id: Uuid,
    kind: String,
    payload: Value,
}

impl OutboxEvent {
    /// `kind` as `entity.linked`; the payload as it is to be delivered.
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        Self { id: Uuid::now_v7(), kind: kind.into(), payload }
    }

    /// Identity, by which a receiver tells a repetition.
    pub fn id(&self) -> Uuid {
        self.id
    }
}

impl TenantTx {
    /// Appends events to the tenant's outbox; they are delivered if, and only if, this commits.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn publish(&mut self, events: &[OutboxEvent]) -> Result<(), StorageError> {
        if events.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
        let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
        let payloads: Vec<&Value> = events.iter().map(|event| &event.payload).collect();
        let request_id = self.session().correlation().map(str::to_owned);
        sqlx::query(
            "insert into platform.outbox (id, kind, payload, request_id) \
             select e.id, e.kind, e.payload, $4 from unnest($1, $2, $3) as e (id, kind, payload)",
        )
        .bind(ids)
        .bind(kinds)
        .bind(payloads)
        .bind(request_id)
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}
