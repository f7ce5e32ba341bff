//! Boards and their columns.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use formwork_audit::Event;
use formwork_authz::{Relationship, Subject};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{TaskStatus, board_object, position::STEP};
use crate::{
    http::{
        caller::{Caller, Work},
        error::ApiError,
        extract::{Id, Json},
    },
    modules::{members::organization, projects},
};

/// The most columns of a board.
const MAX_COLUMNS: usize = 50;
const BOARD: &str = "id, project_id, name, view_type, config, created_by, created_at, version";
const COLUMN: &str = "id, board_id, name, position, status, wip_limit, config";

/// A board to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewBoard {
    name: String,
    project_id: Option<Uuid>,
    /// To do, in progress, done, when absent.
    columns: Option<Vec<NewColumn>>,
}

/// A column to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewColumn {
    name: String,
    /// What a task becomes when it is moved here.
    status: Option<TaskStatus>,
    /// The most tasks in it.
    wip_limit: Option<i32>,
}

/// A board.
#[derive(Debug, Serialize, JsonSchema, FromRow)]
pub(super) struct Board {
    id: Uuid,
    project_id: Option<Uuid>,
    name: String,
    view_type: String,
    config: Value,
    created_by: String,
    created_at: DateTime<Utc>,
    version: i64,
}

/// A column of a board.
#[derive(Debug, Clone, Serialize, JsonSchema, FromRow)]
pub(super) struct Column {
    pub(super) id: Uuid,
    pub(super) board_id: Uuid,
    pub(super) name: String,
    pub(super) position: f64,
    pub(super) status: Option<String>,
    pub(super) wip_limit: Option<i32>,
    pub(super) config: Value,
}

/// A board and its columns, in their order.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BoardView {
    #[serde(flatten)]
    board: Board,
    columns: Vec<Column>,
}

pub(super) async fn create(
    caller: Caller,
    Json(new): Json<NewBoard>,
) -> Result<(StatusCode, Json<BoardView>), ApiError> {
    let name = projects::text("/name", &new.name)?;
    let columns = new.columns.unwrap_or_else(default_columns);
    if columns.len() > MAX_COLUMNS {
        return Err(ApiError::invalid("/columns", format!("a board has at most {MAX_COLUMNS} columns")));
    }
    let mut work = caller.begin().await?;
    let tenant = work.tenant_id();
    let grant = work.authorize(&organization(tenant)).await?;
    if let Some(project) = new.project_id {
        work.require("participate", &projects::object(project)).await?;
    }
    let id = Uuid::now_v7();
    let actor = work.session().actor().clone();
    let sql = format!(
        "insert into task_boards (id, project_id, name, created_by) values ($1, $2, $3, $4) returning {BOARD}"
    );
    let board: Board = sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(new.project_id)
        .bind(name)
        .bind(actor.to_string())
        .fetch_one(&mut **work)
        .await?;
    let mut made = Vec::with_capacity(columns.len());
    for (index, column) in columns.into_iter().enumerate() {
        made.push(insert_column(&mut work, id, index as f64 * STEP + STEP, column).await?);
    }
    let mut tuples = vec![
        Relationship::new(board_object(id), "org", Subject::new("organization", tenant)),
        Relationship::new(board_object(id), "editor", &actor),
    ];
    if let Some(project) = new.project_id {
        tuples.push(Relationship::new(board_object(id), "project", Subject::new("project", project)));
    }
    let app = work.app().clone();
    app.authz.touch_many(&mut work, &tuples).await?;
    let after = json!({"name": board.name, "project_id": board.project_id, "columns": made.len()});
    let event = Event::new("board.created").target(board_object(id)).after(after).evidence(&grant);
    app.audit.record(&mut work, event).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(BoardView { board, columns: made })))
}

pub(super) async fn show(caller: Caller, Id(id): Id) -> Result<Json<BoardView>, ApiError> {
    let mut work = caller.begin_read().await?;
    work.authorize(&board_object(id)).await?;
    let sql = format!("select {BOARD} from task_boards where id = $1 and deleted_at is null");
    let board: Option<Board> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut **work).await?;
    let board = board.ok_or_else(|| ApiError::not_found("board"))?;
    let columns = columns(&mut work, id).await?;
    Ok(Json(BoardView { board, columns }))
}

pub(super) async fn add_column(
    caller: Caller,
    Id(id): Id,
    Json(new): Json<NewColumn>,
) -> Result<(StatusCode, Json<Column>), ApiError> {
    let mut work = caller.begin().await?;
    let grant = work.authorize(&board_object(id)).await?;
    // Columns of one board are added one after the other.
    sqlx::query("select id from task_boards where id = $1 and deleted_at is null for update")
        .bind(id)
        .fetch_optional(&mut **work)
        .await?
        .ok_or_else(|| ApiError::not_found("board"))?;
    let existing = columns(&mut work, id).await?;
    if existing.len() >= MAX_COLUMNS {
        return Err(ApiError::conflict(
            "too-many-columns",
            format!("a board has at most {MAX_COLUMNS} columns"),
        ));
    }
    let end = existing.last().map_or(0.0, |column| column.position);
    let column = insert_column(&mut work, id, end + STEP, new).await?;
    let after = json!({"column": column.id, "name": column.name});
    let audit = work.app().audit.clone();
    let event = Event::new("board.column_added").target(board_object(id)).after(after).evidence(&grant);
    audit.record(&mut work, event).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(column)))
}

pub(super) async fn columns(work: &mut Work, board: Uuid) -> Result<Vec<Column>, ApiError> {
    let sql = format!("select {COLUMN} from task_columns where board_id = $1 order by position, id");
    Ok(sqlx::query_as(AssertSqlSafe(sql)).bind(board).fetch_all(&mut ***work).await?)
}

async fn insert_column(
    work: &mut Work,
    board: Uuid,
    position: f64,
    new: NewColumn,
) -> Result<Column, ApiError> {
    let name = projects::text("/name", &new.name)?;
    if new.wip_limit.is_some_and(|limit| limit < 1) {
        return Err(ApiError::invalid("/wip_limit", "must be at least 1"));
    }
    let sql = format!(
        "insert into task_columns (id, board_id, name, position, status, wip_limit)
         values ($1, $2, $3, $4, $5, $6) returning {COLUMN}"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(Uuid::now_v7())
        .bind(board)
        .bind(name)
        .bind(position)
        .bind(new.status.map(TaskStatus::as_str))
        .bind(new.wip_limit)
        .fetch_one(&mut ***work)
        .await?)
}

fn default_columns() -> Vec<NewColumn> {
    [("To do", TaskStatus::Todo), ("In progress", TaskStatus::InProgress), ("Done", TaskStatus::Done)]
        .map(|(name, status)| NewColumn { name: name.to_owned(), status: Some(status), wip_limit: None })
        .into()
}
