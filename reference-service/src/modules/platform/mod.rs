//! What belongs to no tenant: is the service there, and what can it do.

use axum::{extract::State, http::StatusCode};
use serde_json::json;

use super::Module;
use crate::{
    app::App,
    http::{
        error::ApiError,
        extract::Json,
        route::{Access, Route},
    },
    router::serve_document,
};

/// Health and the API's document.
pub const MODULE: Module =
    Module { name: "platform", dependencies: &[], permissions: "definition user {}", linkable: &[], routes };

fn routes() -> Vec<Route> {
    vec![
        Route::get("/health/live", Access::Public, live)
            .summary("Is the process alive?")
            .returns::<serde_json::Value>(StatusCode::OK),
        Route::get("/health/ready", Access::Public, ready)
            .summary("Can it serve, with its database?")
            .returns::<serde_json::Value>(StatusCode::OK),
        Route::get("/api/v1/openapi.json", Access::Public, serve_document)
            .summary("This document")
            .returns::<serde_json::Value>(StatusCode::OK),
    ]
}

async fn live() -> Json<serde_json::Value> {
    Json(json!({"status": "live"}))
}

async fn ready(State(app): State<App>) -> Result<Json<serde_json::Value>, ApiError> {
    app.tenants.ping().await?;
    Ok(Json(json!({"status": "ready"})))
}
