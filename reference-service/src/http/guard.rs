//! The pipeline around every route: correlation, panic, token, tenant, and the check that somebody asked.

use std::{net::SocketAddr, panic::AssertUnwindSafe};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use formwork_tenancy::{Actor, CommitToken, ResolveError, Session, Tenant, TokenTenant};
use futures::FutureExt;
use uuid::Uuid;

use super::{
    caller::Caller,
    error::{ApiError, Carried},
    moving::{Kept, Moving, may_be_refused, was_refused},
    route::Access,
};
use crate::app::App;

const CORRELATION: &str = "x-correlation-id";
/// What a write answers, and what a read that must see it sends along.
const COMMIT_TOKEN: &str = "x-commit-token";

/// The id that ties a request to its logs, events and answer.
#[derive(Debug, Clone)]
pub struct Correlation(pub String);

/// Outermost: gives every request a correlation id, and turns errors and panics into problem documents.
pub async fn correlate(mut request: Request, next: Next) -> Response {
    let id = correlation_of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(Correlation(id.clone()));
    let started = std::time::Instant::now();
    let answered = async {
        match one_host(request.headers(), request.uri()) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        }
    };
    let mut response = match AssertUnwindSafe(answered).catch_unwind().await {
        Ok(response) => response,
        Err(_) => ApiError::internal("a handler panicked").into_response(),
    };
    if let Some(error) = response.extensions().get::<Carried>().and_then(Carried::take) {
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = error.respond(Some(&id));
        response.headers_mut().extend(allowed.map(|methods| (header::ALLOW, methods)));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(CORRELATION, value);
    }
    tracing::info!(
        %method, path, status = response.status().as_u16(), correlation = id,
        micros = started.elapsed().as_micros() as u64, "request"
    );
    response
}

/// Whoever stands before this service must not read another host than we do (RFC 9112, section 3.2): one `Host`
/// header, a plain name, the same as in the target when that has one.
fn one_host(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let mut given = headers.get_all(header::HOST).iter();
    let header = match (given.next(), given.next()) {
        (None, _) => return Ok(()),
        (Some(host), None) => host.to_str().map_err(|_| ApiError::ambiguous_host())?,
        (Some(_), Some(_)) => return Err(ApiError::ambiguous_host()),
    };
    let named = if header.is_empty() { None } else { Some(plain_host(header)?) };
    let same = |target: &str| named.as_ref().is_some_and(|host| host.host().eq_ignore_ascii_case(target));
    match uri.host() {
        Some(target) if !same(target) => Err(ApiError::ambiguous_host()),
        _ => Ok(()),
    }
}

fn plain_host(text: &str) -> Result<Authority, ApiError> {
    text.parse().ok().filter(|_| !text.contains('@')).ok_or_else(ApiError::ambiguous_host)
}

fn correlation_of(headers: &HeaderMap) -> String {
    let fits = |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    headers
        .get(CORRELATION)
        .and_then(|value| value.to_str().ok())
        .filter(fits)
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Around one route that is not public: token, tenant, session; afterwards, whether the permission was asked.
pub async fn guard(State((app, access)): State<(App, Access)>, request: Request, next: Next) -> Response {
    guarded(&app, access, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn guarded(app: &App, access: Access, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let mut caller = caller_of(app, access, &mut parts).await?;
    if !may_be_refused(&parts.method) {
        return Ok(answer(caller, parts, body, next).await);
    }
    let kept = Kept::of(parts, body).await?;
    let mut moving = Moving::new();
    loop {
        let answer = answer(caller.clone(), kept.parts(), kept.body(), next.clone()).await;
        if caller.has_committed() || !was_refused(&answer) || !moving.wait().await {
            return Ok(answer);
        }
        caller = caller_of(app, access, &mut kept.parts()).await?;
    }
}

async fn answer(caller: Caller, mut parts: Parts, body: Body, next: Next) -> Response {
    parts.extensions.insert(caller.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let token = caller.committed().and_then(|token| HeaderValue::from_str(&token.to_string()).ok());
    response.headers_mut().extend(token.map(|token| (HeaderName::from_static(COMMIT_TOKEN), token)));
    if response.status().is_success() && !caller.has_asked() {
        let error = ApiError::internal("a route answered without asking for its permission");
        return error.into_response();
    }
    response
}

async fn caller_of(app: &App, access: Access, parts: &mut Parts) -> Result<Caller, ApiError> {
    let token = bearer(&parts.headers)?;
    let claims = app.tokens.verify(token).map_err(|error| ApiError::unauthenticated(error.to_string()))?;
    parts.extensions.insert(TokenTenant(claims.org_id));
    let tenant = match app.tenants.resolve(parts).await {
        Ok(tenant) => tenant,
        Err(error) => {
            report(app, &error, claims.sub);
            return Err(error.into());
        }
    };
    let mut session = session_of(parts, &tenant, Actor::user(claims.sub));
    if let Some(token) = parts.headers.get(COMMIT_TOKEN) {
        session = session.at_least(&commit_token(token)?);
    }
    Ok(Caller::new(app.clone(), session, access))
}

fn commit_token(value: &HeaderValue) -> Result<CommitToken, ApiError> {
    let token = value.to_str().unwrap_or_default().parse();
    token.map_err(|_| ApiError::invalid(COMMIT_TOKEN, "send back what a write answered in this header"))
}

/// `actor`'s work for the tenant in this request: by which correlation id, from where, with what.
pub fn session_of(parts: &Parts, tenant: &Tenant, actor: Actor) -> Session {
    let mut session = Session::new(tenant, actor);
    if let Some(Correlation(id)) = parts.extensions.get() {
        session = session.request_id(id);
    }
    if let Some(ConnectInfo(address)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        session = session.ip(address.ip());
    }
    if let Some(agent) = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()) {
        session = session.user_agent(agent.chars().take(256).collect::<String>());
    }
    session
}

fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers.get(header::AUTHORIZATION).ok_or_else(|| {
        ApiError::unauthenticated("send `Authorization: Bearer <token>`; POST /api/v1/auth/login gives one")
    })?;
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        Ok(token.trim())
    } else {
        Err(ApiError::unauthenticated("the header must read `Authorization: Bearer <token>`"))
    }
}

/// Kept on the platform's side, after the answer: it belongs to no tenant's own trail.
fn report(app: &App, error: &ResolveError, subject: Uuid) {
    let (kind, named, detail) = match error {
        ResolveError::Mismatch { host, claimed, named, .. } => {
            let detail = serde_json::json!({"host": host, "token_tenant": claimed, "subject": subject});
            ("tenant-mismatch", Some(*named), detail)
        }
        ResolveError::UnknownHost { host } => {
            ("unknown-tenant", None, serde_json::json!({"host": host, "subject": subject}))
        }
        ResolveError::UnknownName { .. } | ResolveError::UnknownTenant => {
            ("unknown-tenant", None, serde_json::json!({"subject": subject}))
        }
        _ => return,
    };
    let tenants = app.tenants.clone();
    app.reports.begin(async move {
        if let Err(error) = tenants.record_security_event(kind, named, detail).await {
            tracing::warn!(%error, "a security event could not be kept");
        }
    });
}
