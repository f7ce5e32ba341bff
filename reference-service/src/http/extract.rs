//! Bodies, queries and path parameters whose errors are problem documents. Unknown fields are refused by the
//! types themselves (`deny_unknown_fields`).

use axum::{
    extract::{FromRequest, FromRequestParts, Request, rejection::BytesRejection},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;
use uuid::Uuid;

use super::error::ApiError;

/// A JSON body, in and out.
#[derive(Debug, Clone)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let is_json = request
            .headers()
            .get(axum::http::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|text| {
                text.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json"))
            });
        if !is_json {
            return Err(ApiError::unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the body as `Content-Type: application/json`",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection: BytesRejection| {
            ApiError::unreadable(rejection.status(), rejection.body_text())
        })?;
        read_json(&bytes).map(Self)
    }
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        // An enum calls it a fault of syntax when it meets no text: what decides is whether it is JSON.
        if inner.is_data() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
            ApiError::invalid(pointer(error.path()), inner.to_string())
        } else {
            ApiError::unreadable(StatusCode::BAD_REQUEST, format!("the body is not JSON: {inner}"))
        }
    })?;
    json.end().map_err(|error| {
        ApiError::unreadable(StatusCode::BAD_REQUEST, format!("something follows the JSON: {error}"))
    })?;
    match nul(bytes) {
        Some(pointer) => Err(ApiError::invalid(pointer, "must not contain the character U+0000")),
        None => Ok(value),
    }
}

/// Where a text, or a name, holds the one character that Postgres cannot store. In JSON it is always escaped, so a
/// body without the escape is not looked at again.
fn nul(bytes: &[u8]) -> Option<String> {
    if !bytes.windows(6).any(|part| part == br"\u0000") {
        return None;
    }
    fn find(value: &Value, at: &str) -> Option<String> {
        let below = |name: &str| format!("{at}/{}", escaped(name));
        match value {
            Value::String(text) => text.contains('\0').then(|| at.to_owned()),
            Value::Array(list) => {
                list.iter().zip(0..).find_map(|(value, index)| find(value, &format!("{at}/{index}")))
            }
            Value::Object(fields) => fields.iter().find_map(|(name, value)| match name.contains('\0') {
                true => Some(at.to_owned()),
                false => find(value, &below(name)),
            }),
            _ => None,
        }
    }
    find(&serde_json::from_slice(bytes).ok()?, "")
}

/// A name, as a part of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// Query parameters.
#[derive(Debug, Clone)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(ApiError::invalid("query", "must not contain the character U+0000"));
        }
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(ApiError::invalid("query", rejection.body_text())),
        }
    }
}

/// The id in the path. What is no UUID is nobody's id, and so not found.
#[derive(Debug, Clone, Copy)]
pub struct Id(pub Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Path::<std::collections::HashMap<String, String>>::from_request_parts(
            parts, state,
        )
        .await;
        let id = found.ok().and_then(|path| Uuid::parse_str(path.get("id")?).ok());
        id.map(Self).ok_or_else(|| ApiError::not_found("object"))
    }
}
