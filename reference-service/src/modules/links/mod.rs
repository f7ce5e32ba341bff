//! Links between entities, over HTTP.

mod bulk;
mod graph;
mod list;

use axum::{extract::Path, http::StatusCode};
use chrono::{DateTime, Utc};
use formwork_authz::Object;
use formwork_entity_links::{
    Cascade, Direction, End, EntityResolver, InvalidLinkType, Link, LinkError, LinkType, LinkTypes, Linked,
    Selection, StoredLink,
};
use formwork_tenancy::{Cursor, StorageError, TenantTx};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Linkable, Module, linkable};
use crate::http::{
    caller::{Caller, Work},
    error::ApiError,
    extract::{Id, Json, Query},
    page::{Listed, Paging, limit},
    route::{Access, Route},
};

/// Links.
pub const MODULE: Module = Module {
    name: "links",
    dependencies: &["members", "projects", "tasks"],
    permissions: "",
    linkable: &[],
    routes,
};

/// The link types of the service.
///
/// # Errors
///
/// When one of them cannot be one.
pub fn types() -> Result<LinkTypes, InvalidLinkType> {
    [
        LinkType::symmetric("relates"),
        LinkType::new("blocks", "blocked_by"),
        LinkType::new("duplicates", "duplicated_by"),
        LinkType::new("parent", "child").acyclic(),
        LinkType::new("supersedes", "superseded_by").acyclic(),
        LinkType::new("answers", "answered_by"),
        LinkType::new("caused_by", "causes"),
        LinkType::new("evidence_for", "evidenced_by"),
    ]
    .into_iter()
    .try_fold(LinkTypes::new(), LinkTypes::with)
}

/// Finds the modules' entities in their tables.
#[derive(Debug, Clone, Copy)]
pub struct Tables;

#[async_trait::async_trait]
impl EntityResolver for Tables {
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        let Some(entity) = linkable().find(|entity| entity.kind == kind) else { return Ok(Vec::new()) };
        Ok(sqlx::query_scalar(entity.existing).bind(ids).fetch_all(&mut **tx).await?)
    }
}

fn routes() -> Vec<Route> {
    let link = Access::Entities { permission: "link" };
    let mut routes = vec![
        Route::get("/api/v1/links", Access::Entities { permission: "view" }, list::list)
            .summary("Links of a source, of a target, or from the one to the other")
            .query::<list::Asked>()
            .returns::<Listed<LinkView>>(StatusCode::OK),
        Route::post("/api/v1/links", link, create)
            .summary("Link two entities")
            .body::<NewLink>()
            .returns::<LinkView>(StatusCode::CREATED),
        Route::post("/api/v1/links/bulk", link, bulk::create)
            .summary("Link many entities; each link has an answer of its own")
            .body::<bulk::NewLinks>()
            .returns::<bulk::Made>(StatusCode::OK),
        Route::delete("/api/v1/links/{id}", link, remove).summary("Take a link away"),
    ];
    routes.extend(linkable().flat_map(|entity| [linked_route(entity), graph_route(entity)]));
    routes
}

/// `GET /api/v1/:type/:id/graph`, for one registered type.
fn graph_route(entity: Linkable) -> Route {
    let path = format!("/api/v1/{}/{{id}}/graph", entity.collection);
    let handler =
        move |caller, Id(id): Id, Query(depth): Query<graph::Depth>| graph::show(entity, caller, id, depth);
    Route::get(path, Access::permission("view", entity.kind), handler)
        .summary("What hangs together with it, link after link")
        .query::<graph::Depth>()
        .returns::<graph::GraphView>(StatusCode::OK)
}

/// `GET /api/v1/:type/:id/linked/:target`, for one registered type.
fn linked_route(entity: Linkable) -> Route {
    let path = format!("/api/v1/{}/{{id}}/linked/{{target}}", entity.collection);
    let handler = move |caller, id, target, paging| linked(entity, caller, id, target, paging);
    Route::get(path, Access::permission("view", entity.kind), handler)
        .summary("What it is linked to, from both sides; `*` for every type")
        .query::<Paging>()
        .returns::<Listed<LinkedView>>(StatusCode::OK)
}

/// One end, in requests and answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EndView {
    /// Type of entity: `task`.
    #[serde(rename = "type")]
    kind: String,
    id: Uuid,
}

impl From<End> for EndView {
    fn from(end: End) -> Self {
        Self { kind: end.kind, id: end.id }
    }
}

/// A link to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewLink {
    source: EndView,
    target: EndView,
    /// `relates`, `blocks`, `answers`, ...
    relationship: String,
    metadata: Option<Value>,
}

/// A link.
#[derive(Debug, Serialize, JsonSchema)]
struct LinkView {
    id: Uuid,
    source: EndView,
    relationship: String,
    target: EndView,
    metadata: Value,
    created_by: String,
    created_at: DateTime<Utc>,
}

impl From<StoredLink> for LinkView {
    fn from(link: StoredLink) -> Self {
        Self {
            id: link.id,
            source: link.source.into(),
            relationship: link.relationship,
            target: link.target.into(),
            metadata: link.metadata,
            created_by: link.created_by,
            created_at: link.created_at,
        }
    }
}

/// A link, read from the entity that was asked about.
#[derive(Debug, Serialize, JsonSchema)]
struct LinkedView {
    /// Its name from this end.
    relationship: String,
    /// `forward` from its source, `inverse` from its target.
    direction: &'static str,
    /// The other end.
    other: EndView,
    link: LinkView,
}

impl From<Linked> for LinkedView {
    fn from(linked: Linked) -> Self {
        Self {
            relationship: linked.name,
            direction: direction_name(linked.direction),
            other: linked.other.into(),
            link: linked.link.into(),
        }
    }
}

fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Inverse => "inverse",
    }
}

/// Only what a module has registered is linked; `at` is where the link stands in the body.
fn known_kinds(at: &str, new: &NewLink) -> Result<(), ApiError> {
    if new.metadata.as_ref().is_some_and(|metadata| !metadata.is_object()) {
        return Err(ApiError::invalid(format!("{at}/metadata"), "must be an object"));
    }
    for (place, end) in [("source", &new.source), ("target", &new.target)] {
        if !linkable().any(|entity| entity.kind == end.kind) {
            let known: Vec<&str> = linkable().map(|entity| entity.kind).collect();
            return Err(ApiError::invalid(
                format!("{at}/{place}/type"),
                format!("use one of {}", known.join(", ")),
            ));
        }
    }
    Ok(())
}

impl From<NewLink> for Link {
    fn from(new: NewLink) -> Self {
        let end = |view: EndView| End::new(view.kind, view.id);
        let link = Link::new(end(new.source), new.relationship, end(new.target));
        match new.metadata {
            Some(metadata) => link.metadata(metadata),
            None => link,
        }
    }
}

async fn create(caller: Caller, Json(new): Json<NewLink>) -> Result<(StatusCode, Json<LinkView>), ApiError> {
    known_kinds("", &new)?;
    let mut work = caller.begin().await?;
    let links = work.app().links.clone();
    let stored = links.link(&mut work, new.into()).await.map_err(|error| refused(&work, error))?;
    work.asked_elsewhere();
    work.commit().await?;
    Ok((StatusCode::CREATED, Json(stored.into())))
}

async fn remove(caller: Caller, Id(id): Id) -> Result<StatusCode, ApiError> {
    let mut work = caller.begin().await?;
    let links = work.app().links.clone();
    links.unlink(&mut work, id).await.map_err(|error| refused(&work, error))?;
    work.asked_elsewhere();
    work.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the crate has denied is noted as what the service denies.
fn refused(work: &Work, error: LinkError) -> ApiError {
    match &error {
        LinkError::Denied { permission, end } => work.note_denial(permission, end.clone()),
        LinkError::NotFound { end } => work.note_denial("view", end.clone()),
        _ => {}
    }
    error.into()
}

/// Removes what hangs on an entity that is on its way out, in the same transaction, as the link types say.
///
/// # Errors
///
/// 409 when a link holds it back.
pub async fn removed(work: &mut Work, entity: impl Into<End>) -> Result<(), ApiError> {
    let links = work.app().links.clone();
    links.remove(work, &entity.into(), &Cascade::with_permission("delete")).await?;
    Ok(())
}

/// The last part of the path.
#[derive(Debug, Deserialize)]
struct Target {
    target: String,
}

async fn linked(
    entity: Linkable,
    caller: Caller,
    Id(id): Id,
    Path(Target { target }): Path<Target>,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<LinkedView>>, ApiError> {
    let limit = limit(paging.limit)?;
    let kind = match target.as_str() {
        "*" => None,
        name => Some(linkable().find(|known| known.kind == name || known.collection == name).ok_or_else(
            || {
                let known: Vec<&str> = linkable().map(|entity| entity.collection).collect();
                ApiError::invalid("target", format!("use `*` or one of {}", known.join(", ")))
            },
        )?),
    };
    let after = paging.cursor.as_deref().map(str::parse::<Cursor>).transpose()?;
    let mut work = caller.begin_read().await?;
    work.authorize(&Object::new(entity.kind, id)).await?;
    let links = work.app().links.clone();
    let end = End::new(entity.kind, id);
    let selection = kind.iter().fold(Selection::new(), |all, known| all.kind(known.kind));
    let page = links.linked(&mut work, &end, &selection, after, limit).await?;
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(Json(Listed::new(page.links.into_iter().map(LinkedView::from).collect(), next)))
}

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::NotFound { end } => Self::not_found(linkable_name(&end.kind)),
            LinkError::NoSuchLink => Self::not_found("link"),
            LinkError::Denied { permission, end } => {
                Self::permission_denied(&permission, linkable_name(&end.kind))
            }
            LinkError::Full { .. } => Self::conflict("too-many-links", error.to_string()),
            LinkError::Cycle { .. } => Self::conflict("link-cycle", error.to_string()),
            LinkError::Metadata(fault) => Self::invalid(format!("/metadata{}", fault.pointer()), fault.why()),
            LinkError::Exists { .. } => Self::conflict("already-linked", error.to_string()),
            LinkError::UnknownType { .. } | LinkError::WrongKind { .. } => {
                Self::invalid("/relationship", error.to_string())
            }
            LinkError::Blocked { .. } | LinkError::TooMany { .. } | LinkError::CannotCascade { .. } => {
                Self::conflict("linked", error.to_string())
            }
            LinkError::Itself { .. } => Self::invalid("/target", error.to_string()),
            LinkError::Check(error) => error.into(),
            LinkError::Audit(error) => error.into(),
            LinkError::Storage(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

fn linkable_name(kind: &str) -> &'static str {
    linkable().find(|entity| entity.kind == kind).map_or("entity", |entity| entity.kind)
}
