//! `PATCH /api/v1/tasks/:id/move`.

use formwork_audit::Event;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, FromRow};
use uuid::Uuid;

use super::{
    COLUMNS, Task, object,
    position::{self, HeldColumn},
};
use crate::http::{
    caller::{Caller, Work},
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
    if place.before_id.is_some() && place.before_id == place.after_id {
        return Err(ApiError::invalid("/before_id", "must be another task than `after_id`"));
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
    let moved = store(&mut work, id, &column, position, place.version).await?;
    let Moved { task: moved, old_column, old_status } =
        moved.ok_or_else(|| ApiError::stale_version(task.version))?;
    let event = Event::new("task.moved")
        .target(object(id))
        .before(json!({"column_id": old_column, "status": old_status}))
        .after(json!({"column_id": moved.column_id, "status": moved.status}))
        .evidence(&grant);
    let audit = work.app().audit.clone();
    audit.record(&mut work, event).await?;
    work.commit().await?;
    Ok(Json(moved))
}

/// A task in its new place, and where it was right before: not where this transaction first saw it.
#[derive(FromRow)]
struct Moved {
    #[sqlx(flatten)]
    task: Task,
    old_column: Option<Uuid>,
    old_status: String,
}

async fn store(
    work: &mut Work,
    id: Uuid,
    column: &HeldColumn,
    position: f64,
    version: Option<i64>,
) -> Result<Option<Moved>, ApiError> {
    let sql = format!(
        "update tasks set column_id = $2, position = $3, status = coalesce($4, status), updated_at = now(),
                version = version + 1
           from (select id as old_id, column_id as old_column, status as old_status
                   from tasks where id = $1 for update) old
          where id = old_id and deleted_at is null and version = coalesce($5, version)
         returning {COLUMNS}, old_column, old_status"
    );
    Ok(sqlx::query_as(AssertSqlSafe(sql))
        .bind(id)
        .bind(column.id)
        .bind(position)
        .bind(&column.status)
        .bind(version)
        .fetch_optional(&mut ***work)
        .await?)
}
