//! `PATCH /api/v1/tasks/:id/move`.

use formwork_audit::Event;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{COLUMNS, Task, object, position};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::{Id, Json},
};

/// Where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    column_id: Uuid,
    /// Right before this task.
    before_id: Option<Uuid>,
    /// Right after this task; at the end when neither is given.
    after_id: Option<Uuid>,
    /// The task's version, to refuse a move of what was changed in between.
    version: Option<i64>,
}

pub(super) async fn rearrange(
    caller: Caller,
    Id(id): Id,
    Json(place): Json<Place>,
) -> Result<Json<Task>, ApiError> {
    if place.before_id == Some(id) || place.after_id == Some(id) {
        return Err(ApiError::invalid("/before_id", "a task cannot stand next to itself"));
    }
    let mut work = caller.begin().await?;
    let grant = work.authorize(&object(id)).await?;
    let sql = format!("select {COLUMNS} from tasks where id = $1 and deleted_at is null");
    let task: Option<Task> = sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut **work).await?;
    let task = task.ok_or_else(|| ApiError::not_found("task"))?;
    let board = task.board_id.ok_or_else(|| ApiError::conflict("no-board", "the task is on no board"))?;
    let column = position::hold(&mut work, board, Some(place.column_id))
        .await?
        .ok_or_else(|| ApiError::invalid("/column_id", "is no column of the task's board"))?;
    position::refuse_over_limit(&mut work, &column, Some(id)).await?;
    let position = position::between(&mut work, column.id, id, place.before_id, place.after_id).await?;
    let sql = format!(
        "update tasks set column_id = $2, position = $3, status = coalesce($4, status), updated_at = now(),
                version = version + 1
          where id = $1 and deleted_at is null and version = coalesce($5, version) returning {COLUMNS}"
    );
    let moved: Option<Task> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(column.id)
        .bind(position)
        .bind(column.status)
        .bind(place.version)
        .fetch_optional(&mut **work)
        .await?;
    let moved = moved.ok_or_else(|| ApiError::stale_version(task.version))?;
    let event = Event::new("task.moved")
        .target(&object(id))
        .before(json!({"column_id": task.column_id, "status": task.status}))
        .after(json!({"column_id": moved.column_id, "status": moved.status}))
        .evidence(&grant);
    let audit = work.app().audit.clone();
    audit.record(&mut work, event).await?;
    work.commit().await?;
    Ok(Json(moved))
}
