//! The tenant that a request is for.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::{Module, members::organization};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::Json,
    route::{Access, Route},
};

/// `GET /api/v1/tenant`.
pub const MODULE: Module =
    Module { name: "tenant", dependencies: &["members"], permissions: "", linkable: &[], routes };

fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/tenant", Access::permission("view", "organization"), show)
            .summary("The tenant of this host and token")
            .returns::<TenantView>(StatusCode::OK),
    ]
}

/// A tenant, as its members see it.
#[derive(Debug, Serialize, JsonSchema)]
struct TenantView {
    id: Uuid,
    slug: String,
    name: String,
    isolation: &'static str,
    region: String,
    plan: String,
    default_currency: String,
    time_zone: String,
}

async fn show(caller: Caller) -> Result<Json<TenantView>, ApiError> {
    let mut work = caller.begin_read().await?;
    let tenant = work.tenant().clone();
    work.authorize(&organization(tenant.id())).await?;
    Ok(Json(TenantView {
        id: tenant.id().as_uuid(),
        slug: tenant.slug().to_owned(),
        name: tenant.name().to_owned(),
        isolation: tenant.isolation().as_str(),
        region: tenant.region().to_owned(),
        plan: tenant.plan().to_owned(),
        default_currency: tenant.default_currency().to_owned(),
        time_zone: tenant.time_zone().to_owned(),
    }))
}
