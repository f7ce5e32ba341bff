//! Integration tests, on a real Postgres.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "../../../examples/check-audit-proof/src/check.rs"]
mod check;
mod copy;
mod denials;
mod event;
mod inclusion;
mod offline;
mod personal;
mod reading;
#[path = "../../../tenancy/tests/it/redis_server.rs"]
#[expect(dead_code, reason = "not every test of it is needed here")]
mod redis_server;
mod retention;
mod seal;
mod sinks;
mod tamper;
mod trail;
#[path = "../../../examples/check-audit-proof/src/whole.rs"]
mod whole;

use std::time::Duration;

use formwork_audit::{Audit, Event, Filter, Outcome, Target};
use formwork_migrations::{AUDIT, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, NewAdministratorGrant, Tenant,
    lifecycle::{Lifecycle, Order},
    local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::Connection;
use uuid::Uuid;

async fn database() -> TestDatabase {
    TestDatabase::new(&[TENANCY, AUDIT]).await
}

async fn record(db: &TestDatabase, tenant: &Tenant, events: Vec<Event>) {
    let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
    Audit::new().record_many(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();
}

async fn actions(db: &TestDatabase, tenant: &Tenant, filter: &Filter) -> Vec<String> {
    let mut tx = db.tenants().begin_read(&db.session(tenant, Actor::system("test"))).await.unwrap();
    let page = Audit::new().list(&mut tx, filter, None, 100).await.unwrap();
    page.events.into_iter().map(|event| event.action).collect()
}

#[tokio::test]
async fn an_event_is_stored_with_its_transaction_or_not_at_all() {
    let db = database().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = db.tenant(isolation.as_str(), isolation).await;
        let user = Uuid::now_v7();
        let session = db.session(&tenant, Actor::user(user)).request_id("r-7").user_agent("curl");
        let mut tx = db.tenants().begin(&session).await.unwrap();
        let event = Event::new("rfi.assigned").target(("rfi", Uuid::nil())).outcome(Outcome::Success);
        let id = Audit::new().record(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();

        let mut dropped = db.tenants().begin(&session).await.unwrap();
        Audit::new().record(&mut dropped, Event::new("rfi.closed")).await.unwrap();
        drop(dropped);

        let mut tx = db.tenants().begin_read(&session).await.unwrap();
        let page = Audit::new().list(&mut tx, &Filter::default(), None, 10).await.unwrap();
        assert_eq!(page.events.len(), 1);
        let stored = page.events.first().unwrap();
        assert_eq!((stored.id, stored.actor_type.as_str()), (id, "user"));
        assert_eq!(stored.actor_id, user.to_string());
        assert_eq!(stored.request_id.as_deref(), Some("r-7"));
        assert_eq!(stored.targets, serde_json::json!([{"type": "rfi", "id": Uuid::nil()}]));
    }
}

#[tokio::test]
async fn pages_cover_the_trail_once() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    record(&db, &tenant, (0..25).map(|n| Event::new(format!("step.n{n}"))).collect()).await;
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let mut tx = db.tenants().begin_read(&db.session(&tenant, Actor::system("test"))).await.unwrap();
        let page = Audit::new().list(&mut tx, &Filter::default(), cursor, 10).await.unwrap();
        seen.extend(page.events.into_iter().map(|event| event.action));
        match page.next {
            Some(next) => cursor = Some(next.to_string().parse().unwrap()),
            None => break,
        }
    }
    let expected: Vec<String> = (0..25).rev().map(|n| format!("step.n{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn filters_and_tenants_hold() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let about = |id: u128| ("rfi", Uuid::from_u128(id));
    record(
        &db,
        &a,
        vec![Event::new("rfi.opened").target(about(1)), Event::new("rfi.closed").target(about(2))],
    )
    .await;
    record(&db, &b, vec![Event::new("rfi.opened").target(about(1))]).await;
    assert_eq!(actions(&db, &a, &Filter::default()).await, ["rfi.closed", "rfi.opened"]);
    let one = Filter { target: Some(Target::from(about(1))), ..Filter::default() };
    assert_eq!(actions(&db, &a, &one).await, ["rfi.opened"]);
    let none = Filter { action: Some("rfi.voided".into()), ..Filter::default() };
    assert_eq!(actions(&db, &b, &none).await, [""; 0]);
}

#[tokio::test]
async fn the_trail_is_append_only_for_every_login() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    record(&db, &tenant, vec![Event::new("rfi.opened")]).await;
    for sql in ["update audit_events set action = 'x.y'", "delete from audit_events", "truncate audit_events"]
    {
        let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{sql}: {error}");

        let mut owner =
            sqlx::PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
        sqlx::query("set search_path = shared").execute(&mut owner).await.unwrap();
        let error = sqlx::query(sql).execute(&mut owner).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn an_action_of_another_form_is_refused() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let error = Audit::new().record(&mut tx, Event::new("Assigned")).await.unwrap_err();
    assert_eq!(error.to_string(), "`Assigned` is no action: write it as `noun.verb`, lower case");
}

/// The tenant reads in its own trail who was there, by what leave and why.
#[tokio::test]
async fn what_an_administrator_does_is_told_with_the_leave_and_its_reason() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let user = db.control().ensure_user("root@example.com", "Root", None).await.unwrap().id;
    let hour = std::time::Duration::from_secs(3_600);
    let grant = NewAdministratorGrant::new(user, tenant.id(), "ticket 4711", &Actor::system("on-call"), hour);
    let grant = db.control().grant_administrator(&grant).await.unwrap();
    let session = db.tenants().administrator_session(grant, user).await.unwrap();
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let events = [Event::new("project.renamed"), Event::new("project.removed").reason("asked for")];
    Audit::new().record_many(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = db.tenants().begin_read(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let stored: Vec<(String, String, String, String)> =
        sqlx::query_as("select action, actor_type, actor_id, reason from audit_events order by action")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let line = |action: &str, reason: String| {
        (action.to_owned(), "administrator".to_owned(), user.to_string(), reason)
    };
    let leave = format!("administrator grant {grant}: ticket 4711");
    assert_eq!(
        stored,
        [
            line("administrator.entered", "ticket 4711".to_owned()),
            line("project.removed", format!("asked for; {leave}")),
            line("project.renamed", leave)
        ]
    );
}

/// What the platform does with a tenant is a line in the tenant's own trail, which the tenant lists like any other.
#[tokio::test]
async fn an_administrator_who_comes_in_stands_in_the_tenants_trail_and_so_does_as_whom() {
    let db = database().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = db.tenant(isolation.as_str(), isolation).await;
        let ada = db.user(&tenant, "ada").await.id();
        let root = db.control().ensure_user("root@example.com", "Root", None).await.unwrap().id;
        let by = Actor::system("on-call");
        let grant =
            NewAdministratorGrant::new(root, tenant.id(), "ticket 4711", &by, Duration::from_secs(60));
        let grant = db.control().grant_administrator(&grant.impersonating(ada)).await.unwrap();
        let session = db.tenants().administrator_session(grant, root).await.unwrap();
        let mut tx = db.tenants().begin(&session.request_id("r-3")).await.unwrap();
        Audit::new().record(&mut tx, Event::new("rfi.closed").reason("as asked")).await.unwrap();
        tx.commit().await.unwrap();

        let mut tx = db.tenants().begin_read(&db.session(&tenant, Actor::system("test"))).await.unwrap();
        let page = Audit::new().list(&mut tx, &Filter::default(), None, 10).await.unwrap();
        let [done, came] = page.events.as_slice() else { panic!("{:?}", page.events) };
        assert_eq!((done.actor_type.as_str(), done.actor_id.clone()), ("user", ada.to_string()));
        assert_eq!(done.impersonator, Some(format!("administrator:{root}")));
        assert_eq!(done.reason, Some(format!("as asked; administrator grant {grant}: ticket 4711")));
        assert_eq!(came.action, "administrator.impersonated");
        assert_eq!((came.actor_type.as_str(), came.actor_id.clone()), ("administrator", root.to_string()));
        assert_eq!(came.targets, serde_json::json!([{"type": "user", "id": ada}]));
        assert_eq!((came.reason.as_deref(), came.request_id.as_deref()), (Some("ticket 4711"), Some("r-3")));
        let after = came.after.clone().unwrap();
        assert_eq!(after["grant"], grant.to_string());
        assert!(after["until"].is_string(), "{after}");
        // Searched by whom it was about, the tenant finds it.
        let about =
            Filter { target: Some(Target { kind: "user".into(), id: ada.to_string() }), ..Filter::default() };
        let page = Audit::new().list(&mut tx, &about, None, 10).await.unwrap();
        assert_eq!(page.events.len(), 1);
    }
}

#[tokio::test]
async fn a_change_of_the_tenants_status_stands_in_its_trail() {
    let db = database().await;
    let tenant = db.tenant("acme", Isolation::Schema).await;
    let life = Lifecycle::new(db.control().clone());
    let order = Order::new(&Actor::system("billing"), "three invoices are unpaid");
    life.suspend(tenant.id(), &order).await.unwrap();
    life.activate(tenant.id(), &Order::new(&Actor::system("billing"), "paid")).await.unwrap();
    assert_eq!(actions(&db, &tenant, &Filter::default()).await, ["tenant.activated", "tenant.suspended"]);
}
