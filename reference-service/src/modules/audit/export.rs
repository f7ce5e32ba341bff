//! `POST /api/v1/audit/exports`: the trail as a file, as it is read.
//!
//! INVARIANT: nothing is sent before the export stands in the trail, and a slow reader holds no connection: each piece is
//! read in a transaction of its own. An export that fails under way ends without its end, which HTTP tells the client.

use axum::{
    body::Body,
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use formwork_audit::{Audit, Export, ExportFormat, Filter};
use formwork_tenancy::{Session, Tenants};
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{organization, outcome, pair};
use crate::http::{caller::Caller, error::ApiError, extract::Json};

/// An export to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExport {
    format: Format,
    #[serde(default)]
    filter: Which,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// For a spreadsheet; no cell is a formula.
    Csv,
    /// One object a line.
    Ndjson,
}

/// As in the list's filters; all events when nothing is said.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Which {
    action: Option<String>,
    /// As `user:<id>`.
    actor: Option<String>,
    /// As `project:<id>`.
    target: Option<String>,
    outcome: Option<String>,
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

impl TryFrom<Which> for Filter {
    type Error = ApiError;

    fn try_from(which: Which) -> Result<Self, ApiError> {
        Ok(Self {
            action: which.action,
            actor: which.actor.as_deref().map(|text| pair("/filter/actor", text)).transpose()?,
            target: which.target.as_deref().map(|text| pair("/filter/target", text)).transpose()?,
            outcome: which.outcome.as_deref().map(|text| outcome("/filter/outcome", text)).transpose()?,
            from: which.from,
            until: which.until,
        })
    }
}

pub(super) async fn export(caller: Caller, Json(new): Json<NewExport>) -> Result<Response, ApiError> {
    let format = match new.format {
        Format::Csv => ExportFormat::Csv,
        Format::Ndjson => ExportFormat::Ndjson,
    };
    let filter = new.filter.try_into()?;
    let mut work = caller.begin().await?;
    let tenant = work.tenant_id();
    work.authorize(&organization(tenant)).await?;
    let (audit, tenants) = (work.app().audit.clone(), work.app().tenants.clone());
    let export = Export::begin(&audit, &mut work, format, filter).await?;
    let session = work.session().clone();
    let token = work.commit().await?;
    let headers = [
        (header::CONTENT_TYPE, format.content_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"audit.{format}\"")),
        (HeaderName::from_static("x-total-events"), export.total().to_string()),
    ];
    let reading = Reading { audit, tenants, session: session.at_least(&token), export };
    Ok((headers, Body::from_stream(stream::try_unfold(reading, next))).into_response())
}

struct Reading {
    audit: Audit,
    tenants: Tenants,
    session: Session,
    export: Export,
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn next(mut reading: Reading) -> Result<Option<(String, Reading)>, Broken> {
    let read = async {
        let mut tx = reading.tenants.begin_read(&reading.session).await?;
        Ok::<_, Broken>(reading.export.next(&reading.audit, &mut tx).await?)
    };
    match read.await {
        Ok(piece) => Ok(piece.map(|piece| (piece, reading))),
        Err(error) => {
            tracing::warn!(error, "an export of the audit trail was cut off");
            Err(error)
        }
    }
}
