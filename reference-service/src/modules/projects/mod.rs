//! Projects: what is built, where, for how much.

mod create;
mod import;
mod list;
mod remove;
mod show;
mod stage;
mod update;

use axum::http::StatusCode;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use formwork_authz::{Object, Relationship};
use formwork_tenancy::{Actor, TenantId};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Linkable, Module, members::organization};
use crate::http::{
    error::ApiError,
    page::Listed,
    route::{Access, Route},
};

pub use import::{Applied, ApplyError, Batch, apply};
pub use stage::{ProjectStatus, Stage};

/// Projects.
pub const MODULE: Module = Module {
    name: "projects",
    dependencies: &["members"],
    permissions: include_str!("permissions.zed"),
    linkable: &[Linkable {
        kind: "project",
        collection: "projects",
        existing: "select id from projects where id = any($1) and deleted_at is null for share",
    }],
    routes,
};

/// What may be done to a project, as its answers list it.
const ACTIONS: [&str; 5] = ["view", "edit", "link", "archive", "delete"];

fn routes() -> Vec<Route> {
    const ONE: &str = "/api/v1/projects/{id}";
    const ALL: &str = "/api/v1/projects";
    vec![
        Route::get(ALL, Access::permission("view", "project"), list::list)
            .summary("The projects that the caller may see, newest first")
            .query::<list::Asked>()
            .returns::<Listed<Project>>(StatusCode::OK),
        Route::post(ALL, Access::permission("create_project", "organization"), create::create)
            .summary("Make a project")
            .body::<create::NewProject>()
            .returns::<Item>(StatusCode::CREATED),
        Route::get(ONE, Access::permission("view", "project"), show::show)
            .summary("A project")
            .returns::<Item>(StatusCode::OK),
        Route::patch(ONE, Access::permission("edit", "project"), update::update)
            .summary(
                "Change a project; `If-Match` with its version refuses to overwrite somebody else's change",
            )
            .body::<update::Changes>()
            .returns::<Item>(StatusCode::OK),
        Route::delete(ONE, Access::permission("delete", "project"), remove::remove)
            .summary("Remove a project; it is kept, hidden"),
    ]
}

/// Columns of [`Project`].
const COLUMNS: &str = "id, number, name, address, description, contractor, owner, stage, status, applied_on, issued_on, \
    completed_on, valuation, currency, created_by, created_at, updated_at, version";

/// A project.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
pub struct Project {
    id: Uuid,
    number: Option<String>,
    name: String,
    address: Option<String>,
    description: Option<String>,
    contractor: Option<String>,
    owner: Option<String>,
    stage: String,
    status: String,
    applied_on: Option<NaiveDate>,
    issued_on: Option<NaiveDate>,
    completed_on: Option<NaiveDate>,
    #[schemars(with = "Option<String>")]
    valuation: Option<Decimal>,
    currency: String,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

/// A project, and what the caller may do to it.
#[derive(Debug, Serialize, JsonSchema)]
struct Item {
    #[serde(flatten)]
    project: Project,
    permitted_actions: Vec<&'static str>,
}

pub(super) fn object(id: Uuid) -> Object {
    Object::new("project", id)
}

/// The relationships of a new project: whose it is, and that its maker administers it.
fn relationships(id: Uuid, tenant: TenantId, maker: &Actor) -> [Relationship; 2] {
    let org = organization(tenant);
    [
        Relationship::new(object(id), "org", formwork_authz::Subject::new("organization", org.id())),
        Relationship::new(object(id), "admin", maker),
    ]
}

/// A name, an address: no more than 500 characters, and not blank.
pub(super) fn text(pointer: &str, value: &str) -> Result<String, ApiError> {
    let value = value.trim();
    match value.chars().count() {
        0 => Err(ApiError::invalid(pointer, "must not be blank")),
        1..=500 => Ok(value.to_owned()),
        _ => Err(ApiError::invalid(pointer, "must have at most 500 characters")),
    }
}

/// Of the years 1 to 9999: what calendars, and Postgres, can hold.
pub(super) fn date(pointer: &str, day: Option<NaiveDate>) -> Result<Option<NaiveDate>, ApiError> {
    match day {
        Some(day) if !(1..=9999).contains(&day.year()) => {
            Err(ApiError::invalid(pointer, "use a year from 1 to 9999"))
        }
        other => Ok(other),
    }
}

/// Not negative, at most three decimals, below 10^15: what NUMERIC(18,3) holds.
fn money(pointer: &str, value: Decimal) -> Result<Decimal, ApiError> {
    let value = value.normalize();
    if value.is_sign_negative() && !value.is_zero() {
        Err(ApiError::invalid(pointer, "must not be negative"))
    } else if value.scale() > 3 {
        Err(ApiError::invalid(pointer, "must have at most three decimals"))
    } else if value >= Decimal::from(1_000_000_000_000_000_i64) {
        Err(ApiError::invalid(pointer, "must be below 10^15"))
    } else {
        Ok(value)
    }
}

/// Three capital letters (ISO 4217).
fn currency(pointer: &str, code: &str) -> Result<String, ApiError> {
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(code.to_owned())
    } else {
        Err(ApiError::invalid(pointer, "use an ISO 4217 code, such as `KWD`"))
    }
}
