//! Lists: a page, and where the next one begins. A list is complete, or has a cursor, or is an error.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::ApiError;

/// Rows in a page when none is asked for.
pub const DEFAULT_LIMIT: usize = 50;
/// The most rows in a page.
pub const MAX_LIMIT: usize = 200;

/// A page of rows.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Listed<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page begins.
    pub page: PageInfo,
}

/// Where the next page begins.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct PageInfo {
    /// To be passed back as `cursor`; null when there is no more.
    pub next_cursor: Option<String>,
    /// Is there more?
    pub has_more: bool,
}

impl<T> Listed<T> {
    /// A page and the cursor of the next one.
    pub fn new(data: Vec<T>, next_cursor: Option<String>) -> Self {
        let has_more = next_cursor.is_some();
        Self { data, page: PageInfo { next_cursor, has_more } }
    }
}

/// The bounded number of rows that was asked for.
///
/// # Errors
///
/// 422 when it is not between 1 and 200.
pub fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(DEFAULT_LIMIT),
        Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
        Some(_) => Err(ApiError::invalid("limit", format!("use 1 to {MAX_LIMIT}"))),
    }
}

/// A position as opaque text.
pub fn encode<T: Serialize>(position: &T) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

/// The position that a cursor stands for.
///
/// # Errors
///
/// 422 when it is none that a page gave.
pub fn decode<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(text) = cursor else { return Ok(None) };
    URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .map(Some)
        .ok_or_else(|| ApiError::invalid("cursor", "pass back the `next_cursor` that the last page gave"))
}

/// `limit` and `cursor`, for lists without filters of their own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// Rows in the page, 1 to 200; 50 when absent.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}
