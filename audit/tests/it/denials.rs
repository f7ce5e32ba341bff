//! Denials are summed, bounded, and written beside the requests that they ended.

use formwork_audit::{Audit, Denials, Event, Filter, Outcome, StoredEvent};
use formwork_tenancy::{Actor, Isolation, Tenant, testing::TestDatabase};
use uuid::Uuid;

use super::database;

async fn denied(db: &TestDatabase, tenant: &Tenant) -> Vec<StoredEvent> {
    let mut tx = db.tenants().begin_read(&db.session(tenant, Actor::system("test"))).await.unwrap();
    let filter = Filter { outcome: Some(Outcome::Denied), ..Filter::default() };
    let mut events = Audit::new().list(&mut tx, &filter, None, 200).await.unwrap().events;
    events.sort_by(|a, b| a.reason.cmp(&b.reason));
    events
}

#[tokio::test]
async fn repeats_are_one_event_with_their_number_though_the_request_wrote_nothing() {
    let db = database().await;
    let (tenant, other) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let denials = Denials::new(Audit::new());
    let eve = db.session(&tenant, Actor::user(Uuid::from_u128(1))).request_id("r-1");
    // The request that is denied is rolled back with all that it had written.
    let mut tx = db.tenants().begin(&eve).await.unwrap();
    Audit::new().record(&mut tx, Event::new("project.renamed")).await.unwrap();
    for n in 0..1_000 {
        denials.note(&eve, "edit", ("project", Uuid::from_u128(n % 20)));
    }
    drop(tx);
    denials.note(&eve, "delete", ("project", Uuid::nil()));
    denials.note(&db.session(&other, Actor::user(Uuid::nil())), "edit", ("task", Uuid::nil()));
    denials.flush(db.tenants()).await;

    let events = denied(&db, &tenant).await;
    let counts: Vec<u64> =
        events.iter().map(|event| event.after.as_ref().unwrap()["count"].as_u64().unwrap()).collect();
    // A minute that ends meanwhile makes two of one.
    assert!((2..=4).contains(&events.len()) && counts.iter().sum::<u64>() == 1_001, "{events:?}");
    for event in &events {
        assert_eq!(
            (event.action.as_str(), event.actor_id.as_str()),
            ("access.denied", &*Uuid::from_u128(1).to_string())
        );
        assert_eq!(event.request_id.as_deref(), Some("r-1"));
    }
    assert_eq!(events.last().unwrap().reason.as_deref(), Some("no `edit`"));
    assert_eq!(events.last().unwrap().targets.as_array().unwrap().len(), 10);
    assert_eq!(denied(&db, &other).await.len(), 1);
    let counts = denials.counts();
    assert_eq!((counts.noted, counts.dropped), (1_002, 0));
    denials.flush(db.tenants()).await;
    assert_eq!(denials.counts().written, counts.written, "written once");
}

#[tokio::test]
async fn what_finds_no_place_or_no_database_is_counted_and_waits_for_nobody() {
    let db = database().await;
    let (tenant, other) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let denials = Denials::new(Audit::new()).bounds(6, 4);
    let session = |tenant: &Tenant, n| db.session(tenant, Actor::user(Uuid::from_u128(n)));
    for n in 0..10 {
        denials.note(&session(&tenant, n), "edit", ("project", Uuid::nil()));
    }
    assert_eq!(denials.counts().dropped, 6, "one tenant does not take every place");
    for n in 0..10 {
        denials.note(&session(&other, n), "edit", ("project", Uuid::nil()));
    }
    assert_eq!(denials.counts().dropped, 6 + 8);
    denials.flush(db.tenants()).await;
    assert_eq!((denied(&db, &tenant).await.len(), denied(&db, &other).await.len()), (4, 2));
    // Places are free again.
    denials.note(&session(&tenant, 99), "edit", ("project", Uuid::nil()));
    assert_eq!(denials.counts().dropped, 14);

    db.tenants().close().await;
    for _ in 0..3 {
        denials.flush(db.tenants()).await;
    }
    let counts = denials.counts();
    assert_eq!((counts.written, counts.dropped), (6, 15), "tried three times");
}
