//! A write that meets a move of its tenant to another home is done again, from the request on.
//!
//! What a move refuses is the commit: by then the handler has run, so it is run again with the same request. INVARIANT:
//! that happens only when the database refused the commit and the request had committed nothing before.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{Method, request::Parts},
    response::Response,
};
use bytes::Bytes;
use tokio::time::Instant;

use super::error::{ApiError, Carried};

/// A freeze is as long as the copy of the tenant's rows: a small one's ends within this.
const PATIENCE: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Whether, and until when, a request is done again.
#[derive(Debug)]
pub(super) struct Moving {
    until: Instant,
    pause: Duration,
}

impl Moving {
    pub(super) fn new() -> Self {
        Self { until: Instant::now() + PATIENCE, pause: FIRST_PAUSE }
    }

    /// Waits a moment; or answers that it has been long enough.
    pub(super) async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

/// Was the commit refused by a move?
pub(super) fn was_refused(answer: &Response) -> bool {
    answer.extensions().get::<Carried>().is_some_and(Carried::is_moving)
}

/// A request that can be sent more than once.
#[derive(Debug)]
pub(super) struct Kept {
    parts: Parts,
    body: Bytes,
}

impl Kept {
    /// Reads the body, as far as bodies are read.
    pub(super) async fn of(parts: Parts, body: Body) -> Result<Self, ApiError> {
        let request = Request::from_parts(parts.clone(), body);
        let body = Bytes::from_request(request, &()).await;
        let body = body.map_err(|error| ApiError::unreadable(error.status(), error.body_text()))?;
        Ok(Self { parts, body })
    }

    pub(super) fn parts(&self) -> Parts {
        self.parts.clone()
    }

    pub(super) fn body(&self) -> Body {
        Body::from(self.body.clone())
    }
}

/// Reads commit nothing, so that no move refuses them.
pub(super) fn may_be_refused(method: &Method) -> bool {
    !method.is_safe()
}
