//! `GET /api/v1/links?source=&target=&relationship=`: links as they are stored.

use formwork_authz::Object;
use formwork_entity_links::{Direction, End, Selection};
use formwork_tenancy::Cursor;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::{LinkView, linkable};
use crate::http::{
    caller::Caller,
    error::ApiError,
    extract::{Json, Query},
    page::{Listed, limit},
};

/// Which links; a source or a target at least. A symmetric link has each end as its source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// An entity as `task:<id>`.
    #[schemars(extend("format" = "entity"))]
    source: Option<String>,
    /// An entity as `project:<id>`.
    #[schemars(extend("format" = "entity"))]
    target: Option<String>,
    /// A link type by its forward name: `blocks`.
    relationship: Option<String>,
    /// Rows in the page, 1 to 200; 50 when absent.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

pub(super) async fn list(
    caller: Caller,
    Query(asked): Query<Asked>,
) -> Result<Json<Listed<LinkView>>, ApiError> {
    let limit = limit(asked.limit)?;
    let after = asked.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let source = asked.source.as_deref().map(|text| end("source", text)).transpose()?;
    let target = asked.target.as_deref().map(|text| end("target", text)).transpose()?;
    let (from, other, direction) = match (source, target) {
        (Some(source), target) => (source, target, Direction::Forward),
        (None, Some(target)) => (target, None, Direction::Inverse),
        (None, None) => return Err(ApiError::invalid("source", "name a source or a target")),
    };
    let mut work = caller.begin_read().await?;
    for named in std::iter::once(&from).chain(&other) {
        work.require("view", &Object::new(named.kind.clone(), named.id)).await?;
    }
    let mut selection = Selection::new().direction(direction).with_symmetric();
    if let Some(other) = other {
        selection = selection.other(other);
    }
    if let Some(name) = asked.relationship {
        selection = selection.stored_as(name);
    }
    work.asked_elsewhere();
    let links = work.app().links.clone();
    let page = links.linked(&mut work, &from, &selection, after, limit).await?;
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(Json(Listed::new(page.links.into_iter().map(|linked| linked.link.into()).collect(), next)))
}

fn end(parameter: &str, text: &str) -> Result<End, ApiError> {
    let wrong = || {
        let known: Vec<&str> = linkable().map(|entity| entity.kind).collect();
        ApiError::invalid(parameter, format!("write it as `type:id`, with one of {}", known.join(", ")))
    };
    let (kind, id) = text.split_once(':').ok_or_else(wrong)?;
    let entity = linkable().find(|entity| entity.kind == kind).ok_or_else(wrong)?;
    Ok(End::new(entity.kind, Uuid::try_parse(id).map_err(|_| wrong())?))
}
