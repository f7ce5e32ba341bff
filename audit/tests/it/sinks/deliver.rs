//! What arrives, in which order, and what becomes of what does not.

use std::time::Duration;

use formwork_audit::{
    Audit, Event, Outcome,
    sink::{DeadLetters, Deliverer, EventRule, Retry, SendError, SinkFilter},
};
use formwork_tenancy::{
    Actor, HomePlace, Isolation, Prune,
    lifecycle::{Lifecycle, Order},
};
use futures::FutureExt;

use super::kit::{Hands, Kept, followed, recorded, refused, unavailable};
use crate::database;

#[tokio::test]
async fn what_was_committed_arrives_once_and_what_was_rolled_back_never() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    recorded(&db, &a, &["step.before"]).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;

    let mut expected = recorded(&db, &a, &["step.one", "step.two"]).await;
    let mut dropped = db.tenants().begin(&db.session(&a, Actor::system("test"))).await.unwrap();
    Audit::new().record(&mut dropped, Event::new("step.dropped")).await.unwrap();
    drop(dropped);
    expected.extend(recorded(&db, &b, &["step.three"]).await);
    // Whoever writes, and however.
    let mut tx = db.tenants().begin(&db.session(&b, Actor::system("test"))).await.unwrap();
    sqlx::query(
        "insert into audit_events (id, actor_type, actor_id, action) values ($1, 'user', 'x', 'step.raw')",
    )
    .bind(uuid::Uuid::from_u128(7))
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    expected.push(uuid::Uuid::from_u128(7));

    assert_eq!(deliverer.run_once().await.unwrap(), 4);
    assert_eq!(sink.events(), expected);
    assert_eq!(deliverer.run_once().await.unwrap(), 0);
    assert_eq!(deliverer.metrics().delivered, 4);
    // What the platform does with a tenant goes out as well.
    let life = Lifecycle::new(db.control().clone());
    life.suspend(a.id(), &Order::new(&Actor::system("billing"), "unpaid")).await.unwrap();
    deliverer.run_once().await.unwrap();
    assert_eq!(sink.actions().last().unwrap(), "tenant.suspended");
}

#[tokio::test]
async fn an_event_arrives_with_all_that_may_leave() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;
    let session =
        db.session(&tenant, Actor::user(uuid::Uuid::from_u128(1))).request_id("r-7").user_agent("curl");
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let event = Event::new("rfi.closed")
        .target(("rfi", uuid::Uuid::from_u128(2)))
        .outcome(Outcome::Denied)
        .reason("not yours")
        .before(serde_json::json!({"state": "open"}));
    let id = event.id();
    Audit::new().region("eu").record(&mut tx, event).await.unwrap();
    tx.commit().await.unwrap();
    deliverer.run_once().await.unwrap();

    let [message] = &sink.messages()[..] else { panic!("{sink:?}") };
    let mut body: serde_json::Value = serde_json::from_str(message.body()).unwrap();
    assert!(body.as_object_mut().unwrap().remove("at").unwrap().is_string());
    assert_eq!(
        body,
        serde_json::json!({
            "tenant": tenant.id().as_uuid(), "id": id, "actor_type": "user", "actor_id": uuid::Uuid::from_u128(1),
            "action": "rfi.closed", "targets": [{"type": "rfi", "id": uuid::Uuid::from_u128(2)}],
            "outcome": "denied", "reason": "not yours", "before": {"state": "open"}, "request_id": "r-7",
            "user_agent": "curl", "region": "eu",
        })
    );
    assert!(!message.body().contains('\n'));
}

/// A transaction that took its place early and commits late; ids and times would have passed it by.
#[tokio::test]
async fn a_transaction_that_commits_late_is_not_missed() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;
    let mut late = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let event = Audit::new().record(&mut late, Event::new("step.late")).await.unwrap();
    recorded(&db, &tenant, &["step.early"]).await;
    deliverer.run_once().await.unwrap();
    assert_eq!(sink.actions(), ["step.early"]);
    late.commit().await.unwrap();
    deliverer.run_once().await.unwrap();
    assert_eq!(sink.events().last(), Some(&event));
    assert_eq!(sink.events().len(), 2);
}

#[tokio::test]
async fn what_was_taken_and_not_confirmed_comes_again_with_the_same_identity() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    followed(&db, &relay, "test", &sink).await;
    let events = recorded(&db, &tenant, &["step.one", "step.two", "step.three"]).await;
    // Two have arrived; whoever sends dies while it waits to send the third.
    let waits = Duration::from_secs(3_600);
    sink.answers([Err(SendError::unavailable("away").after(2))]);
    let dying = Deliverer::new(db.tenants(), &relay, "test", sink.clone())
        .retry(Retry::until_taken().pauses(waits, waits));
    let run = tokio::spawn({
        let dying = dying.clone();
        async move { dying.run_once().await }
    });
    while dying.metrics().retried == 0 {
        tokio::task::yield_now().await;
    }
    run.abort();
    assert!(run.await.unwrap_err().is_cancelled());
    assert_eq!(sink.events(), events[..2]);

    let after = Deliverer::new(db.tenants(), &relay, "test", sink.clone());
    // The server has to notice that the connection, and with it the lock, is gone.
    while after.run_once().await.unwrap() == 0 {}
    assert_eq!(sink.events()[2..], events);
}

#[tokio::test]
async fn a_sink_that_is_away_holds_everything_back_in_order_and_is_asked_less_and_less_often() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink, hands) = (db.relay().await, Kept::default(), Hands::at(0));
    let deliverer = followed(&db, &relay, "test", &sink).await.clock(hands.clone());
    let events = recorded(&db, &tenant, &["step.one", "step.two", "step.three"]).await;
    sink.answers((0..9).map(|_| unavailable()));
    let asked = SendError::unavailable("busy").retry_after(Some(Duration::from_secs(7)));
    sink.answers([Ok(()), Err(asked)]);
    deliverer.run_once().await.unwrap();
    assert_eq!(sink.events(), events);
    assert_eq!(hands.slept(), [1, 2, 4, 8, 16, 32, 60, 60, 60, 7]);
    let metrics = deliverer.metrics();
    assert_eq!((metrics.delivered, metrics.retried, metrics.dead), (3, 10, 0));
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter_and_can_be_sent_again() {
    let db = database().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = db.tenant(isolation.as_str(), isolation).await;
        let (relay, sink, hands) = (db.relay().await, Kept::default(), Hands::at(0));
        let name = format!("test-{isolation}");
        let deliverer = followed(&db, &relay, &name, &sink).await.clock(hands.clone()).retry(Retry::times(3));
        let events = recorded(&db, &tenant, &["step.one", "step.two", "step.three", "step.four"]).await;
        // The second is refused, the fourth fails three times.
        sink.answers([Err(SendError::refused("too long").after(1))]);
        sink.answers([Err(SendError::unavailable("away").after(1)), unavailable(), unavailable()]);
        deliverer.run_once().await.unwrap();
        assert_eq!(sink.actions(), ["step.one", "step.three"]);
        assert_eq!((deliverer.metrics().dead, hands.slept()), (2, vec![1, 2]));

        let session = db.session(&tenant, Actor::system("test"));
        let mut tx = db.tenants().begin_read(&session).await.unwrap();
        assert_eq!(DeadLetters::count(&mut tx).await.unwrap(), [(name.clone(), 2)]);
        let page = DeadLetters::list(&mut tx, &name, None, 1).await.unwrap();
        let rest = DeadLetters::list(&mut tx, &name, page.next, 1).await.unwrap();
        assert!(rest.next.is_none());
        let told = |letter: &formwork_audit::sink::DeadLetter| {
            (letter.event_id, letter.reason.clone(), letter.attempts)
        };
        assert_eq!(told(&page.letters[0]), (events[1], "the sink refuses the event: too long".to_owned(), 1));
        assert_eq!(told(&rest.letters[0]), (events[3], "the sink cannot be reached: away".to_owned(), 3));
        drop(tx);

        // Once more: the first is refused again and stays, the other goes.
        sink.answers([refused()]);
        let resent = deliverer.resend(&tenant).await.unwrap();
        assert_eq!((resent.sent, resent.refused, resent.gone), (1, 1, 0));
        assert_eq!(sink.events().last(), Some(&events[3]));
        sink.answers([unavailable()]);
        let error = deliverer.resend(&tenant).await.unwrap_err();
        assert_eq!(error.to_string(), "0 sent again, then the sink did not take any more");
        let mut tx = db.tenants().begin(&session).await.unwrap();
        let left = DeadLetters::list(&mut tx, &name, None, 10).await.unwrap().letters;
        assert_eq!((left.len(), left[0].attempts), (1, 3));
        assert!(DeadLetters::forget(&mut tx, &name, events[1]).await.unwrap());
        assert!(!DeadLetters::forget(&mut tx, &name, events[1]).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(deliverer.resend(&tenant).await.unwrap(), Default::default());
    }
}

#[tokio::test]
async fn a_tenants_filter_is_its_own() {
    let db = database().await;
    let [a, b, c] = [
        db.tenant("a", Isolation::Shared).await,
        db.tenant("b", Isolation::Shared).await,
        db.tenant("c", Isolation::Schema).await,
    ];
    let (relay, sink) = (db.relay().await, Kept::default());
    let filter = SinkFilter::new(EventRule::all().actions(["member.*"]))
        .for_tenant(b.id(), EventRule::all())
        .without_tenant(c.id());
    let deliverer = followed(&db, &relay, "test", &sink).await.filter(filter);
    for tenant in [&a, &b, &c] {
        recorded(&db, tenant, &["member.added", "rfi.opened"]).await;
    }
    deliverer.run_once().await.unwrap();
    let arrived: Vec<_> = sink.messages().iter().map(|m| (m.tenant(), m.action().to_owned())).collect();
    let member = "member.added".to_owned();
    assert_eq!(arrived, [(a.id(), member.clone()), (b.id(), member), (b.id(), "rfi.opened".to_owned())]);
    assert_eq!(deliverer.metrics().filtered, 3);
}

#[tokio::test]
async fn of_two_that_deliver_for_one_sink_one_waits() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let deliverer = deliverer.clone();
            tokio::spawn(async move { deliverer.run().await })
        })
        .collect();
    let mut expected = Vec::new();
    for _ in 0..10 {
        expected.extend(recorded(&db, &tenant, &["step.one", "step.two"]).await);
    }
    while sink.events().len() < expected.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(runs.iter().all(|run| !run.is_finished()));
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(sink.events(), expected);
}

#[tokio::test]
async fn the_backlog_says_how_many_wait_and_for_how_long() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = Deliverer::new(db.tenants(), &relay, "test", sink.clone()).page(2);
    assert!(deliverer.backlog().await.unwrap().is_none());
    deliverer.run_once().await.unwrap();
    assert_eq!(deliverer.backlog().await.unwrap().unwrap().rows(), 0);
    recorded(&db, &tenant, &["step.one", "step.two", "step.three"]).await;
    let late = recorded(&db, &tenant, &["step.four"]).await;
    let backlog = deliverer.backlog().await.unwrap().unwrap();
    assert_eq!(backlog.rows(), 4);
    assert!(backlog.oldest().unwrap() < Duration::from_secs(600), "{backlog:?}");
    // One page is confirmed, the next one is waited for.
    let waits = Duration::from_secs(3_600);
    let slow = deliverer.clone().retry(Retry::until_taken().pauses(waits, waits));
    sink.answers([Ok(()), unavailable()]);
    let run = tokio::spawn(async move { slow.run_once().await });
    while deliverer.metrics().retried == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(deliverer.backlog().await.unwrap().unwrap().rows(), 2);
    run.abort();
    let _ = run.await;
    while deliverer.run_once().await.unwrap() == 0 {}
    assert_eq!(sink.events().last(), late.last());
    let backlog = deliverer.backlog().await.unwrap().unwrap();
    assert_eq!((backlog.rows(), backlog.oldest()), (0, None));
    deliverer.forget().await.unwrap();
    assert!(deliverer.backlog().await.unwrap().is_none());
}

async fn waiting(db: &formwork_tenancy::testing::TestDatabase) -> i64 {
    use sqlx::Connection;
    let options = db.options(formwork_tenancy::local_postgres::LocalRole::Superuser).await;
    let mut superuser = sqlx::PgConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("select count(*) from platform.audit_outbox").fetch_one(&mut superuser).await.unwrap()
}

#[tokio::test]
async fn without_a_sink_nothing_is_noted_and_what_all_sinks_have_is_pruned() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    recorded(&db, &tenant, &["step.one"]).await;
    assert_eq!(waiting(&db).await, 0);
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;
    recorded(&db, &tenant, &["step.two"]).await;
    let prune = Prune::new(Deliverer::outbox(), Duration::ZERO);
    assert_eq!(db.control().prune_stream(&prune).await.unwrap().rows(), 0);
    deliverer.run_once().await.unwrap();
    assert_eq!(db.control().prune_stream(&prune).await.unwrap().rows(), 1);
    // Cut before it was read: said, counted, and gone on with.
    recorded(&db, &tenant, &["step.three"]).await;
    db.control().prune_stream(&prune.unread_after(Duration::ZERO)).await.unwrap();
    let run = tokio::spawn({
        let deliverer = deliverer.clone();
        async move { deliverer.run().await }
    });
    while deliverer.metrics().pruned == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    recorded(&db, &tenant, &["step.four"]).await;
    while sink.actions() != ["step.two", "step.four"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    run.abort();
}

#[tokio::test]
async fn a_tenant_that_moves_takes_its_dead_letters_along_and_nothing_comes_again() {
    let db = formwork_tenancy::testing::TestDatabase::with_databases(
        &[formwork_migrations::TENANCY, formwork_migrations::AUDIT],
        &["eu"],
    )
    .await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, sink) = (db.relay().await, Kept::default());
    let relay_there = formwork_tenancy::Relay::builder()
        .connect_with(db.options_of("eu", formwork_tenancy::local_postgres::LocalRole::Relay).await)
        .await
        .unwrap();
    let here = followed(&db, &relay, "test", &sink).await;
    followed(&db, &relay_there, "test", &sink).await;
    sink.answers([refused()]);
    recorded(&db, &tenant, &["step.refused", "step.one"]).await;
    here.run_once().await.unwrap();
    // Written before the move and delivered after it: read where the tenant is now.
    recorded(&db, &tenant, &["step.two"]).await;
    db.control().move_tenant(tenant.id(), &HomePlace::database("eu"), |_| ()).await.unwrap();
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    // A handle that remembers nothing of before.
    let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
    let moved = fresh.by_id(tenant.id()).await.unwrap().unwrap();
    recorded(&db, &moved, &["step.three"]).await;
    let here = Deliverer::new(&fresh, &relay, "test", sink.clone());
    let there = Deliverer::new(&fresh, &relay_there, "test", sink.clone());
    here.run_once().await.unwrap();
    there.run_once().await.unwrap();
    assert_eq!(sink.actions(), ["step.one", "step.two", "step.three"]);
    assert_eq!(there.resend(&moved).await.unwrap().sent, 1);
    assert_eq!(sink.actions().last().unwrap(), "step.refused");
}

#[tokio::test]
async fn events_of_a_tenant_that_is_gone_are_passed_by() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Schema).await, db.tenant("b", Isolation::Shared).await);
    let (relay, sink) = (db.relay().await, Kept::default());
    let deliverer = followed(&db, &relay, "test", &sink).await;
    recorded(&db, &a, &["step.one"]).await;
    recorded(&db, &b, &["step.two"]).await;
    let life = Lifecycle::new(db.control().clone());
    let order = Order::new(&Actor::system("billing"), "asked for");
    life.archive(a.id(), &order).await.unwrap();
    deliverer.run_once().await.unwrap();
    assert!(sink.actions().contains(&"tenant.archived".to_owned()), "{sink:?}");
    recorded(&db, &b, &["step.three"]).await;
    life.delete(a.id(), Duration::ZERO, &order).await.unwrap();
    life.purge(a.id(), &order, |_| ()).await.unwrap();
    assert!(deliverer.run_once().now_or_never().is_none(), "it asks the database");
    deliverer.run_once().await.unwrap();
    assert_eq!(sink.actions().last().unwrap(), "step.three");
}
