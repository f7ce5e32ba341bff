//! `POST /api/v1/tasks` and `POST /api/v1/tasks/:id/subtasks`.

use axum::http::StatusCode;
use chrono::NaiveDate;
use formwork_audit::Event;
use formwork_authz::{Grant, Relationship, Subject};
use formwork_tenancy::Actor;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{COLUMNS, Priority, Task, TaskStatus, board_object, object, position};
use crate::{
    http::{
        caller::{Caller, Work},
        error::ApiError,
        extract::{Id, Json},
    },
    modules::{members::organization, projects},
};

/// How deep tasks may lie below each other.
const MAX_DEPTH: i32 = 10;

/// A task to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTask {
    title: String,
    description: Option<String>,
    /// On this board; its first column when none is given.
    board_id: Option<Uuid>,
    column_id: Option<Uuid>,
    status: Option<TaskStatus>,
    priority: Option<Priority>,
    due_date: Option<NaiveDate>,
    assignee_id: Option<Uuid>,
    #[serde(default = "no_fields")]
    metadata: Value,
}

fn no_fields() -> Value {
    json!({})
}

pub(super) async fn create(
    caller: Caller,
    Json(new): Json<NewTask>,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let mut work = caller.begin().await?;
    let tenant = work.tenant_id();
    let grant = work.authorize(&organization(tenant)).await?;
    if let Some(board) = new.board_id {
        work.require("edit", &board_object(board)).await?;
    }
    let task = insert(&mut work, new, None, &grant).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(task)))
}

pub(super) async fn create_subtask(
    caller: Caller,
    Id(parent): Id,
    Json(new): Json<NewTask>,
) -> Result<(StatusCode, Json<Task>), ApiError> {
    let mut work = caller.begin().await?;
    let grant = work.authorize(&object(parent)).await?;
    if let Some(board) = new.board_id {
        work.require("edit", &board_object(board)).await?;
    }
    if depth(&mut work, parent).await? >= MAX_DEPTH {
        return Err(ApiError::invalid("/", format!("tasks lie at most {MAX_DEPTH} deep below each other")));
    }
    let task = insert(&mut work, new, Some(parent), &grant).await?;
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(task)))
}

/// How many tasks lie above this one, itself included. The row is locked, so that it stays.
async fn depth(work: &mut Work, task: Uuid) -> Result<i32, ApiError> {
    sqlx::query("select id from tasks where id = $1 and deleted_at is null for share")
        .bind(task)
        .fetch_optional(&mut ***work)
        .await?
        .ok_or_else(|| ApiError::not_found("task"))?;
    Ok(sqlx::query_scalar(
        "with recursive above (id, parent_id, depth) as (
           select id, parent_id, 1 from tasks where id = $1
           union all
           select t.id, t.parent_id, depth + 1 from tasks t join above on t.id = above.parent_id where depth < 100)
         select max(depth) from above",
    )
    .bind(task)
    .fetch_one(&mut ***work)
    .await?)
}

async fn insert(
    work: &mut Work,
    new: NewTask,
    parent: Option<Uuid>,
    grant: &Grant,
) -> Result<Task, ApiError> {
    let title = projects::text("/title", &new.title)?;
    let due_date = projects::date("/due_date", new.due_date)?;
    if !new.metadata.is_object() {
        return Err(ApiError::invalid("/metadata", "must be an object"));
    }
    if let Some(assignee) = new.assignee_id {
        must_be_member(work, assignee).await?;
    }
    let place = position::end_of(work, new.board_id, new.column_id).await?;
    let status = new.status.map(TaskStatus::as_str).map(str::to_owned).or(place.status);
    let id = Uuid::now_v7();
    let actor = work.session().actor().clone();
    let sql = format!(
        "insert into tasks (id, title, description, status, priority, due_date, board_id, column_id, position,
                            parent_id, metadata, assignee_id, created_by)
         values ($1, $2, $3, coalesce($4, 'todo'), $5, $6, $7, $8, $9, $10, $11, $12, $13) returning {COLUMNS}"
    );
    let task: Task = sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(title)
        .bind(new.description)
        .bind(status)
        .bind(new.priority.map(Priority::as_str))
        .bind(due_date)
        .bind(new.board_id)
        .bind(place.column)
        .bind(place.position)
        .bind(parent)
        .bind(new.metadata)
        .bind(new.assignee_id)
        .bind(actor.to_string())
        .fetch_one(&mut ***work)
        .await?;
    let tuples = relationships(work, &task, &actor);
    let app = work.app().clone();
    app.authz.touch_many(work, &tuples).await?;
    let after = serde_json::to_value(&task).map_err(ApiError::internal)?;
    let event = Event::new("task.created").target(object(id)).after(after).evidence(grant);
    app.audit.record(work, event).await?;
    Ok(task)
}

fn relationships(work: &Work, task: &Task, maker: &Actor) -> Vec<Relationship> {
    let object = object(task.id);
    let mut tuples = vec![
        Relationship::new(object.clone(), "org", Subject::new("organization", work.tenant_id())),
        Relationship::new(object.clone(), "owner", maker),
    ];
    if let Some(board) = task.board_id {
        tuples.push(Relationship::new(object.clone(), "board", Subject::new("board", board)));
    }
    if let Some(assignee) = task.assignee_id {
        tuples.push(Relationship::new(object, "assignee", &Actor::user(assignee)));
    }
    tuples
}

async fn must_be_member(work: &mut Work, user: Uuid) -> Result<(), ApiError> {
    sqlx::query("select user_id from members where user_id = $1 for share")
        .bind(user)
        .fetch_optional(&mut ***work)
        .await?
        .map(drop)
        .ok_or_else(|| ApiError::invalid("/assignee_id", "is no member of this tenant"))
}
