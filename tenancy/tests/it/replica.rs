//! Beside a real streaming standby: what may be read there, and what may not.

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    CommitToken, CursorError, FollowError, Isolation, Position, PublishedEvent, Relay, Snapshot,
    SnapshotCursor, StreamTable,
    local_postgres::LocalRole,
    testing::{Replica, TestDatabase},
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::snapshot_cursor::{NONE, begin, publish, publish_committed, relay_connection};

async fn replica() -> Option<Replica> {
    let replica = Replica::start().await;
    if replica.is_none() {
        eprintln!("pg_basebackup is not installed beside the server: not tested");
    }
    replica
}

fn ids(events: &[PublishedEvent]) -> Vec<Uuid> {
    events.iter().map(PublishedEvent::id).collect()
}

/// Everything that a standby is asked about, on one standby: it takes a second to make.
#[tokio::test]
async fn beside_a_standby() {
    let Some(replica) = replica().await else { return };
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let token = begin_and_commit(&db, &a).await;
    replica.has_replayed(token.wal()).await;
    a_token_says_what_a_standby_must_have_replayed(&replica, &db, &a).await;
    a_cursor_on_the_standby_is_refused(&replica, &db).await;
    a_tail_on_the_standby_loses_a_late_commit(&replica, &db, &a).await;
    a_promotion_is_noticed_and_a_kept_position_survives_it(&replica, &db, &a).await;
    replica.stop().await;
}

async fn begin_and_commit(db: &TestDatabase, tenant: &formwork_tenancy::Tenant) -> CommitToken {
    let mut tx = begin(db, tenant).await;
    publish(&mut tx, 1).await;
    tx.commit().await.unwrap()
}

/// What `begin_read` on a replica will rest on.
async fn a_token_says_what_a_standby_must_have_replayed(
    replica: &Replica,
    db: &TestDatabase,
    tenant: &formwork_tenancy::Tenant,
) {
    let mut superuser = PgConnection::connect_with(&replica.options(LocalRole::Superuser, db)).await.unwrap();
    let count = async |conn: &mut PgConnection| -> (bool, i64) {
        sqlx::query_as(
            "select pg_last_wal_replay_lsn() >= current_setting('test.wal')::pg_lsn, count(*) from platform.outbox",
        )
        .fetch_one(conn)
        .await
        .unwrap()
    };
    let expect = async |conn: &mut PgConnection, token: &CommitToken| {
        sqlx::query("select set_config('test.wal', $1, false)")
            .bind(token.wal())
            .execute(conn)
            .await
            .unwrap();
    };
    sqlx::raw_sql("select pg_wal_replay_pause()").execute(&mut superuser).await.unwrap();
    // A pause is asked for, and then comes.
    loop {
        let state: String = sqlx::query_scalar("select pg_get_wal_replay_pause_state()")
            .fetch_one(&mut superuser)
            .await
            .unwrap();
        if state == "paused" {
            break;
        }
        tokio::task::yield_now().await;
    }
    let token = begin_and_commit(db, tenant).await;
    expect(&mut superuser, &token).await;
    assert_eq!(count(&mut superuser).await, (false, 1), "not replayed, and not there");
    sqlx::raw_sql("select pg_wal_replay_resume()").execute(&mut superuser).await.unwrap();
    replica.has_replayed(token.wal()).await;
    assert_eq!(count(&mut superuser).await, (true, 2), "replayed, and there");
}

async fn a_cursor_on_the_standby_is_refused(replica: &Replica, db: &TestDatabase) {
    let mut conn = PgConnection::connect_with(&replica.options(LocalRole::Relay, db)).await.unwrap();
    let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, Position::beginning());
    let error = cursor.page::<PublishedEvent, _>(&mut conn, 10).await.unwrap_err();
    assert!(matches!(error, CursorError::Standby), "{error}");
    assert!(error.to_string().contains("follow streams on the primary"));
    assert!(matches!(cursor.skip_to_now(&mut conn).await, Err(CursorError::Standby)));
    assert_eq!(*cursor.position(), Position::beginning());
    let relay = Relay::builder().connect_with(replica.options(LocalRole::Relay, db)).await.unwrap();
    let error = relay.follow_outbox("standby").try_next().await.unwrap_err();
    assert!(matches!(error, FollowError::Cursor(CursorError::Standby)), "{error}");
}

/// Why it is refused: a standby's snapshot says of a running transaction that it is over.
async fn a_tail_on_the_standby_loses_a_late_commit(
    replica: &Replica,
    db: &TestDatabase,
    tenant: &formwork_tenancy::Tenant,
) {
    let mut late = begin(db, tenant).await;
    let lost = publish(&mut late, 1).await;
    let token = begin_and_commit(db, tenant).await;
    replica.has_replayed(token.wal()).await;
    let mut standby = PgConnection::connect_with(&replica.options(LocalRole::Relay, db)).await.unwrap();
    let snapshot = "select pg_current_snapshot()::text";
    let there: String = sqlx::query_scalar(snapshot).fetch_one(&mut standby).await.unwrap();
    let there: Snapshot = there.parse().unwrap();
    let committed = late.commit().await.unwrap();
    replica.has_replayed(committed.wal()).await;
    let xid = committed.xid().unwrap();
    assert!(there.sees(xid), "the standby took it for over while it ran");
    let tail: Vec<Uuid> = sqlx::query_scalar(
        "select id from platform.outbox where not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)",
    )
    .bind(there.as_str())
    .fetch_all(&mut standby)
    .await
    .unwrap();
    assert!(!lost.iter().any(|id| tail.contains(id)), "so that its row never comes: {tail:?}");
}

async fn a_promotion_is_noticed_and_a_kept_position_survives_it(
    replica: &Replica,
    db: &TestDatabase,
    tenant: &formwork_tenancy::Tenant,
) {
    let relay = db.relay().await;
    let mut follower = relay.follow_outbox("webhooks");
    let batch = follower.next().await.unwrap();
    follower.confirm(&batch).await.unwrap();
    let open = begin_with_event(db, tenant).await;
    let replayed = publish_committed(db, tenant, 1).await;
    let taken = follower.next().await.unwrap();
    assert_eq!(ids(taken.rows()), replayed, "taken, and not confirmed");
    let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, Position::beginning());
    cursor.skip_to_now(&mut relay_connection(db).await).await.unwrap();
    replica.has_replayed(begin_and_commit(db, tenant).await.wal()).await;
    replica.promote().await;
    // The old primary goes on for itself: what it does from here on is on another history.
    drop(open);

    let mut conn = PgConnection::connect_with(&replica.options(LocalRole::Relay, db)).await.unwrap();
    let error = cursor.page::<PublishedEvent, _>(&mut conn, 10).await.unwrap_err();
    assert!(matches!(error, CursorError::Restored { .. }), "{error}");
    assert!(error.to_string().contains("restored or failed over"), "{error}");

    let relay = Relay::builder().connect_with(replica.options(LocalRole::Relay, db)).await.unwrap();
    let mut follower = relay.follow_outbox("webhooks");
    let again = follower.next().await.unwrap();
    assert_eq!(ids(again.rows()).first(), replayed.first(), "what was not confirmed comes again");
    assert_eq!(again.rows().len(), 2, "with what came after it, and without what never committed");
    let error = follower.confirm(&taken).await.unwrap_err();
    assert!(matches!(error, FollowError::Overtaken { .. }), "a batch of the other history: {error}");
    let again = follower.next().await.unwrap();
    follower.confirm(&again).await.unwrap();
    let tenants =
        formwork_tenancy::Tenants::builder().connect_with(replica.options(LocalRole::App, db)).await.unwrap();
    let session = db.session(tenant, formwork_tenancy::Actor::system("test"));
    let mut tx = tenants.begin(&session).await.unwrap();
    let next = publish(&mut tx, 1).await;
    tx.commit().await.unwrap();
    assert_eq!(ids(follower.next().await.unwrap().rows()), next);
    assert_eq!(follower.try_next().await.unwrap().map_or(NONE.to_vec(), |batch| ids(batch.rows())), NONE);
}

async fn begin_with_event(
    db: &TestDatabase,
    tenant: &formwork_tenancy::Tenant,
) -> formwork_tenancy::TenantTx {
    let mut tx = begin(db, tenant).await;
    publish(&mut tx, 1).await;
    tx
}
