//! `GET /api/v1/projects/:id`.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{ACTIONS, COLUMNS, Item, Project, object};
use crate::http::{
    caller::{Caller, Work},
    error::ApiError,
    extract::{Id, Json},
};

pub(super) async fn show(caller: Caller, Id(id): Id) -> Result<Json<Item>, ApiError> {
    let mut work = caller.begin_read().await?;
    work.authorize(&object(id)).await?;
    let sql = format!("select {COLUMNS} from projects where id = $1 and deleted_at is null");
    let project: Option<Project> =
        sqlx::query_as(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut **work).await?;
    let project = project.ok_or_else(|| ApiError::not_found("project"))?;
    item(&mut work, id, project).await.map(Json)
}

pub(super) async fn item(work: &mut Work, id: Uuid, project: Project) -> Result<Item, ApiError> {
    let permitted_actions = work.permitted(&ACTIONS, &object(id)).await?;
    Ok(Item { project, permitted_actions })
}
