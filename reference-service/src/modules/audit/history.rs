//! `GET /api/v1/:type/:id/history`: what was done to one entity, for whoever may see it.
//!
//! INVARIANT: an event is told only to who may see every entity that it is about.

use std::collections::{BTreeSet, HashSet};

use axum::http::StatusCode;
use formwork_audit::{StoredEvent, Target};
use formwork_authz::Object;
use formwork_tenancy::Cursor;
use serde_json::Value;

use super::EventView;
use crate::{
    http::{
        caller::{Caller, Work},
        error::ApiError,
        extract::{Id, Json, Query},
        page::{Listed, Paging, limit},
        route::{Access, Route},
    },
    modules::{Linkable, linkable},
};

/// For one registered type.
pub(super) fn route(entity: Linkable) -> Route {
    let path = format!("/api/v1/{}/{{id}}/history", entity.collection);
    let handler = move |caller, id, paging| history(entity, caller, id, paging);
    Route::get(path, Access::permission("view", entity.kind), handler)
        .summary(
            "What was done to it, newest first: without addresses and proofs, which the audit trail tells",
        )
        .query::<Paging>()
        .returns::<Listed<Value>>(StatusCode::OK)
}

async fn history(
    entity: Linkable,
    caller: Caller,
    Id(id): Id,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Value>>, ApiError> {
    let limit = limit(paging.limit)?;
    let after = paging.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let mut work = caller.begin_read().await?;
    work.authorize(&Object::new(entity.kind, id)).await?;
    let audit = work.app().audit.clone();
    let (mut events, mut position) = (Vec::new(), after);
    // Events may be left out, so more is read until the page and one more are full.
    loop {
        let page = audit.history(&mut work, (entity.kind, id), position, 200).await?;
        events.extend(told(&mut work, page.events).await?);
        position = page.next;
        if position.is_none() || events.len() > limit {
            break;
        }
    }
    let more = events.len() > limit;
    events.truncate(limit);
    let next = events.last().filter(|_| more).map(|event| Cursor::after(event.id).to_string());
    let rows = events.into_iter().map(|event| EventView::from(event).to_viewer());
    Ok(Json(Listed::new(rows.collect(), next)))
}

/// Those of which the caller may see everything that they are about: a link tells of its other end.
async fn told(work: &mut Work, events: Vec<StoredEvent>) -> Result<Vec<StoredEvent>, ApiError> {
    let about: Vec<Vec<Target>> = events
        .iter()
        .map(|event| serde_json::from_value(event.targets.clone()).unwrap_or_default())
        .collect();
    let mut seen = HashSet::new();
    for entity in linkable() {
        let of_kind: BTreeSet<&str> =
            about.iter().flatten().filter(|t| t.kind == entity.kind).map(|t| t.id.as_str()).collect();
        let objects: Vec<Object> = of_kind.iter().map(|id| Object::new(entity.kind, *id)).collect();
        let allowed = work.may_each("view", &objects).await?;
        let allowed = of_kind.into_iter().zip(allowed).filter(|(_, allowed)| *allowed);
        seen.extend(allowed.map(|(id, _)| Target { kind: entity.kind.to_owned(), id: id.to_owned() }));
    }
    let shown = |targets: &[Target]| targets.iter().all(|target| seen.contains(target));
    Ok(events.into_iter().zip(about).filter(|(_, targets)| shown(targets)).map(|(event, _)| event).collect())
}
