//! The tenant's own view of its audit trail. Whoever looks at it stands in it.

mod export;
mod history;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use formwork_audit::{
    Filter, Outcome, StoredEvent, Target,
    classification::{Classification, Classified, Cleared},
};
use formwork_tenancy::Cursor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Module, linkable, members::organization};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::{Id, Json, Query},
    page::{Listed, limit},
    route::{Access, Route},
};

/// `/api/v1/audit`, and the history of every entity.
pub const MODULE: Module =
    Module { name: "audit", dependencies: &["members"], permissions: "", linkable: &[], routes };

const READ: Access = Access::permission("read_audit", "organization");

fn routes() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/api/v1/audit", READ, list)
            .summary("What happened, newest first")
            .query::<Asked>()
            .returns::<Listed<EventView>>(StatusCode::OK),
        Route::get("/api/v1/audit/{id}", READ, show)
            .summary("One event")
            .returns::<EventView>(StatusCode::OK),
        Route::post("/api/v1/audit/exports", READ, export::export)
            .summary("What happened, as a file; X-Total-Events says how much is to come")
            .body::<export::NewExport>()
            .returns::<String>(StatusCode::OK),
    ];
    routes.extend(linkable().map(history::route));
    routes
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
    /// `success`, `denied` or `failure`.
    #[serde(rename = "filter[outcome]")]
    outcome: Option<String>,
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
#[derive(Debug, Serialize, JsonSchema, Classified)]
struct EventView {
    #[class(internal)]
    id: Uuid,
    #[class(internal)]
    at: DateTime<Utc>,
    #[class(internal)]
    actor: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[class(internal)]
    impersonator: Option<String>,
    #[class(internal)]
    action: String,
    #[class(internal)]
    targets: Value,
    #[class(internal)]
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[class(internal)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[class(internal)]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[class(internal)]
    after: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[class(confidential)]
    evidence: Option<Value>,
    #[class(confidential)]
    correlation_id: Option<String>,
    #[class(confidential)]
    ip: Option<String>,
    #[class(confidential)]
    user_agent: Option<String>,
}

impl EventView {
    /// For whoever sees the thing that it is about, and not the trail.
    fn to_viewer(&self) -> Value {
        serde_json::to_value(Cleared::new(self, Classification::Internal)).unwrap_or_default()
    }
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
        outcome: asked.outcome.as_deref().map(|text| outcome("filter[outcome]", text)).transpose()?,
        from: asked.from,
        until: asked.until,
    };
    let mut work = caller.begin().await?;
    let tenant = work.tenant_id();
    work.authorize(&organization(tenant)).await?;
    let audit = work.app().audit.clone();
    let page = audit.read(&mut work, &filter, after, limit as u64).await?;
    work.commit().await?;
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(Json(Listed::new(page.events.into_iter().map(EventView::from).collect(), next)))
}

async fn show(caller: Caller, Id(id): Id) -> Result<Json<EventView>, ApiError> {
    let mut work = caller.begin_read().await?;
    let tenant = work.tenant_id();
    work.authorize(&organization(tenant)).await?;
    let audit = work.app().audit.clone();
    let event = audit.event(&mut work, id).await?.ok_or_else(|| ApiError::not_found("event"))?;
    Ok(Json(event.into()))
}

fn pair(parameter: &str, text: &str) -> Result<Target, ApiError> {
    let (kind, id) =
        text.split_once(':').ok_or_else(|| ApiError::invalid(parameter, "write it as `type:id`"))?;
    Ok(Target { kind: kind.to_owned(), id: id.to_owned() })
}

fn outcome(parameter: &str, text: &str) -> Result<Outcome, ApiError> {
    [Outcome::Success, Outcome::Denied, Outcome::Failure]
        .into_iter()
        .find(|known| known.as_str() == text)
        .ok_or_else(|| ApiError::invalid(parameter, "use success, denied or failure"))
}

#[cfg(test)]
mod tests {
    use formwork_audit::classification::unclassified;

    use super::*;

    #[test]
    fn every_field_of_an_event_says_who_may_see_it() {
        assert_eq!(unclassified::<EventView>(), [""; 0]);
    }
}
