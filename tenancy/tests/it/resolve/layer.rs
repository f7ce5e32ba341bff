//! The layer: a service is called with a tenant, or not at all.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use formwork_tenancy::{Isolation, Resolution, ResolveLayer, Resolver, Tenant, TokenTenant};
use http::{Request, Response, header::CONTENT_TYPE};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt};

use crate::isolation::database;

/// Answers with what it was called with; counts its calls, and panics when it was not made ready before.
#[derive(Clone, Default)]
struct Echo {
    calls: Arc<AtomicUsize>,
    ready: bool,
}

impl Service<Request<()>> for Echo {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called before it was ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        let tenant = request.extensions().get::<Tenant>().unwrap();
        let resolution = request.extensions().get::<Resolution>().unwrap();
        assert_eq!(resolution.tenant().id(), tenant.id());
        ready(Ok(Response::new(format!("{} {}", tenant.slug(), request.uri()))))
    }
}

fn get(target: &str) -> Request<()> {
    Request::get(target).header("host", "all.formwork.test").body(()).unwrap()
}

#[tokio::test]
async fn the_service_within_sees_its_tenant_and_the_rest_of_the_path() {
    let db = database().await;
    db.tenant("a", Isolation::Shared).await;
    let resolver = Resolver::builder(db.tenants()).path("/t").build().unwrap();
    let whole = ResolveLayer::new(resolver.clone()).layer(Echo::default());
    let mut rest = ResolveLayer::new(resolver).strip_path().layer(Echo::default());
    for (target, expected) in [
        ("/t/a/x?y=%2F&z=1", "a /x?y=%2F&z=1"),
        ("/t/a", "a /"),
        ("/t/a?y", "a /?y"),
        ("/t/a//x", "a //x"),
        ("http://all.formwork.test/t/a/x?y", "a http://all.formwork.test/x?y"),
    ] {
        let answer = rest.ready().await.unwrap().call(get(target)).await.unwrap();
        assert_eq!(answer.body(), expected);
        let answer = whole.clone().oneshot(get(target)).await.unwrap();
        assert_eq!(answer.body(), &format!("a {target}"));
    }
}

#[tokio::test]
async fn a_refusal_is_a_problem_document_and_the_service_is_not_called() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let resolver = Resolver::builder(db.tenants())
        .host()
        .token()
        .require([formwork_tenancy::Source::Token])
        .build()
        .unwrap();
    let (echo, own) = (Echo::default(), resolver.clone());
    let service = ResolveLayer::new(resolver).layer(echo.clone());
    let ask = |host: &str, token: Option<TokenTenant>| {
        let mut request = Request::get("/").header("host", host).body(()).unwrap();
        if let Some(token) = token {
            request.extensions_mut().insert(token);
        }
        service.clone().oneshot(request)
    };
    for (host, token, status, code) in [
        ("nobody.formwork.test", Some(TokenTenant(a.id())), 404, "unknown-tenant"),
        ("a.formwork.test", Some(TokenTenant(b.id())), 403, "tenant-mismatch"),
        ("a.formwork.test", None, 401, "unauthenticated"),
        ("a b", Some(TokenTenant(a.id())), 400, "ambiguous-host"),
    ] {
        let answer = ask(host, token).await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        let document: Value = serde_json::from_str(answer.body()).unwrap();
        assert_eq!(document["type"], format!("urn:formwork:problem:{code}"));
        assert_eq!(document["status"], status);
        for secret in [a.id(), b.id()] {
            assert!(!answer.body().contains(&secret.to_string()), "{}", answer.body());
        }
    }
    assert_eq!(echo.calls.load(Ordering::SeqCst), 0);
    assert_eq!(ask("a.formwork.test", Some(TokenTenant(a.id()))).await.unwrap().body(), "a /");
    assert_eq!(echo.calls.load(Ordering::SeqCst), 1);

    let layer = ResolveLayer::answering(own, |error, parts| {
        Response::builder().status(error.status()).body(format!("{} at {}", error.code(), parts.uri)).unwrap()
    });
    let answer = layer.layer(echo).oneshot(get("/x")).await.unwrap();
    assert_eq!((answer.status().as_u16(), &**answer.body()), (401, "unauthenticated at /x"));
}
