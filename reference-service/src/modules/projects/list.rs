//! `GET /api/v1/projects`: those that the caller may see.
//!
//! Rows are read newest first and those that may not be seen are left out, in steps that grow, until the page is
//! full or nothing is left; the cursor is the last row that was given.

use formwork_authz::Object;
use schemars::JsonSchema;
use sea_query::{Expr, ExprTrait, Iden, Order, PostgresQueryBuilder, Query as Select, SelectStatement};
use sea_query_sqlx::SqlxBinder;
use serde::Deserialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{Project, ProjectStatus, Stage, object};
use crate::http::{
    caller::{Caller, Work},
    error::ApiError,
    extract::{Json, Query},
    page::{self, Listed},
};

/// The most rows that are read in one step.
const MAX_STEP: usize = 5_000;

/// Filters and paging.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Exactly this number.
    #[serde(rename = "filter[number]")]
    number: Option<String>,
    /// In this stage.
    #[serde(rename = "filter[stage]")]
    stage: Option<Stage>,
    /// In this status.
    #[serde(rename = "filter[status]")]
    status: Option<ProjectStatus>,
    /// Rows in the page, 1 to 200; 50 when absent.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

#[derive(Iden)]
enum Projects {
    Table,
    Id,
    Number,
    Stage,
    Status,
    DeletedAt,
}

pub(super) async fn list(
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Listed<Project>>, ApiError> {
    let limit = page::limit(asked.limit)?;
    let mut position: Option<Uuid> = page::decode(asked.cursor.as_deref())?;
    let mut work = caller.begin_read().await?;
    work.asked_elsewhere();
    let mut found = Vec::new();
    let mut step = limit + 1;
    while found.len() <= limit {
        let rows = fetch(&mut work, &asked, position, step).await?;
        let complete = rows.len() < step;
        position = rows.last().map(|row| row.id).or(position);
        let objects: Vec<Object> = rows.iter().map(|row| object(row.id)).collect();
        let visible = work.may_each("view", &objects).await?;
        found.extend(rows.into_iter().zip(visible).filter(|(_, seen)| *seen).map(|(row, _)| row));
        if complete {
            break;
        }
        step = (step * 2).min(MAX_STEP);
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|row| page::encode(&row.id));
    Ok(Json(Listed::new(found, next)))
}

async fn fetch(
    work: &mut Work,
    asked: &Asked,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Project>, ApiError> {
    let mut query = select();
    if let Some(number) = &asked.number {
        query.and_where(Expr::col(Projects::Number).eq(number));
    }
    if let Some(stage) = asked.stage {
        query.and_where(Expr::col(Projects::Stage).eq(stage.as_str()));
    }
    if let Some(status) = asked.status {
        query.and_where(Expr::col(Projects::Status).eq(status.as_str()));
    }
    if let Some(id) = after {
        query.and_where(Expr::col(Projects::Id).lt(id));
    }
    query.order_by(Projects::Id, Order::Desc).limit(limit as u64);
    let (sql, values) = query.build_sqlx(PostgresQueryBuilder);
    Ok(sqlx::query_as_with(AssertSqlSafe(sql), values).fetch_all(&mut ***work).await?)
}

fn select() -> SelectStatement {
    let mut query = Select::select();
    for column in super::COLUMNS.split(',') {
        query.column(sea_query::Alias::new(column.trim()));
    }
    query.from(Projects::Table).and_where(Expr::col(Projects::DeletedAt).is_null());
    query
}
