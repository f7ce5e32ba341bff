//! The one error of the API, and the one place that turns failures into HTTP: RFC 9457 problem documents.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use formwork_audit::AuditError;
use formwork_authz::{CheckError, WriteError};
use formwork_tenancy::{
    CommitError, InvalidCursor, Limit, Refusal, ResolveError, Status, StorageError, UnsupportedHome,
    WrongRegion,
};
use serde::Serialize;
use serde_json::{Value, json};

/// A stable code, a public message, and a private cause that is logged once.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    extra: Option<Value>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, Serialize)]
pub struct FieldError {
    /// JSON pointer to it, or the name of the parameter.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), extra: None, cause: None }
    }

    /// 401: no token, or one that does not hold.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// 401: no such member, or another password. Which of the two is not told.
    pub fn invalid_credentials() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid-credentials",
            "the address and the password do not belong together in this tenant",
        )
    }

    /// 403: the caller may know that it exists, but may not do this.
    pub fn permission_denied(permission: &str, kind: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "permission-denied",
            format!("permission `{permission}` on this {kind} is needed"),
        )
    }

    /// 404: not there, or not for this caller to know. The answer is the same for both.
    pub fn not_found(kind: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", format!("there is no such {kind}"))
    }

    /// 404: no route.
    pub fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-route", "nothing answers here: see /api/v1/openapi.json")
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "this path does not take that method: see /api/v1/openapi.json",
        )
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: somebody else changed it in between.
    pub fn stale_version(current: i64) -> Self {
        let mut error = Self::new(
            StatusCode::PRECONDITION_FAILED,
            "stale-version",
            "it was changed in between: read it again and repeat the change",
        );
        error.extra = Some(json!({"current_version": current}));
        error
    }

    /// 400: the request names two hosts, or one that cannot be read.
    pub fn ambiguous_host() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "ambiguous-host",
            "the request must name one host, and the same one in its target and its `Host` header",
        )
    }

    /// 415, 400 or 422: the request cannot be read.
    pub fn unreadable(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::new(status, "unreadable-request", detail)
    }

    /// 422: one field is wrong.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let field = FieldError { pointer: pointer.into(), message: message.into() };
        let mut error = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-request",
            "the request cannot be done as it is",
        );
        error.errors.push(field);
        error
    }

    /// 500: our fault.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the service failed; the correlation id finds why",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: try again.
    pub fn unavailable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database-unavailable",
            "the database cannot be reached at the moment: try again shortly",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: others were at the same rows; nothing was stored.
    pub fn busy(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "try-again",
            "somebody else changed the same things at the same time, and nothing was stored: try again",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: the answer to the commit was lost.
    pub fn outcome_unknown(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "outcome-unknown",
            "the database was lost while it stored this: look whether it is there before you do it again",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: the tenant's home is being migrated, or its migration failed.
    fn home_version(unsupported: UnsupportedHome) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tenant-home-version",
            "this tenant is being brought to another version: try again later",
        );
        error.cause = Some(unsupported.into());
        error
    }

    /// 421: the tenant is served elsewhere; the document says where, and so does `Location`.
    fn wrong_region(wrong: &WrongRegion) -> Self {
        let detail = match wrong.place() {
            Some(_) => "this tenant is served in another region: send the request to `place`",
            None => "this tenant is served in another region",
        };
        let mut error = Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-region", detail);
        error.extra = Some(json!({"region": wrong.region(), "place": wrong.place()}));
        error
    }

    /// 503: the tenant's database is none of this process's. Another may know it, or this one soon.
    fn unknown_database(cause: StorageError) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tenant-elsewhere",
            "this tenant cannot be served here at the moment: try again shortly",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: as much of the tenant's is under way as may be, and nothing was begun.
    fn tenant_busy(cause: StorageError) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "tenant-busy",
            "too much is under way for this tenant at once, and nothing was begun: try again shortly",
        );
        error.cause = Some(cause.into());
        error
    }

    /// 503: a statement met its time limit, and would again.
    fn too_slow(cause: StorageError) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "time-limit",
            "this took longer than the tenant's plan allows, and nothing was stored: ask for less at once",
        );
        error.cause = Some(cause.into());
        error
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What the caller is told.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Did a move of the tenant to another home refuse it? Nothing was stored then.
    fn is_moving(&self) -> bool {
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<StorageError>());
        cause.is_some_and(StorageError::is_moving)
    }

    /// As it is answered to the request with this correlation id.
    pub fn respond(self, correlation: Option<&str>) -> Response {
        if let Some(cause) = &self.cause {
            tracing::error!(
                code = self.code,
                correlation,
                cause = %chain(cause.as_ref()),
                "request failed"
            );
        }
        let mut document = json!({
            "type": format!("urn:formwork:problem:{}", self.code),
            "title": self.code.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(fields) = document.as_object_mut() {
            if let Some(id) = correlation {
                fields.insert("instance".to_owned(), json!(id));
            }
            if !self.errors.is_empty() {
                fields.insert("errors".to_owned(), json!(self.errors));
            }
            if let Some(Value::Object(extra)) = self.extra {
                fields.extend(extra);
            }
        }
        let place = document.get("place").and_then(Value::as_str).and_then(|place| place.parse().ok());
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(place.map(|place: HeaderValue| (header::LOCATION, place)));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE
            && !matches!(self.code, "outcome-unknown" | "time-limit")
        {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The error and what caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    /// Carried to the guard, which knows the correlation id.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        *response.status_mut() = self.status;
        response.extensions_mut().insert(Carried(Arc::new(std::sync::Mutex::new(Some(self)))));
        response
    }
}

/// An error on its way through the layers. A response's extensions must be clonable.
#[derive(Debug, Clone)]
pub(crate) struct Carried(Arc<std::sync::Mutex<Option<ApiError>>>);

impl Carried {
    pub(crate) fn take(&self) -> Option<ApiError> {
        self.0.lock().ok().and_then(|mut error| error.take())
    }

    pub(super) fn is_moving(&self) -> bool {
        self.0.lock().is_ok_and(|error| error.as_ref().is_some_and(ApiError::is_moving))
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error.refusal() {
            Some(Refusal::Home(unsupported)) => return Self::home_version(unsupported.clone()),
            Some(Refusal::WrongRegion(wrong)) => return Self::wrong_region(wrong),
            Some(refusal @ Refusal::Administrator(_)) => {
                return Self::new(StatusCode::FORBIDDEN, "administrator-refused", refusal.to_string());
            }
            Some(refusal @ Refusal::NotActive(Status::Archived | Status::Deleting | Status::Deleted)) => {
                return Self::new(StatusCode::GONE, "tenant-gone", refusal.to_string());
            }
            Some(refusal @ Refusal::NotActive(_)) => {
                return Self::new(StatusCode::FORBIDDEN, "tenant-suspended", refusal.to_string());
            }
            Some(refusal) => return Self::new(StatusCode::NOT_FOUND, "not-found", refusal.to_string()),
            None => {}
        }
        if error.limit() == Some(Limit::Statement) {
            return Self::too_slow(error);
        }
        if error.busy().is_some() {
            Self::tenant_busy(error)
        } else if error.unknown_database().is_some() {
            Self::unknown_database(error)
        } else if error.is_unavailable() {
            Self::unavailable(error)
        } else if error.is_retryable() {
            Self::busy(error)
        } else if error.is_bad_value() {
            // What the checks of the fields let through.
            let mut refused = Self::invalid("", "holds a value that cannot be stored");
            refused.cause = Some(error.into());
            refused
        } else {
            Self::internal(error)
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        StorageError::from(error).into()
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::RolledBack(error) => error.into(),
            CommitError::Unknown(_) => Self::outcome_unknown(error),
            CommitError::WithoutToken(_) => Self::internal(error),
        }
    }
}

impl From<ResolveError> for ApiError {
    fn from(error: ResolveError) -> Self {
        let (status, code, detail) = (error.status(), error.code(), error.public_detail());
        match error {
            ResolveError::Mismatch { .. } | ResolveError::UnknownTenant => {
                Self::new(status, code, "the token is of another tenant than this host: sign in here")
            }
            ResolveError::Unsupported(unsupported) => Self::home_version(unsupported),
            ResolveError::WrongRegion(wrong) => Self::wrong_region(&wrong),
            ResolveError::Storage(error) => error.into(),
            _ => Self::new(status, code, detail),
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Storage(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<InvalidCursor> for ApiError {
    fn from(error: InvalidCursor) -> Self {
        Self::invalid("cursor", error.to_string())
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Storage(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Storage(error) => error.into(),
            other => Self::internal(other),
        }
    }
}
