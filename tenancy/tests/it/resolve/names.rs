//! Which names a tenant can have, and what a request's host and path may look like.

use formwork_tenancy::{
    ConnectError, ControlError, Isolation, NewTenant, ReservedNames, ResolveError, Resolver, Source, Tenants,
    local_postgres::LocalRole,
};

use super::kit::{Head, ask, refused};
use crate::{isolation::database, resolve::as_owner};

#[tokio::test]
async fn reserved_names_are_no_tenants() {
    let db = database().await;
    let make = async |slug: &str| {
        db.control()
            .provision(&NewTenant::new(slug, "x", Isolation::Shared))
            .await
            .map(|_| ())
            .map_err(Box::new)
    };
    for slug in ["www", "api", "adm1n", "vvww", "supp0rt"] {
        let error = make(slug).await.unwrap_err();
        assert!(matches!(*error, ControlError::Reserved { .. }), "{slug}: {error}");
    }
    for slug in ["xn--80ak6aa92e", "ab--c", "01890000-0000-7000-8000-000000000000"] {
        let error = make(slug).await.unwrap_err();
        assert!(matches!(*error, ControlError::InvalidSlug { .. }), "{slug}: {error}");
    }
    make("acme").await.unwrap();
    // Given away before it was reserved.
    as_owner(&db, "update platform.tenants set slug = 'www'").await;
    let builder = |tenants: &Tenants| Resolver::builder(tenants).host().path("/t").build().unwrap();
    let usual = builder(db.tenants());
    assert_eq!(refused(&usual, &Head::host("www.formwork.test")).await, (404, "unknown-tenant"));
    assert_eq!(refused(&usual, &Head::to("/t/www/x")).await, (404, "unknown-tenant"));
    let names = ReservedNames::default().without("www").and("acme");
    let own = db.connect(Tenants::builder().reserved_names(names.clone())).await;
    assert_eq!(ask(&builder(&own), &Head::host("www.formwork.test")).await.unwrap().tenant().slug(), "www");
    let control = db.control().clone().reserved_names(names);
    let refused = control.provision(&NewTenant::new("acme", "x", Isolation::Shared)).await.unwrap_err();
    assert!(refused.to_string().contains("`acme` reads as `acme`, which is reserved"), "{refused}");
    own.close().await;
}

#[tokio::test]
async fn a_host_that_could_be_read_in_two_ways_is_refused() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    db.tenant("b", Isolation::Shared).await;
    let resolver = Resolver::builder(db.tenants()).host().build().unwrap();
    let ambiguous = [
        Head::host("a.formwork.test").header("host", "b.formwork.test"),
        Head::host("a.formwork.test").header("host", "a.formwork.test"),
        Head::to("http://b.formwork.test/").header("host", "a.formwork.test"),
        Head::to("http://b.formwork.test/").header("host", ""),
        Head::to("http://user@a.formwork.test/"),
        Head::host("b.formwork.test@a.formwork.test"),
        Head::host("a.formwork.test/@b.formwork.test"),
        Head::host("a.formwork.test:80:80"),
        Head::host("a.formwork.test, b.formwork.test"),
        Head::host("a\u{ad}.formwork.test"),
        Head::host(".formwork.test"),
        Head::host("[::1"),
        Head::host(&"a.".repeat(30_000)),
    ];
    for head in &ambiguous {
        let error = ask(&resolver, head).await.unwrap_err();
        assert_eq!(
            (error.status().as_u16(), error.code()),
            (400, "ambiguous-host"),
            "{:?}",
            head.parts().uri
        );
        assert!(error.to_string().len() < 200);
    }
    let same = [
        Head::to("http://a.formwork.test:80/x").header("host", "A.Formwork.Test."),
        Head::to("https://A.formwork.test/"),
        Head::host("a.formwork.test:443"),
    ];
    for head in &same {
        assert_eq!(ask(&resolver, head).await.unwrap().tenant().id(), a.id());
    }
    for unknown in
        ["127.0.0.1", "[::1]:80", "xn--bcher-kva.formwork.test", "b.a.formwork.test", "formwork.test."]
    {
        assert_eq!(refused(&resolver, &Head::host(unknown)).await, (404, "unknown-tenant"), "{unknown}");
    }
    assert!(matches!(ask(&resolver, &Head::host("")).await, Err(ResolveError::Unnamed)));
}

#[tokio::test]
async fn of_bases_below_each_other_the_nearest_counts() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let builder = Tenants::builder().base_domain("Bücher.example.").base_domain("eu.formwork.test");
    let tenants = db.connect(builder).await;
    let resolver = Resolver::builder(&tenants).subdomain().shared_host("127.0.0.1").token().build().unwrap();
    for host in ["a.formwork.test", "a.eu.formwork.test", "a.xn--bcher-kva.example"] {
        assert_eq!(ask(&resolver, &Head::host(host)).await.unwrap().tenant().id(), a.id(), "{host}");
    }
    for host in ["eu.formwork.test", "xn--bcher-kva.example", "x.example", "10.0.0.1"] {
        assert_eq!(
            refused(&resolver, &Head::host(host).token(a.id())).await,
            (404, "unknown-tenant"),
            "{host}"
        );
    }
    let shared = ask(&resolver, &Head::host("127.0.0.1:8080").token(a.id())).await.unwrap();
    assert_eq!(shared.named_by(), [Source::Token]);
    tenants.close().await;
    for bad in ["", "a b", "127.0.0.1", "*.example.com"] {
        let options = db.options(LocalRole::App).await;
        let error = Tenants::builder().base_domain(bad).connect_with(options).await.unwrap_err();
        assert!(matches!(error, ConnectError::BaseDomain { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn a_path_names_a_tenant_and_leaves_its_rest() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let resolver = Resolver::builder(db.tenants()).path("/t").build().unwrap();
    for (path, rest) in [("/t/a", "/"), ("/t/a/", "/"), ("/t/a/x/y?z=/t/b", "/x/y"), ("/t/a//x", "//x")] {
        let found = ask(&resolver, &Head::to(path)).await.unwrap();
        assert_eq!((found.tenant().id(), found.rest_of_path()), (a.id(), Some(rest)), "{path}");
    }
    for path in ["/t/nobody/x", "/t/A/x", "/t/%61/x", "/t//a", "/t/admin", "/", "/t", "/x/t/a"] {
        assert_eq!(refused(&resolver, &Head::to(path)).await, (404, "unknown-tenant"), "{path}");
    }
    for path in ["/t/a/../b/x", "/t/a/%2e%2E/b", "/t/a/.%2e%2fb", "/t/./a"] {
        assert_eq!(refused(&resolver, &Head::to(path)).await, (400, "ambiguous-path"), "{path}");
    }
}
