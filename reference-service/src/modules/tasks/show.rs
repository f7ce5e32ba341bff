//! `GET /api/v1/tasks/:id`.

use sqlx::AssertSqlSafe;

use super::{COLUMNS, Task, object};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::{Id, Json},
};

pub(super) async fn show(caller: Caller, Id(id): Id) -> Result<Json<Task>, ApiError> {
    let mut work = caller.begin_read().await?;
    work.authorize(&object(id)).await?;
    let sql = format!("select {COLUMNS} from tasks where id = $1 and deleted_at is null");
    let task: Option<Task> = sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut **work).await?;
    task.map(Json).ok_or_else(|| ApiError::not_found("task"))
}
