//! How a request that has no tenant is answered over HTTP: decided here, once, for every server.

use http::StatusCode;

use crate::{ResolveError, Status};

/// Why an API key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyRefusal {
    /// There is no such key.
    #[error("there is no such API key")]
    Unknown,
    /// Its time is over.
    #[error("the API key has expired: ask for a new one")]
    Expired,
    /// It was taken back.
    #[error("the API key was revoked")]
    Revoked,
}

impl ResolveError {
    /// The HTTP status: 404 unknown or unnamed, 403 another tenant's credentials, not a member, or suspended, 410 gone
    /// for good, 401 a credential that is missing or does not hold, 503 not ready or not reachable, 400 a host or a path
    /// that could be read in two ways.
    ///
    /// ```
    /// use formwork_tenancy::{ResolveError, Status};
    ///
    /// let error = ResolveError::NotActive { status: Status::Archived };
    /// assert_eq!((error.status().as_u16(), error.code()), (410, "tenant-gone"));
    /// ```
    pub fn status(&self) -> StatusCode {
        self.http().0
    }

    /// A stable name of the problem, such as `tenant-mismatch`.
    pub fn code(&self) -> &'static str {
        self.http().1
    }

    /// What a client may be told: never of which tenant a credential is, nor what failed inside.
    pub fn public_detail(&self) -> String {
        match self {
            Self::Unsupported(_) => "the tenant is being brought up to date: try again later".to_owned(),
            Self::Storage(_) => "the tenant could not be looked up: try again later".to_owned(),
            told => told.to_string(),
        }
    }

    fn http(&self) -> (StatusCode, &'static str) {
        match self {
            Self::BadHost(_) => (StatusCode::BAD_REQUEST, "ambiguous-host"),
            Self::AmbiguousPath => (StatusCode::BAD_REQUEST, "ambiguous-path"),
            Self::Unnamed | Self::UnknownHost { .. } | Self::UnknownName { .. } => {
                (StatusCode::NOT_FOUND, "unknown-tenant")
            }
            Self::Missing { by } if by.is_credential() => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::Missing { .. } => (StatusCode::NOT_FOUND, "unknown-tenant"),
            Self::ApiKey { .. } => (StatusCode::UNAUTHORIZED, "invalid-api-key"),
            Self::UnknownTenant | Self::Mismatch { .. } => (StatusCode::FORBIDDEN, "tenant-mismatch"),
            Self::NotAMember => (StatusCode::FORBIDDEN, "not-a-member"),
            Self::SeveralMemberships => (StatusCode::FORBIDDEN, "choose-tenant"),
            Self::Untrusted { .. } => (StatusCode::FORBIDDEN, "untrusted-header"),
            Self::NotActive { status } => of_status(*status),
            Self::WrongRegion(_) => (StatusCode::MISDIRECTED_REQUEST, "wrong-region"),
            Self::Unsupported(_) => (StatusCode::SERVICE_UNAVAILABLE, "tenant-not-ready"),
            Self::Storage(error) if error.is_retryable() => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Storage(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

fn of_status(status: Status) -> (StatusCode, &'static str) {
    match status {
        Status::Suspended => (StatusCode::FORBIDDEN, "tenant-suspended"),
        Status::Archived | Status::Deleting | Status::Deleted => (StatusCode::GONE, "tenant-gone"),
        Status::Provisioning | Status::Active => (StatusCode::SERVICE_UNAVAILABLE, "tenant-not-ready"),
    }
}
