//! `POST /api/v1/links/bulk`: many links, each with an answer of its own.

use formwork_entity_links::{Link, LinkError, StoredLink};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LinkView, NewLink, known_kinds};
use crate::http::{caller::Caller, error::ApiError, extract::Json};

/// The most links in one call.
const MOST: usize = 1_000;

/// Links to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLinks {
    /// At most 1,000.
    links: Vec<NewLink>,
}

/// What became of each.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Made {
    /// In the order of the links.
    data: Vec<Row>,
}

/// One of `link` and `error` is there.
#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    link: Option<LinkView>,
    error: Option<RowError>,
}

/// Why a link was not made.
#[derive(Debug, Serialize, JsonSchema)]
struct RowError {
    /// As in a problem document.
    code: &'static str,
    /// In words.
    detail: String,
}

impl From<Result<StoredLink, LinkError>> for Row {
    fn from(made: Result<StoredLink, LinkError>) -> Self {
        match made {
            Ok(stored) => Self { link: Some(stored.into()), error: None },
            Err(error) => {
                let told = ApiError::from(error);
                let (code, detail) = (told.code(), told.detail().to_owned());
                Self { link: None, error: Some(RowError { code, detail }) }
            }
        }
    }
}

pub(super) async fn create(caller: Caller, Json(new): Json<NewLinks>) -> Result<Json<Made>, ApiError> {
    if new.links.len() > MOST {
        return Err(ApiError::invalid("/links", format!("use at most {MOST}")));
    }
    for (row, link) in new.links.iter().enumerate() {
        known_kinds(&format!("/links/{row}"), link)?;
    }
    let mut work = caller.begin().await?;
    let links = work.app().links.clone();
    let batch: Vec<Link> = new.links.into_iter().map(Link::from).collect();
    let made = links.link_many(&mut work, batch).await?;
    work.asked_elsewhere();
    work.commit().await?;
    Ok(Json(Made { data: made.into_iter().map(Row::from).collect() }))
}
