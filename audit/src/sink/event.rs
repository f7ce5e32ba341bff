//! An event as it leaves the trail.
//!
//! INVARIANT: of what was sealed under the tenant's own key nothing leaves, not even sealed: elsewhere it could not be
//! shredded.

use chrono::{DateTime, Utc};
use formwork_tenancy::{TenantId, TenantTx};
use serde::Serialize;
use serde_json::Value;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Message, ocsf};

/// In what form events go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// As [`SinkEvent`] is written.
    #[default]
    Native,
    /// As OCSF 1.3.0 classes: `docs/sinks.md` has the table.
    Ocsf,
}

/// An event, with all that may leave.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct SinkEvent {
    #[serde(rename = "tenant")]
    pub(crate) tenant_id: Uuid,
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor_type: String,
    pub(crate) actor_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) impersonator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on_behalf_of: Option<String>,
    pub(crate) action: String,
    pub(crate) targets: Value,
    pub(crate) outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
}

impl SinkEvent {
    /// Whose event it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant_id.into()
    }

    /// Its identity.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// What was done.
    pub fn action(&self) -> &str {
        &self.action
    }

    /// `success`, `denied` or `failure`.
    pub fn outcome(&self) -> &str {
        &self.outcome
    }

    /// The event as one line of JSON.
    ///
    /// # Errors
    ///
    /// When it cannot be written as JSON, which no event of a trail is.
    pub fn to_json(&self, format: Format) -> Result<String, serde_json::Error> {
        match format {
            Format::Native => serde_json::to_string(self),
            Format::Ocsf => serde_json::to_string(&ocsf::of(self)),
        }
    }

    pub(crate) fn message(&self, format: Format) -> Result<Message, serde_json::Error> {
        Ok(Message::new(self.tenant(), self.id, self.action.clone(), self.to_json(format)?))
    }
}

/// Those of these events of the transaction's tenant that are there, in no order.
pub(crate) async fn read(tx: &mut TenantTx, ids: &[Uuid]) -> Result<Vec<SinkEvent>, sqlx::Error> {
    sqlx::query_as(
        "select tenant_id, id, at, actor_type, actor_id, impersonator, on_behalf_of, action, targets, outcome, reason,
                before, after, evidence_id, evidence, request_id, trace_id, ip, user_agent, region
           from audit_events where id = any($1)",
    )
    .bind(ids)
    .fetch_all(&mut **tx)
    .await
}
