//! What an event can say, and what becomes of one that cannot be written.

use formwork_audit::{
    Action, Actions, Audit, AuditError, Buffer, Event, FieldRules, Filter, Outcome, StoredEvent,
};
use formwork_tenancy::{Actor, Isolation, Tenant, TenantTx, testing::TestDatabase};
use serde_json::json;
use uuid::Uuid;

const RENAMED: Action = Action::new("project.renamed").fields(FieldRules::all().masking(&["budget"]));
const VIEWED: Action = Action::new("project.viewed").fail_open();
const ACTIONS: Actions = Actions::new(&[RENAMED, VIEWED]);

async fn stored(db: &TestDatabase, tenant: &Tenant, filter: &Filter) -> Vec<StoredEvent> {
    let mut tx = begin(db, tenant).await;
    Audit::new().list(&mut tx, filter, None, 100).await.unwrap().events
}

async fn begin(db: &TestDatabase, tenant: &Tenant) -> TenantTx {
    db.tenants().begin(&db.session(tenant, Actor::ApiKey(Uuid::from_u128(7)))).await.unwrap()
}

#[tokio::test]
async fn everything_that_an_event_says_is_stored() {
    let db = super::database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (admin, person) = (Actor::user(Uuid::from_u128(1)), Actor::user(Uuid::from_u128(2)));
    let before = json!({"name": "Old", "budget": 1, "same": true});
    let after = json!({"name": "New", "budget": 2, "same": true});
    let event = Event::of(&RENAMED)
        .target(("project", Uuid::from_u128(3)))
        .target(("portfolio", Uuid::from_u128(4)))
        .diff(&before, &after)
        .unwrap()
        .impersonated_by(&admin)
        .on_behalf_of(&person)
        .trace_id("4bf92f3577b34da6a3ce929d0e0e4736")
        .outcome(Outcome::Failure);
    let mut tx = begin(&db, &tenant).await;
    let audit = Audit::new().actions(ACTIONS).region("eu-west");
    audit.record(&mut tx, event).await.unwrap();
    tx.commit().await.unwrap();

    let of = |outcome| Filter { outcome: Some(outcome), ..Filter::default() };
    assert!(stored(&db, &tenant, &of(Outcome::Success)).await.is_empty());
    let events = stored(&db, &tenant, &of(Outcome::Failure)).await;
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*event.actor_type, &*event.actor_id), ("api_key", &*Uuid::from_u128(7).to_string()));
    assert_eq!(event.targets.as_array().unwrap().len(), 2);
    assert_eq!(event.before, Some(json!({"name": "Old", "budget": "***"})));
    assert_eq!(event.after, Some(json!({"name": "New", "budget": "***"})));
    assert_eq!(event.impersonator, Some(admin.to_string()));
    assert_eq!(event.on_behalf_of, Some(person.to_string()));
    assert_eq!(event.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(event.region.as_deref(), Some("eu-west"));
}

#[tokio::test]
async fn an_action_that_is_not_declared_is_refused() {
    let db = super::database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let mut tx = begin(&db, &tenant).await;
    let audit = Audit::new().actions(ACTIONS);
    let refused = audit.record(&mut tx, Event::new("project.removed")).await;
    assert!(matches!(refused, Err(AuditError::UnknownAction { action }) if action == "project.removed"));
}

#[tokio::test]
async fn an_attempt_that_is_repeated_is_told_once() {
    let db = super::database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let other = db.tenant("b", Isolation::Shared).await;
    let audit = Audit::new();
    let event = || Event::new("payment.made").idempotency_key("order 7");
    let mut tx = begin(&db, &tenant).await;
    let first = audit.record(&mut tx, event()).await.unwrap();
    assert_eq!(audit.record(&mut tx, event()).await.unwrap(), first, "in the same transaction");
    tx.commit().await.unwrap();
    let mut undone = begin(&db, &other).await;
    audit.record(&mut undone, event()).await.unwrap();
    drop(undone);

    let mut tx = begin(&db, &tenant).await;
    let events = [event(), event(), Event::new("payment.asked"), event().idempotency_key("order 8")];
    audit.record_many(&mut tx, &events).await.unwrap();
    assert_eq!(audit.record(&mut tx, event()).await.unwrap(), first);
    tx.commit().await.unwrap();
    let told = |events: Vec<StoredEvent>| {
        let mut actions: Vec<String> = events.into_iter().map(|event| event.action).collect();
        actions.sort();
        actions
    };
    let expected = ["payment.asked", "payment.made", "payment.made"];
    assert_eq!(told(stored(&db, &tenant, &Filter::default()).await), expected);
    // What was undone is told when it is done, and a key is the tenant's own.
    let mut tx = begin(&db, &other).await;
    assert_ne!(audit.record(&mut tx, event()).await.unwrap(), first);
    tx.commit().await.unwrap();
    assert_eq!(told(stored(&db, &other, &Filter::default()).await), ["payment.made"]);
}

/// What no text of Postgres can hold.
fn unwritable(action: &Action) -> Event {
    Event::of(action).reason("\0")
}

#[tokio::test]
async fn an_action_that_fails_open_lets_the_work_go_on_and_one_that_fails_closed_does_not() {
    let db = super::database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let audit = Audit::new().actions(ACTIONS);
    let mut tx = begin(&db, &tenant).await;
    let mut buffer = Buffer::new();
    for event in [Event::of(&RENAMED), unwritable(&VIEWED), Event::of(&RENAMED)] {
        buffer.push(event);
    }
    assert_eq!(buffer.len(), 3);
    buffer.flush(&audit, &mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((stored(&db, &tenant, &Filter::default()).await.len(), audit.dropped()), (2, 1));

    let mut tx = begin(&db, &tenant).await;
    assert!(matches!(audit.record(&mut tx, unwritable(&RENAMED)).await, Err(AuditError::Storage(_))));
    assert!(tx.commit().await.is_err(), "nothing is committed without its event");
    assert_eq!((stored(&db, &tenant, &Filter::default()).await.len(), audit.dropped()), (2, 1));
}
