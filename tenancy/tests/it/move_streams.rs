//! What a move leaves in the streams of a database: nothing that is visited for ever, nothing that is never pruned, and
//! nothing of a move that was undone.

use std::time::Duration;

use formwork_tenancy::{
    Actor, HomePlace, OutboxEvent, Prune, StreamTable, doctor::DoctorConfig, local_postgres::LocalRole,
    moves::MoveStep, testing::TestDatabase,
};
use sqlx::AssertSqlSafe;

use crate::{
    database_mode::connect,
    move_failures::cut_off,
    move_tenant::{add_one, database, now},
};

async fn count(db: &TestDatabase, database: &str, from: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from}")))
        .fetch_one(&mut connect(db, database, LocalRole::Superuser).await)
        .await
        .unwrap()
}

async fn with_work(db: &TestDatabase, slug: &str, place: HomePlace) -> formwork_tenancy::Tenant {
    let tenant = db.tenant_at(slug, place).await;
    add_one(db, &tenant, "site").await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    tx.hint("expiry").await.unwrap();
    tx.publish(&[OutboxEvent::new("site.opened", serde_json::json!({}))]).await.unwrap();
    tx.commit().await.unwrap();
    tenant
}

#[tokio::test]
async fn hints_of_work_go_with_the_tenant_and_are_visited_where_it_lives() {
    let db = database().await;
    let tenant = with_work(&db, "acme", HomePlace::shared()).await;
    let stays = with_work(&db, "stays", HomePlace::shared()).await;
    // Cut off after they have been taken along, they are taken along once more, and are there once.
    cut_off(db.control().clone(), &tenant, &HomePlace::database("eu"), MoveStep::Flipped).await;
    db.control().resume_move(tenant.id(), |_| ()).await.unwrap();
    let whose = |id| format!("platform.sweep_hints where tenant_id = '{id}' and kind = 'expiry'");
    assert_eq!(count(&db, "main", &whose(tenant.id())).await, 0);
    assert_eq!(count(&db, "eu", &whose(tenant.id())).await, 1);
    assert_eq!(count(&db, "main", &whose(stays.id())).await, 1);
    // Within one database there is one table of them.
    db.control().move_tenant(stays.id(), &HomePlace::schema(), |_| ()).await.unwrap();
    assert_eq!(count(&db, "main", &whose(stays.id())).await, 1);
}

#[tokio::test]
async fn old_events_of_a_tenant_that_has_moved_away_are_pruned() {
    let db = database().await;
    let tenant = with_work(&db, "acme", HomePlace::database("eu")).await;
    db.control().move_tenant(tenant.id(), &HomePlace::shared(), |_| ()).await.unwrap();
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    assert_eq!(count(&db, "eu", "platform.outbox").await, 1, "it is delivered from where it was written");
    db.older_transactions_end().await;
    let all = Prune::new(StreamTable::OUTBOX, Duration::ZERO).unread_after(Duration::ZERO);
    assert_eq!(db.control().prune_stream(&all).await.unwrap().rows(), 1);
    assert_eq!(count(&db, "eu", "platform.outbox").await, 0);
    // What is kept of the old home is no home: nobody migrates it, sweeps it or misses it.
    assert_eq!(count(&db, "eu", "platform.homes where state = 'removed'").await, 1);
    assert_eq!(count(&db, "eu", "platform.active_tenants(null, 10)").await, 0);
    assert!(db.control().fleet().plan().await.unwrap().is_up_to_date());
    let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(doctor.is_healthy() && doctor.findings().iter().all(|f| !f.code().contains("home")), "{doctor}");
    // And it can come back.
    db.control().move_tenant(tenant.id(), &HomePlace::database("eu"), |_| ()).await.unwrap();
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    assert_eq!(add_one(&db, &now(&db, &tenant).await, "site").await, 2);
}

/// The log of the database that it was to go to tells what holds there, and nothing of the first attempt.
#[tokio::test]
async fn what_an_undone_move_had_copied_is_in_no_log() {
    let db = database().await;
    let tenant = with_work(&db, "acme", HomePlace::shared()).await;
    cut_off(db.control().clone(), &tenant, &HomePlace::shared_in("eu"), MoveStep::Verified).await;
    let log = format!("platform.permission_changes where tenant_id = '{}'", tenant.id());
    assert_eq!(count(&db, "eu", &log).await, 1, "the copy was announced");
    db.control().abort_move(tenant.id()).await.unwrap();
    assert_eq!(count(&db, "eu", &log).await, 0);
    assert_eq!(count(&db, "main", &format!("{log} and op = 'delete'")).await, 0);

    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("delete from permission_tuples").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap();
    assert_eq!(count(&db, "eu", &log).await, 0, "a follower there would have granted what was taken back");
    assert_eq!(count(&db, "eu", "shared.permission_tuples").await, 0);
}

/// Within one database the log has told of the tuples already: a copy is no news, to whoever watches or looks back.
#[tokio::test]
async fn a_copy_within_one_database_is_in_no_log() {
    let db = database().await;
    let tenant = with_work(&db, "acme", HomePlace::shared()).await;
    let log = format!("platform.permission_changes where tenant_id = '{}'", tenant.id());
    assert_eq!(count(&db, "main", &log).await, 1);
    cut_off(db.control().clone(), &tenant, &HomePlace::schema(), MoveStep::Verified).await;
    db.control().abort_move(tenant.id()).await.unwrap();
    assert_eq!(count(&db, "main", &log).await, 1, "undone");
    db.control().move_tenant(tenant.id(), &HomePlace::schema(), |_| ()).await.unwrap();
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    assert_eq!(count(&db, "main", &log).await, 1, "done");
    assert_eq!(add_one(&db, &now(&db, &tenant).await, "site").await, 2);
    assert_eq!(count(&db, "main", &log).await, 2, "what is new is logged");
}
