//! `POST /api/v1/projects`.

use axum::http::StatusCode;
use chrono::NaiveDate;
use formwork_audit::Event;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    ACTIONS, COLUMNS, Item, Project, ProjectStatus, Stage, currency, date, money, object, organization,
    relationships, text,
};
use crate::http::{caller::Caller, error::ApiError, extract::Json};

/// A project to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProject {
    name: String,
    number: Option<String>,
    address: Option<String>,
    description: Option<String>,
    contractor: Option<String>,
    owner: Option<String>,
    #[serde(default)]
    stage: Stage,
    #[serde(default)]
    status: ProjectStatus,
    applied_on: Option<NaiveDate>,
    issued_on: Option<NaiveDate>,
    completed_on: Option<NaiveDate>,
    #[schemars(with = "Option<String>")]
    valuation: Option<Decimal>,
    currency: Option<String>,
}

pub(super) async fn create(
    caller: Caller,
    Json(new): Json<NewProject>,
) -> Result<(StatusCode, Json<Item>), ApiError> {
    let optional =
        |pointer: &str, value: &Option<String>| value.as_deref().map(|v| text(pointer, v)).transpose();
    let name = text("/name", &new.name)?;
    let number = optional("/number", &new.number)?;
    let address = optional("/address", &new.address)?;
    let contractor = optional("/contractor", &new.contractor)?;
    let owner = optional("/owner", &new.owner)?;
    let valuation = new.valuation.map(|value| money("/valuation", value)).transpose()?;
    let applied_on = date("/applied_on", new.applied_on)?;
    let issued_on = date("/issued_on", new.issued_on)?;
    let completed_on = date("/completed_on", new.completed_on)?;

    let mut work = caller.begin().await?;
    let tenant = work.tenant().clone();
    let grant = work.authorize(&organization(tenant.id())).await?;
    let currency = currency("/currency", new.currency.as_deref().unwrap_or(tenant.default_currency()))?;
    let id = Uuid::now_v7();
    let actor = work.session().actor().clone();
    let sql = format!(
        "insert into projects (id, name, number, address, description, contractor, owner, stage, status, applied_on,
                               issued_on, completed_on, valuation, currency, created_by, updated_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15) returning {COLUMNS}"
    );
    let project: Project = sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(name)
        .bind(number)
        .bind(address)
        .bind(new.description)
        .bind(contractor)
        .bind(owner)
        .bind(new.stage.as_str())
        .bind(new.status.as_str())
        .bind(applied_on)
        .bind(issued_on)
        .bind(completed_on)
        .bind(valuation)
        .bind(currency)
        .bind(actor.to_string())
        .fetch_one(&mut **work)
        .await?;
    let app = work.app().clone();
    app.authz.touch_many(&mut work, &relationships(id, tenant.id(), &actor)).await?;
    let after = serde_json::to_value(&project).map_err(ApiError::internal)?;
    app.audit
        .record(&mut work, Event::new("project.created").target(object(id)).after(after).evidence(&grant))
        .await?;
    let permitted_actions = work.permitted(&ACTIONS, &object(id)).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(Item { project, permitted_actions })))
}
