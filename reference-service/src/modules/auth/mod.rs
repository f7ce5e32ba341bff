//! Signing in.

use axum::{
    extract::State,
    http::{StatusCode, request::Parts},
};
use formwork_audit::Event;
use formwork_tenancy::Actor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Module, members::organization};
use crate::{
    app::App,
    http::{
        error::ApiError,
        extract::Json,
        guard::session_of,
        route::{Access, Route},
    },
    token::LIFETIME_SECONDS,
};

/// `POST /api/v1/auth/login`.
pub const MODULE: Module =
    Module { name: "auth", dependencies: &["members"], permissions: "", linkable: &[], routes };

fn routes() -> Vec<Route> {
    ["/api/v1/auth/login", "/auth/login"]
        .map(|path| {
            Route::post(path, Access::Public, login)
                .summary("Exchange address and password for an access token of this host's tenant")
                .body::<Credentials>()
                .returns::<AccessToken>(StatusCode::OK)
        })
        .into()
}

/// Address and password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: String,
    password: String,
}

/// A token, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
struct AccessToken {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    user: SignedIn,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SignedIn {
    id: Uuid,
    name: String,
}

/// Parts of the request whose body has been read.
struct Head(Parts);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

async fn login(
    State(app): State<App>,
    Head(parts): Head,
    Json(given): Json<Credentials>,
) -> Result<Json<AccessToken>, ApiError> {
    let tenant = app.tenants.resolve(&parts).await?;
    let member = app.tenants.member_by_email(tenant.id(), &given.email).await?;
    let stored = member.as_ref().and_then(|member| member.password_hash().map(str::to_owned));
    let right = app.passwords.verify(given.password, stored).await;
    let member = member.filter(|_| right).ok_or_else(ApiError::invalid_credentials)?;

    let session = session_of(&parts, &tenant, Actor::user(member.user()));
    let mut tx = app.tenants.begin(&session).await?;
    app.audit.record(&mut tx, Event::new("auth.login").target(organization(tenant.id()))).await?;
    tx.commit().await?;
    Ok(Json(AccessToken {
        access_token: app.tokens.issue(member.user(), tenant.id()).map_err(ApiError::internal)?,
        token_type: "Bearer",
        expires_in: LIFETIME_SECONDS,
        user: SignedIn { id: member.user(), name: member.display_name().to_owned() },
    }))
}
