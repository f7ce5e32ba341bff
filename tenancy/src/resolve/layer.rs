//! Resolution in front of a tower service: a request goes on with its tenant, or is answered here.
//!
//! INVARIANT: the service within is called with a [`Tenant`] in the extensions, or not at all.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderValue, Request, Response, Uri,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
    request::Parts,
    uri::PathAndQuery,
};
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use super::{Resolution, Resolver};
use crate::{ResolveError, Tenant};

type Answer<R> = Arc<dyn Fn(&ResolveError, &Parts) -> Response<R> + Send + Sync>;

/// Puts a [`Tenant`] and a [`Resolution`] into each request's extensions, or answers with a problem document
/// (RFC 9457).
///
/// ```no_run
/// # fn example<S>(tenants: formwork_tenancy::Tenants, service: S) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::{ResolveLayer, ResolveService, Resolver};
/// use tower_layer::Layer;
///
/// let resolver = Resolver::builder(&tenants).host().path("/t").build()?;
/// let layer = ResolveLayer::<String>::new(resolver).strip_path();
/// let service: ResolveService<S, String> = layer.layer(service);
/// # let _ = service;
/// # Ok(()) }
/// ```
pub struct ResolveLayer<R> {
    resolver: Resolver,
    answer: Answer<R>,
    strip_path: bool,
}

impl<R: From<String>> ResolveLayer<R> {
    /// Answers refusals with problem documents.
    pub fn new(resolver: Resolver) -> Self {
        Self::answering(resolver, |error, _| problem(error))
    }
}

impl<R> ResolveLayer<R> {
    /// Answers refusals by `answer`, which is given the request's head. [`ResolveError::status`],
    /// [`ResolveError::code`] and [`ResolveError::public_detail`] are what a client may be told.
    pub fn answering(
        resolver: Resolver,
        answer: impl Fn(&ResolveError, &Parts) -> Response<R> + Send + Sync + 'static,
    ) -> Self {
        Self { resolver, answer: Arc::new(answer), strip_path: false }
    }

    /// Where the path named the tenant, the service within sees the rest of it: `/t/acme/projects?page=2` becomes
    /// `/projects?page=2`.
    #[must_use]
    pub fn strip_path(mut self) -> Self {
        self.strip_path = true;
        self
    }
}

/// A service behind a [`ResolveLayer`].
pub struct ResolveService<S, R> {
    inner: S,
    layer: ResolveLayer<R>,
}

impl<S, R> Layer<S> for ResolveLayer<R> {
    type Service = ResolveService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        ResolveService { inner, layer: self.clone() }
    }
}

impl<S, B, R> Service<Request<B>> for ResolveService<S, R>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // What was made ready is called; its clone waits to be.
        let fresh = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, fresh);
        let layer = self.layer.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match layer.resolver.resolve(&parts).await {
                Ok(resolution) => {
                    layer.enter(&mut parts, resolution);
                    ready.call(Request::from_parts(parts, body)).await
                }
                Err(error) => Ok((layer.answer)(&error, &parts)),
            }
        })
    }
}

impl<R> ResolveLayer<R> {
    fn enter(&self, parts: &mut Parts, resolution: Resolution) {
        if let (true, Some(rest)) = (self.strip_path, resolution.rest_of_path())
            && let Some(shorter) = with_path(&parts.uri, rest)
        {
            parts.uri = shorter;
        }
        parts.extensions.insert::<Tenant>(resolution.tenant().clone());
        parts.extensions.insert(resolution);
    }
}

/// The same target with another path. What was part of a target is one itself, so there always is an answer.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    Uri::from_parts(parts).ok()
}

/// A problem document (RFC 9457) that tells what a client may know.
fn problem<R: From<String>>(error: &ResolveError) -> Response<R> {
    let status = error.status();
    if let ResolveError::Storage(cause) = error {
        tracing::warn!(error = %cause, "a tenant could not be looked up");
    }
    let document = json!({
        "type": format!("urn:formwork:problem:{}", error.code()),
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": error.public_detail(),
    });
    let mut response = Response::new(R::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if status == http::StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl<R> Clone for ResolveLayer<R> {
    fn clone(&self) -> Self {
        Self { resolver: self.resolver.clone(), answer: self.answer.clone(), strip_path: self.strip_path }
    }
}

impl<S: Clone, R> Clone for ResolveService<S, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<R> fmt::Debug for ResolveLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveLayer").field("strip_path", &self.strip_path).finish_non_exhaustive()
    }
}

impl<S, R> fmt::Debug for ResolveService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveService").field("layer", &self.layer).finish_non_exhaustive()
    }
}
