//! The tenant's own view of its audit trail.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use formwork_audit::{Filter, StoredEvent, Target};
use formwork_tenancy::Cursor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Module, members::organization};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::{Json, Query},
    page::{Listed, limit},
    route::{Access, Route},
};

/// `GET /api/v1/audit`.
pub const MODULE: Module =
    Module { name: "audit", dependencies: &["members"], permissions: "", linkable: &[], routes };

fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/audit", Access::permission("read_audit", "organization"), list)
            .summary("What happened, newest first")
            .query::<Asked>()
            .returns::<Listed<EventView>>(StatusCode::OK),
    ]
}

/// Filters and paging.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// An action: `project.created`.
    #[serde(rename = "filter[action]")]
    action: Option<String>,
    /// An actor as `user:<id>`.
    #[serde(rename = "filter[actor]")]
    actor: Option<String>,
    /// A thing as `project:<id>`.
    #[serde(rename = "filter[target]")]
    target: Option<String>,
    /// RFC 3339, inclusive.
    from: Option<DateTime<Utc>>,
    /// RFC 3339, exclusive.
    until: Option<DateTime<Utc>>,
    /// Rows in the page, 1 to 200; 50 when absent.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One event.
#[derive(Debug, Serialize, JsonSchema)]
struct EventView {
    id: Uuid,
    at: DateTime<Utc>,
    actor: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonator: Option<String>,
    action: String,
    targets: Value,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Value>,
    correlation_id: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
}

impl From<StoredEvent> for EventView {
    fn from(event: StoredEvent) -> Self {
        Self {
            id: event.id,
            at: event.at,
            actor: serde_json::json!({"type": event.actor_type, "id": event.actor_id}),
            impersonator: event.impersonator,
            action: event.action,
            targets: event.targets,
            outcome: event.outcome,
            reason: event.reason,
            before: event.before,
            after: event.after,
            evidence: event.evidence,
            correlation_id: event.request_id,
            ip: event.ip,
            user_agent: event.user_agent,
        }
    }
}

async fn list(caller: Caller, Query(asked): Query<Asked>) -> Result<Json<Listed<EventView>>, ApiError> {
    let limit = limit(asked.limit)?;
    let after = asked.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let filter = Filter {
        action: asked.action,
        actor: asked.actor.as_deref().map(|text| pair("filter[actor]", text)).transpose()?,
        target: asked.target.as_deref().map(|text| pair("filter[target]", text)).transpose()?,
        from: asked.from,
        until: asked.until,
        ..Filter::default()
    };
    let mut work = caller.begin_read().await?;
    let tenant = work.tenant_id();
    work.authorize(&organization(tenant)).await?;
    let audit = work.app().audit.clone();
    let page = audit.list(&mut work, &filter, after, limit as u64).await?;
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(Json(Listed::new(page.events.into_iter().map(EventView::from).collect(), next)))
}

fn pair(parameter: &str, text: &str) -> Result<Target, ApiError> {
    let (kind, id) =
        text.split_once(':').ok_or_else(|| ApiError::invalid(parameter, "write it as `type:id`"))?;
    Ok(Target { kind: kind.to_owned(), id: id.to_owned() })
}
