//! Sources that name a tenant agree, and the answer says who named it.

use formwork_tenancy::{
    Actor, InvalidResolver, Isolation, NewApiKey, ResolveError, Resolver, Source, TenantId, Tenants,
    TrustedCaller, TrustedProxy,
};
use http::{HeaderName, header::AUTHORIZATION};
use proptest::{prelude::*, test_runner::TestRunner};

use super::kit::{Head, ask, refused};
use crate::isolation::database;

const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Every source but the static one.
fn all(tenants: &Tenants) -> Resolver {
    Resolver::builder(tenants)
        .host()
        .token()
        .path("/t")
        .header(X_TENANT)
        .api_key(X_API_KEY)
        .membership()
        .shared_host("api.formwork.test")
        .build()
        .unwrap()
}

/// All ways to name one tenant, each alone and together with others: the one who is named is found, and whoever
/// disagrees is refused. The oracle is the set of tenants that were named.
#[tokio::test]
async fn whoever_names_a_tenant_must_agree_and_is_recorded() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let mut keys = Vec::new();
    for tenant in [&a, &b] {
        let new = NewApiKey::new("test", &Actor::system("test"));
        keys.push(db.control().create_api_key(tenant.id(), &new).await.unwrap().1);
    }
    let members = [db.user(&a, "ada").await.id(), db.user(&b, "bob").await.id()];
    let resolver = all(db.tenants());
    let (ids, slugs) = ([a.id(), b.id()], ["a", "b"]);
    let choice = prop::option::of(0..2_usize);
    let strategy = (choice.clone(), choice.clone(), choice.clone(), choice.clone(), choice.clone(), choice);
    let runtime = tokio::runtime::Handle::current();
    let sampled = tokio::task::spawn_blocking(move || {
        let config =
            ProptestConfig::with_cases(if std::env::var_os("FORMWORK_LONG").is_some() { 3_000 } else { 150 });
        TestRunner::new(config).run(&strategy, |(host, token, path, header, key, member)| {
            let mut head = match path {
                Some(n) => Head::to(&format!("/t/{}/x?y=1", slugs[n])),
                None => Head::to("/x?y=1"),
            };
            head = head.header("host", &format!("{}.formwork.test", host.map_or("api", |n: usize| slugs[n])));
            let mut said = Vec::new();
            said.extend(host.map(|n| (n, Source::Subdomain)));
            if let Some(n) = token {
                head = head.token(ids[n]);
                said.push((n, Source::Token));
            }
            said.extend(path.map(|n| (n, Source::Path)));
            if let Some(n) = header {
                head = head.header("x-tenant", slugs[n]).with(TrustedCaller);
                said.push((n, Source::Header));
            }
            if let Some(n) = key {
                head = head.header("x-api-key", keys[n].reveal());
                said.push((n, Source::ApiKey));
            }
            if let Some(n) = member {
                head = head.subject(members[n]);
                said.push((n, Source::Membership));
            }
            let answer = runtime.block_on(ask(&resolver, &head));
            match (said.first(), answer) {
                (None, Err(error)) => prop_assert!(matches!(error, ResolveError::Unnamed), "{}", error),
                (Some((first, _)), Ok(found)) => {
                    prop_assert!(said.iter().all(|(n, _)| n == first), "{:?}", said);
                    prop_assert_eq!(found.tenant().id(), ids[*first]);
                    let named_by: Vec<_> = said.iter().map(|(_, source)| *source).collect();
                    prop_assert_eq!(found.named_by(), named_by);
                    prop_assert_eq!(found.rest_of_path(), path.map(|_| "/x"));
                    prop_assert_eq!(found.api_key().is_some(), key.is_some());
                }
                (Some((first, _)), Err(error)) => {
                    prop_assert!(said.iter().any(|(n, _)| n != first), "{:?}: {}", said, error);
                    prop_assert_eq!(error.status(), 403);
                    let outsider = matches!(error, ResolveError::NotAMember | ResolveError::Mismatch { .. });
                    prop_assert!(outsider, "{}", error);
                }
                (None, Ok(found)) => prop_assert!(false, "nobody named {:?}", found),
            }
            Ok(())
        })
    });
    sampled.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_header_is_obeyed_from_a_trusted_caller_alone() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let builder = Resolver::builder(db.tenants()).header(X_TENANT).token();
    let (lenient, strict) = (builder.clone().build().unwrap(), builder.refuse_untrusted().build().unwrap());
    for value in ["b", &b.id().to_string()] {
        let untrusted = Head::to("/").header("x-tenant", value).token(a.id());
        assert_eq!(ask(&lenient, &untrusted).await.unwrap().tenant().id(), a.id(), "ignored");
        assert_eq!(refused(&strict, &untrusted).await, (403, "untrusted-header"));
        // Being behind a proxy, as everybody is, does not make a trusted caller.
        let proxied = Head::to("/").header("x-tenant", value).with(TrustedProxy);
        assert_eq!(refused(&lenient, &proxied).await, (404, "unknown-tenant"));
        for resolver in [&lenient, &strict] {
            let found =
                ask(resolver, &Head::to("/").header("x-tenant", value).with(TrustedCaller)).await.unwrap();
            assert_eq!((found.tenant().id(), found.named_by()), (b.id(), &[Source::Header][..]));
        }
    }
    for wrong in ["", "B", "b ", "nobody", "www", "../b", &TenantId::generate().to_string()] {
        let head = Head::to("/").header("x-tenant", wrong).with(TrustedCaller);
        assert_eq!(refused(&lenient, &head).await, (404, "unknown-tenant"), "{wrong}");
    }
    let twice = Head::to("/").header("x-tenant", "a").header("x-tenant", "b").with(TrustedCaller);
    assert_eq!(refused(&lenient, &twice).await, (404, "unknown-tenant"));
}

#[tokio::test]
async fn a_forwarded_host_counts_from_a_trusted_proxy_alone() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let builder = Resolver::builder(db.tenants()).host();
    let deaf = builder.clone().build().unwrap();
    let hearing = builder.clone().forwarded_host().build().unwrap();
    let strict = builder.forwarded_host().refuse_untrusted().build().unwrap();
    let forwarded = || Head::host("a.formwork.test").header("x-forwarded-host", "b.formwork.test");
    let tenant = async |resolver, head: Head| ask(resolver, &head).await.unwrap().tenant().id();
    assert_eq!(tenant(&deaf, forwarded().with(TrustedProxy)).await, a.id(), "not asked for");
    assert_eq!(tenant(&hearing, forwarded()).await, a.id(), "a stranger's");
    assert_eq!(tenant(&hearing, forwarded().with(TrustedCaller)).await, a.id(), "another kind of trust");
    assert_eq!(tenant(&hearing, forwarded().with(TrustedProxy)).await, b.id());
    assert_eq!(tenant(&hearing, Head::host("a.formwork.test").with(TrustedProxy)).await, a.id());
    assert_eq!(tenant(&strict, forwarded().with(TrustedProxy)).await, b.id());
    assert_eq!(refused(&strict, &forwarded()).await, (403, "untrusted-header"));
    let twice = forwarded().header("x-forwarded-host", "a.formwork.test").with(TrustedProxy);
    assert_eq!(refused(&hearing, &twice).await, (400, "ambiguous-host"));
    let list =
        Head::to("/").header("x-forwarded-host", "b.formwork.test, a.formwork.test").with(TrustedProxy);
    assert_eq!(refused(&hearing, &list).await, (400, "ambiguous-host"));
}

#[tokio::test]
async fn what_is_required_must_have_answered() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let resolver = Resolver::builder(db.tenants())
        .host()
        .token()
        .api_key(AUTHORIZATION)
        .require(Source::HOST)
        .require([Source::Token, Source::ApiKey])
        .build()
        .unwrap();
    let key = NewApiKey::new("test", &Actor::system("test"));
    let (made, secret) = db.control().create_api_key(a.id(), &key).await.unwrap();
    assert_eq!(refused(&resolver, &Head::host("a.formwork.test")).await, (401, "unauthenticated"));
    assert_eq!(refused(&resolver, &Head::to("/").token(a.id())).await, (404, "unknown-tenant"));
    let both = ask(&resolver, &Head::host("a.formwork.test").token(a.id())).await.unwrap();
    assert_eq!(both.named_by(), [Source::Subdomain, Source::Token]);
    let bearer = |text: &str| Head::host("a.formwork.test").header("authorization", text);
    let by_key = ask(&resolver, &bearer(&format!("bearer {}", secret.reveal()))).await.unwrap();
    assert_eq!(by_key.named_by(), [Source::Subdomain, Source::ApiKey]);
    assert_eq!(by_key.actor(), Some(Actor::ApiKey(made.id())));
    // Somebody else's token, for somebody else to verify.
    assert_eq!(refused(&resolver, &bearer("Bearer eyJhbGciOi.x.y")).await, (401, "unauthenticated"));
    assert_eq!(refused(&resolver, &bearer("Bearer fwk_0_1")).await, (401, "invalid-api-key"));
}

#[tokio::test]
async fn a_deployment_of_one_tenant_needs_no_name() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let resolver = Resolver::builder(db.tenants()).always("a").token().build().unwrap();
    for host in ["a.formwork.test", "b.formwork.test", "10.0.0.1:8080", "a_b"] {
        let found = ask(&resolver, &Head::host(host)).await.unwrap();
        assert_eq!((found.tenant().id(), found.named_by()), (a.id(), &[Source::Static][..]), "{host}");
    }
    assert_eq!(refused(&resolver, &Head::to("/").token(b.id())).await, (403, "tenant-mismatch"));
    let nobody = Resolver::builder(db.tenants()).always("nobody").build().unwrap();
    assert_eq!(refused(&nobody, &Head::to("/")).await, (404, "unknown-tenant"));
}

#[tokio::test]
async fn a_membership_names_the_tenant_when_it_is_the_only_one() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let resolver = Resolver::builder(db.tenants()).host().membership().build().unwrap();
    let (ada, bob) = (db.user(&a, "ada").await.id(), db.user(&b, "bob").await.id());
    db.user(&b, "ada").await;
    let nobody = db.control().ensure_user("eve@formwork.test", "Eve", None).await.unwrap().id;

    let found = ask(&resolver, &Head::to("/").subject(bob)).await.unwrap();
    assert_eq!((found.tenant().id(), found.named_by()), (b.id(), &[Source::Membership][..]));
    let several = ask(&resolver, &Head::to("/").subject(ada)).await.unwrap_err();
    assert_eq!((several.status().as_u16(), several.code()), (403, "choose-tenant"));
    let text = several.to_string();
    assert!(text.contains("choose one") && !text.contains(&a.id().to_string()), "{text}");
    for (host, tenant) in [("a.formwork.test", &a), ("b.formwork.test", &b)] {
        let found = ask(&resolver, &Head::host(host).subject(ada)).await.unwrap();
        assert_eq!(found.tenant().id(), tenant.id());
        assert_eq!(found.named_by(), [Source::Subdomain, Source::Membership]);
        assert_eq!(refused(&resolver, &Head::host(host).subject(nobody)).await, (403, "not-a-member"));
    }
    assert_eq!(refused(&resolver, &Head::host("a.formwork.test").subject(bob)).await, (403, "not-a-member"));
    assert_eq!(refused(&resolver, &Head::to("/").subject(nobody)).await, (403, "not-a-member"));
    assert_eq!(refused(&resolver, &Head::to("/").subject(uuid::Uuid::now_v7())).await, (403, "not-a-member"));
}

#[tokio::test]
async fn rules_that_cannot_be_kept_are_refused() {
    let db = database().await;
    let new = || Resolver::builder(db.tenants());
    let refused = |builder: formwork_tenancy::ResolverBuilder| builder.build().unwrap_err();
    assert_eq!(refused(new()), InvalidResolver::NoSource);
    assert_eq!(refused(new().host().domain()), InvalidResolver::Twice(Source::Domain));
    assert_eq!(refused(new().host().require([Source::Token])), InvalidResolver::NotInChain(Source::Token));
    assert_eq!(refused(new().host().require([])), InvalidResolver::NothingRequired);
    for prefix in ["t", "//t", "/t/../x", "/t?", "/ä", "/t//"] {
        assert_eq!(refused(new().path(prefix)), InvalidResolver::PathPrefix(prefix.to_owned()));
    }
    for prefix in ["", "/", "/t", "/t/", "/api/v1/t"] {
        new().path(prefix).build().unwrap();
    }
    assert_eq!(refused(new().host().shared_host("a b")), InvalidResolver::SharedHost("a b".to_owned()));
}
