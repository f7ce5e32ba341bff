//! Conditions and expiries in Postgres: stored, read back, replaced, and seen by every node.

use std::sync::Arc;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use formwork_authz::{
    Authz, Clock, Context, Decision, Filter, Object, Relationship, Schema, Subject, WriteError, rel,
};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, TenantTx};
use serde_json::{Map, json};

const SCHEMA: &str = "
    use expiration
    definition user {}
    caveat by_day(hour int) { hour >= 8 && hour < 18 }
    definition rfi {
        relation viewer: user | user with by_day | user with expiration
        permission view = viewer
    }";

#[derive(Debug)]
struct Stopped(Mutex<DateTime<Utc>>);

impl Clock for Stopped {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

async fn views(authz: &Authz, tx: &mut TenantTx, context: &Context) -> Decision {
    authz.check_in(tx, context, &Subject::new("user", "anna"), "view", &Object::new("rfi", 7)).await.unwrap()
}

#[tokio::test]
async fn conditions_and_expiries_are_stored_replaced_and_followed() {
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    let tenant = db.tenant("acme", Isolation::Shared).await;
    let begin = || async { db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap() };
    let schema = Arc::new(Schema::parse(SCHEMA).unwrap());
    let clock = Arc::new(Stopped(Mutex::new(Utc::now())));
    let writer = Authz::new(Arc::clone(&schema)).with_clock(1 << 20, clock.clone());
    let reader = Authz::new(schema).with_clock(1 << 20, clock.clone());
    let (plain, noon) = (rel!("rfi:7#viewer@user:anna"), Context::new().with("hour", 12));
    let night = Context::new().with("hour", 23);

    let mut tx = begin().await;
    assert_eq!(views(&reader, &mut tx, &noon).await, Decision::Denied);
    tx.commit().await.unwrap();

    // With a condition: the transaction sees it, and another node after the commit.
    let by_day = plain.clone().with_condition("by_day", Map::new());
    let mut tx = begin().await;
    assert_eq!(views(&writer, &mut tx, &noon).await, Decision::Denied);
    writer.touch(&mut tx, &by_day).await.unwrap();
    assert_eq!(views(&writer, &mut tx, &noon).await, Decision::Allowed);
    assert_eq!(views(&writer, &mut tx, &night).await, Decision::Denied);
    assert_eq!(
        writer.read(&mut tx, &Filter::of_object(plain.object())).await.unwrap(),
        std::slice::from_ref(&by_day)
    );
    tx.commit().await.unwrap();
    let mut tx = begin().await;
    assert_eq!(views(&reader, &mut tx, &noon).await, Decision::Allowed);
    assert!(views(&reader, &mut tx, &Context::new()).await.is_conditional());
    let denied =
        reader.require(&mut tx, &Subject::new("user", "anna"), "view", plain.object()).await.unwrap_err();
    assert!(denied.to_string().ends_with("without values for hour"), "{denied}");

    // Another context, then an expiry instead: one row all the time.
    let at_three = plain.clone().with_condition("by_day", Map::from_iter([("hour".into(), json!(3))]));
    writer.touch(&mut tx, &at_three).await.unwrap();
    assert_eq!(views(&writer, &mut tx, &noon).await, Decision::Denied);
    let until = clock.now() + TimeDelta::hours(1);
    let expiring = plain.clone().expiring_at(until);
    writer.touch_many(&mut tx, &[at_three.clone(), expiring.clone()]).await.unwrap();
    let stored: Vec<Relationship> = writer.read(&mut tx, &Filter::of_object(plain.object())).await.unwrap();
    assert_eq!(stored, std::slice::from_ref(&expiring));
    tx.commit().await.unwrap();
    let mut tx = begin().await;
    assert_eq!(views(&reader, &mut tx, &night).await, Decision::Allowed);
    let exists = writer.create(&mut tx, &plain).await.unwrap_err();
    assert!(matches!(exists, WriteError::Exists(_)), "{exists}");
    // That nothing was written changed nothing of what is seen.
    *clock.0.lock().unwrap() = until;
    assert_eq!(views(&reader, &mut tx, &noon).await, Decision::Denied);
    assert_eq!(views(&writer, &mut tx, &noon).await, Decision::Denied);
    tx.commit().await.unwrap();

    // The database's clock decides what may be created anew.
    let mut tx = begin().await;
    writer.touch(&mut tx, &plain.clone().expiring_at(Utc::now() - TimeDelta::hours(1))).await.unwrap();
    writer.create(&mut tx, &plain).await.unwrap();
    assert_eq!(views(&writer, &mut tx, &night).await, Decision::Allowed);
    writer.delete(&mut tx, &by_day).await.unwrap();
    assert_eq!(views(&writer, &mut tx, &noon).await, Decision::Denied);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn what_has_no_place_is_refused_with_a_reason() {
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    let tenant = db.tenant("acme", Isolation::Shared).await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
    let plain = rel!("rfi:7#viewer@user:anna");
    for (relationship, reason) in [
        (plain.clone().with_condition("by_night", Map::new()), "unknown condition `by_night`"),
        (
            plain.clone().with_condition("by_day", Map::new()).expiring_at(Utc::now()),
            "`rfi#viewer` does not hold such a subject with the condition `by_day` and with an expiry",
        ),
        (
            plain.clone().with_condition("by_day", Map::from_iter([("minute".into(), json!(1))])),
            "`minute` is not one of its parameters",
        ),
        (
            plain.with_condition("by_day", Map::from_iter([("hour".into(), json!("noon"))])),
            "parameter `hour` must be an integer of 64 bits",
        ),
    ] {
        let error = authz.touch(&mut tx, &relationship).await.unwrap_err();
        assert!(error.to_string().ends_with(reason), "{error}");
    }
    tx.rollback().await.unwrap();
}
