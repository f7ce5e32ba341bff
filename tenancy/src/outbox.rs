//! Events that leave with the data: appended in the business transaction, followed by a relay.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{FromRow, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{StorageError, TenantId, TenantTx, stream::CHANNEL};

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

/// An event of the outbox, as a follower reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedEvent {
    tenant: TenantId,
    id: Uuid,
    kind: String,
    payload: Value,
    request_id: Option<String>,
    at: DateTime<Utc>,
}

impl PublishedEvent {
    /// Whose event it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Identity: an event that comes again has the same one.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// As `entity.linked`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What is to be delivered.
    pub fn payload(&self) -> &Value {
        &self.payload
    }

    /// The request in which it happened, when one was given.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// When its transaction began, by the database's clock.
    pub fn at(&self) -> DateTime<Utc> {
        self.at
    }
}

impl FromRow<'_, PgRow> for PublishedEvent {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            tenant: row.try_get::<Uuid, _>("tenant_id")?.into(),
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            request_id: row.try_get("request_id")?,
            at: row.try_get("at")?,
        })
    }
}

impl TenantTx {
    /// Appends events to the tenant's outbox; they are delivered if, and only if, this commits. Followers are woken
    /// where [`TenantsBuilder::notify_followers`](crate::TenantsBuilder::notify_followers) says so.
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
        let text = match self.notifies {
            false => {
                "insert into platform.outbox (id, kind, payload, request_id) \
                 select e.id, e.kind, e.payload, $4 from unnest($1, $2, $3) as e (id, kind, payload)"
            }
            true => {
                "with woken as materialized (select pg_notify($5, '')) \
                 insert into platform.outbox (id, kind, payload, request_id) \
                 select e.id, e.kind, e.payload, $4 from woken, unnest($1, $2, $3) as e (id, kind, payload)"
            }
        };
        let query = sqlx::query(text).bind(ids).bind(kinds).bind(payloads).bind(request_id);
        let query = if self.notifies { query.bind(CHANNEL) } else { query };
        query.execute(&mut **self).await?;
        Ok(())
    }
}
