//! Every way in which a request has no tenant has an answer of its own.

use formwork_tenancy::{Isolation, ResolveError, Resolver, TenantId};
use sqlx::{AssertSqlSafe, Connection, Executor};

use super::kit::{Head, ask, refused};
use crate::isolation::database;

#[tokio::test]
async fn each_status_has_its_answer() {
    let db = database().await;
    let slugs = ["provisioning", "active", "suspended", "archived", "deleting", "deleted"];
    for slug in slugs {
        db.tenant(slug, Isolation::Shared).await;
    }
    let options = db.options(formwork_tenancy::local_postgres::LocalRole::Owner).await;
    let mut owner = sqlx::PgConnection::connect_with(&options).await.unwrap();
    for slug in slugs {
        let sql = format!("update platform.tenants set status = '{slug}' where slug = '{slug}'");
        owner.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let tenants = db.connect(formwork_tenancy::Tenants::builder()).await;
    let resolver = Resolver::builder(&tenants).host().token().membership().build().unwrap();
    for (slug, answer) in [
        ("provisioning", (503, "tenant-not-ready")),
        ("suspended", (403, "tenant-suspended")),
        ("archived", (410, "tenant-gone")),
        ("deleting", (410, "tenant-gone")),
        ("deleted", (410, "tenant-gone")),
        ("nobody", (404, "unknown-tenant")),
    ] {
        assert_eq!(refused(&resolver, &Head::host(&format!("{slug}.formwork.test"))).await, answer, "{slug}");
    }
    assert_eq!(ask(&resolver, &Head::host("active.formwork.test")).await.unwrap().tenant().slug(), "active");
    assert_eq!(refused(&resolver, &Head::to("/")).await, (404, "unknown-tenant"));
    assert_eq!(
        refused(&resolver, &Head::to("/").token(TenantId::generate())).await,
        (403, "tenant-mismatch")
    );
    // Of a tenant that is not theirs, a token learns nothing: not that it is suspended.
    let active = tenants.by_slug("active").await.unwrap().unwrap();
    let other = Head::host("suspended.formwork.test").token(active.id());
    let error = ask(&resolver, &other).await.unwrap_err();
    assert!(matches!(error, ResolveError::Mismatch { .. }), "{error}");
    assert!(!error.to_string().contains(&active.id().to_string()), "{error}");
    tenants.close().await;
}

/// A tenant that is over does not keep its members from the one that they have left; alone, it says that it is over.
#[tokio::test]
async fn a_membership_of_what_is_over_counts_when_there_is_no_other() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let ada = db.user(&a, "ada").await.id();
    db.user(&b, "ada").await;
    let bob = db.user(&a, "bob").await.id();
    crate::resolve::as_owner(&db, "update platform.tenants set status = 'archived' where slug = 'a'").await;
    let tenants = db.connect(formwork_tenancy::Tenants::builder()).await;
    let resolver = Resolver::builder(&tenants).membership().build().unwrap();
    assert_eq!(ask(&resolver, &Head::to("/").subject(ada)).await.unwrap().tenant().id(), b.id());
    assert_eq!(refused(&resolver, &Head::to("/").subject(bob)).await, (410, "tenant-gone"));
    crate::resolve::as_owner(&db, "update platform.users set status = 'deactivated'").await;
    let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
    let resolver = Resolver::builder(&fresh).membership().host().build().unwrap();
    for head in [Head::to("/").subject(ada), Head::host("b.formwork.test").subject(ada)] {
        assert_eq!(refused(&resolver, &head).await, (403, "not-a-member"));
    }
    tenants.close().await;
    fresh.close().await;
}

#[tokio::test]
async fn a_registry_out_of_reach_is_no_answer() {
    let db = database().await;
    db.tenant("a", Isolation::Shared).await;
    let tenants = db.connect(formwork_tenancy::Tenants::builder()).await;
    let resolver = Resolver::builder(&tenants).host().membership().build().unwrap();
    tenants.close().await;
    for head in [Head::host("a.formwork.test"), Head::to("/").subject(uuid::Uuid::now_v7())] {
        let error = ask(&resolver, &head).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (503, "unavailable"), "{error}");
        assert_eq!(error.public_detail(), "the tenant could not be looked up: try again later");
    }
}
