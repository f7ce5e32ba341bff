//! Which tenant a request is for, asked of a real registry.

use std::{sync::Arc, time::Duration};

use formwork_tenancy::{
    ControlError, Isolation, NewTenant, RegistryOptions, ResolveError, TenantId, Tenants, TokenTenant,
    limits::Clock, local_postgres::LocalRole, testing::TestDatabase,
};
use futures::FutureExt;
use http::{Request, request::Parts};
use sqlx::Connection;

use crate::isolation::database;

mod answers;
mod api_key;
mod chain;
mod domain;
pub(crate) mod kit;
mod layer;
mod names;

fn request(host: &str, token: Option<TenantId>) -> Parts {
    let (mut parts, ()) = Request::get("/").header("host", host).body(()).unwrap().into_parts();
    if let Some(id) = token {
        parts.extensions.insert(TokenTenant(id));
    }
    parts
}

pub(crate) async fn as_owner(db: &TestDatabase, sql: &'static str) {
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut owner).await.unwrap();
}

#[tokio::test]
async fn host_and_token_must_agree() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let tenants = db.tenants();
    let resolved = tenants.resolve(&request("A.formwork.test:8080", None)).await.unwrap();
    assert_eq!(resolved.id(), a.id());
    assert_eq!(tenants.resolve(&request("a.formwork.test", Some(a.id()))).await.unwrap().id(), a.id());
    let error = tenants.resolve(&request("a.formwork.test", Some(b.id()))).await.unwrap_err();
    assert!(matches!(error, ResolveError::Mismatch { .. }), "{error}");
    for host in ["nobody.formwork.test", "formwork.test", "a.b.formwork.test", "elsewhere.example"] {
        let error = tenants.resolve(&request(host, Some(a.id()))).await.unwrap_err();
        assert!(matches!(error, ResolveError::UnknownHost { .. }), "{host}: {error}");
    }
    let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
    assert!(matches!(tenants.resolve(&parts).await, Err(ResolveError::Unnamed)));
    parts.extensions.insert(TokenTenant(b.id()));
    assert_eq!(tenants.resolve(&parts).await.unwrap().id(), b.id());
    parts.extensions.insert(TokenTenant(TenantId::generate()));
    assert!(matches!(tenants.resolve(&parts).await, Err(ResolveError::UnknownTenant)));
}

/// A clock that stands: nothing that is remembered grows old.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Duration {
        Duration::from_secs(100)
    }
}

#[tokio::test]
async fn what_is_remembered_is_answered_without_waiting() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let options = RegistryOptions::new().clock(Arc::new(Still));
    let tenants = db.connect(Tenants::builder().registry(options)).await;
    let good = request("a.formwork.test", Some(a.id()));
    let [mismatch, unknown] = [request("a.formwork.test", Some(b.id())), request("c.formwork.test", None)];
    assert!(tenants.resolve(&good).now_or_never().is_none(), "it is not known yet");
    assert_eq!(tenants.resolve(&good).await.unwrap().id(), a.id());
    assert_eq!(tenants.resolve(&good).now_or_never().unwrap().unwrap().id(), a.id());
    let error = tenants.resolve(&mismatch).now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, ResolveError::Mismatch { .. }), "{error}");
    tenants.resolve(&unknown).await.unwrap_err();
    let error = tenants.resolve(&unknown).now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, ResolveError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn a_domain_counts_once_it_is_verified() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    as_owner(&db, "insert into platform.tenant_domains (host, tenant_id, verified_at) select 'build.example', id, now() from platform.tenants;
                   insert into platform.tenant_domains (host, tenant_id) select 'claimed.example', id from platform.tenants").await;
    assert_eq!(db.tenants().resolve(&request("build.example", None)).await.unwrap().id(), a.id());
    let error = db.tenants().resolve(&request("claimed.example", None)).await.unwrap_err();
    assert!(matches!(error, ResolveError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn a_tenant_out_of_service_is_named_as_such() {
    let db = database().await;
    let _made = db.control().provision(&NewTenant::new("gone", "Gone", Isolation::Shared)).await.unwrap();
    as_owner(&db, "update platform.tenants set status = 'suspended'").await;
    let error = db.tenants().resolve(&request("gone.formwork.test", None)).await.unwrap_err();
    assert_eq!(error.to_string(), "the tenant is suspended");
}

#[tokio::test]
async fn provisioning_refuses_what_cannot_be() {
    let db = database().await;
    db.tenant("taken", Isolation::Schema).await;
    let make = |slug: &str, isolation| {
        let new = NewTenant::new(slug, "x", isolation);
        let control = db.control().clone();
        async move { control.provision(&new).await.unwrap_err() }
    };
    assert!(matches!(make("taken", Isolation::Schema).await, ControlError::Taken { .. }));
    assert!(matches!(make("Not A Slug", Isolation::Shared).await, ControlError::InvalidSlug { .. }));
    assert!(matches!(make("far", Isolation::Database).await, ControlError::Unsupported { .. }));
    assert_eq!(db.control().migrate().await.unwrap(), 0, "nothing is left to do");
}
