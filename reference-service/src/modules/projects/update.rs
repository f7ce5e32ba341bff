//! `PATCH /api/v1/projects/:id`.

use axum::http::{HeaderMap, header};
use chrono::NaiveDate;
use formwork_audit::Event;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{COLUMNS, Item, Project, ProjectStatus, Stage, currency, date, money, object, show::item, text};
use crate::http::{
    caller::{Caller, Work},
    error::ApiError,
    extract::{Id, Json},
};

/// What is to change; a field that is absent stays, `null` clears it, if a project can be without it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Changes {
    #[serde(deserialize_with = "not_null")]
    #[schemars(with = "String")]
    name: Option<String>,
    #[serde(deserialize_with = "given")]
    number: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    address: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    description: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    contractor: Option<Option<String>>,
    #[serde(deserialize_with = "given")]
    owner: Option<Option<String>>,
    #[serde(deserialize_with = "not_null")]
    #[schemars(with = "Stage")]
    stage: Option<Stage>,
    #[serde(deserialize_with = "not_null")]
    #[schemars(with = "ProjectStatus")]
    status: Option<ProjectStatus>,
    #[serde(deserialize_with = "given")]
    applied_on: Option<Option<NaiveDate>>,
    #[serde(deserialize_with = "given")]
    issued_on: Option<Option<NaiveDate>>,
    #[serde(deserialize_with = "given")]
    completed_on: Option<Option<NaiveDate>>,
    #[serde(deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    valuation: Option<Option<Decimal>>,
    #[serde(deserialize_with = "not_null")]
    #[schemars(with = "String")]
    currency: Option<String>,
}

/// What a project always has can be changed, but not cleared.
fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Tells `null` from absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

pub(super) async fn update(
    caller: Caller,
    Id(id): Id,
    headers: HeaderMap,
    Json(changes): Json<Changes>,
) -> Result<Json<Item>, ApiError> {
    let expected = if_match(&headers)?;
    let mut work = caller.begin().await?;
    let grant = work.authorize(&object(id)).await?;
    let before = locked(&mut work, id).await?;
    if expected.is_some_and(|version| version != before.version) {
        return Err(ApiError::stale_version(before.version));
    }
    let wanted = changes.apply_to(before.clone())?;
    let (old, new) = difference(&before, &wanted)?;
    if new.is_empty() {
        return item(&mut work, id, before).await.map(Json);
    }
    // To archive is a right of its own.
    if wanted.status == "archived" && before.status != "archived" {
        work.require("archive", &object(id)).await?;
    }
    let project = store(&mut work, id, wanted).await?;
    let event = Event::new("project.updated").target(object(id)).before(old.into()).after(new.into());
    let audit = work.app().audit.clone();
    audit.record(&mut work, event.evidence(&grant)).await?;
    let answer = item(&mut work, id, project).await?;
    work.commit().await?;
    Ok(Json(answer))
}

/// The version that `If-Match` names, quoted or bare.
fn if_match(headers: &HeaderMap) -> Result<Option<i64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    match text.parse() {
        // Whatever it is, as long as it is there.
        _ if text == "*" => Ok(None),
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(ApiError::invalid("If-Match", "send the project's `version`, as `If-Match: \"3\"`")),
    }
}

pub(super) async fn locked(work: &mut Work, id: Uuid) -> Result<Project, ApiError> {
    let sql = format!("select {COLUMNS} from projects where id = $1 and deleted_at is null for update");
    let found: Option<Project> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut ***work).await?;
    found.ok_or_else(|| ApiError::not_found("project"))
}

impl Changes {
    fn apply_to(self, mut project: Project) -> Result<Project, ApiError> {
        let clean = |pointer: &str, value: Option<String>| value.map(|v| text(pointer, &v)).transpose();
        if let Some(name) = self.name {
            project.name = text("/name", &name)?;
        }
        if let Some(number) = self.number {
            project.number = clean("/number", number)?;
        }
        if let Some(address) = self.address {
            project.address = clean("/address", address)?;
        }
        if let Some(contractor) = self.contractor {
            project.contractor = clean("/contractor", contractor)?;
        }
        if let Some(owner) = self.owner {
            project.owner = clean("/owner", owner)?;
        }
        if let Some(valuation) = self.valuation {
            project.valuation = valuation.map(|value| money("/valuation", value)).transpose()?;
        }
        if let Some(code) = self.currency {
            project.currency = currency("/currency", &code)?;
        }
        project.description = self.description.unwrap_or(project.description);
        for (pointer, changed, kept) in [
            ("/applied_on", self.applied_on, &mut project.applied_on),
            ("/issued_on", self.issued_on, &mut project.issued_on),
            ("/completed_on", self.completed_on, &mut project.completed_on),
        ] {
            if let Some(changed) = changed {
                *kept = date(pointer, changed)?;
            }
        }
        project.stage = self.stage.map_or(project.stage, |stage| stage.as_str().to_owned());
        project.status = self.status.map_or(project.status, |status| status.as_str().to_owned());
        Ok(project)
    }
}

type Fields = Map<String, Value>;

/// The fields that differ, as they were and as they become.
fn difference(before: &Project, after: &Project) -> Result<(Fields, Fields), ApiError> {
    let (before, after) = (fields(before)?, fields(after)?);
    let changed = |name: &str| before.get(name) != after.get(name);
    let pick = |all: &Fields| {
        all.iter().filter(|(name, _)| changed(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    Ok((pick(&before), pick(&after)))
}

fn fields(project: &Project) -> Result<Fields, ApiError> {
    match serde_json::to_value(project).map_err(ApiError::internal)? {
        Value::Object(fields) => Ok(fields),
        _ => Ok(Fields::new()),
    }
}

async fn store(work: &mut Work, id: Uuid, project: Project) -> Result<Project, ApiError> {
    let actor = work.session().actor().to_string();
    let sql = format!(
        "update projects set name = $2, number = $3, address = $4, description = $5, contractor = $6, owner = $7,
                stage = $8, status = $9, applied_on = $10, issued_on = $11, completed_on = $12, valuation = $13,
                currency = $14, updated_by = $15, updated_at = now(), version = version + 1
          where id = $1 returning {COLUMNS}"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(project.name)
        .bind(project.number)
        .bind(project.address)
        .bind(project.description)
        .bind(project.contractor)
        .bind(project.owner)
        .bind(project.stage)
        .bind(project.status)
        .bind(project.applied_on)
        .bind(project.issued_on)
        .bind(project.completed_on)
        .bind(project.valuation)
        .bind(project.currency)
        .bind(actor)
        .fetch_one(&mut ***work)
        .await?)
}
