//! `DELETE /api/v1/projects/:id`: the row is kept, hidden; its tuples and its links go.

use axum::http::StatusCode;
use formwork_audit::Event;

use super::{object, update::locked};
use crate::{
    http::{caller::Caller, error::ApiError, extract::Id},
    modules::links,
};

pub(super) async fn remove(caller: Caller, Id(id): Id) -> Result<StatusCode, ApiError> {
    let mut work = caller.begin().await?;
    let grant = work.authorize(&object(id)).await?;
    locked(&mut work, id).await?;
    let actor = work.session().actor().to_string();
    sqlx::query(
        "update projects set deleted_at = now(), updated_by = $2, updated_at = now(), version = version + 1
          where id = $1",
    )
    .bind(id)
    .bind(actor)
    .execute(&mut **work)
    .await?;
    links::removed(&mut work, ("project", id)).await?;
    let app = work.app().clone();
    app.authz.delete_object(&mut work, &object(id)).await?;
    let event = Event::new("project.deleted").target(object(id)).evidence(&grant);
    app.audit.record(&mut work, event).await?;
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
