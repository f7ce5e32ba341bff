//! What does following a stream cost: a row, a look that finds nothing, a look while a transaction has been open for
//! long (against the plain condition `xid >= xmin and not visible`, in the same run), a confirmed batch, a wake-up,
//! a visit of a sweep? And what does NOTIFY cost those who write?
//!
//! `STREAM_ROWS` sets the backlog, 200,000 when it does not. Every answer is looked at before its time is told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::time::{Duration, Instant};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, OutboxEvent, Position, PublishedEvent, Relay, Session, SnapshotCursor, StreamTable,
    Tenant, Tenants, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{Connection, PgConnection};

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let rows = std::env::var("STREAM_ROWS").ok().and_then(|text| text.parse().ok()).unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = TestDatabase::new(&[TENANCY]).await;
        let tenant = db.tenant("acme", Isolation::Shared).await;
        backlog(&db, &tenant, rows).await;
        batches(&db, &tenant).await;
        wake_ups(&db, &tenant).await;
        sweeps(&db).await;
        notify(&db, &tenant).await;
    });
}

fn session(tenant: &Tenant) -> Session {
    Session::new(tenant, Actor::system("bench"))
}

async fn publish(tenants: &Tenants, session: &Session, count: usize) {
    let events: Vec<OutboxEvent> = (0..count)
        .map(|n| OutboxEvent::new("bench.done", serde_json::json!({ "n": n, "of": count })))
        .collect();
    let mut tx = tenants.begin(session).await.unwrap();
    tx.publish(&events).await.unwrap();
    tx.commit().await.unwrap();
}

fn tell(what: &str, time: Duration, count: usize) {
    println!("{what:<60} {:>10.1} us", time.as_secs_f64() * 1e6 / count as f64);
}

async fn drain(cursor: &mut SnapshotCursor, conn: &mut PgConnection, limit: u32) -> usize {
    let mut read = 0;
    loop {
        let page = cursor.page::<PublishedEvent, _>(&mut *conn, limit).await.unwrap();
        read += page.rows().len();
        if page.is_caught_up() {
            return read;
        }
    }
}

async fn backlog(db: &TestDatabase, tenant: &Tenant, rows: usize) {
    let session = session(tenant);
    let mut conn = PgConnection::connect_with(&db.options(LocalRole::Relay).await).await.unwrap();
    let mut open = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut open).await.unwrap();
    for _ in 0..rows / 100 {
        publish(db.tenants(), &session, 100).await;
    }
    let mut superuser = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::raw_sql("vacuum analyze platform.outbox").execute(&mut superuser).await.unwrap();

    for limit in [100, 1_000] {
        let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, Position::beginning());
        let begun = Instant::now();
        assert_eq!(drain(&mut cursor, &mut conn, limit).await, rows);
        tell(&format!("a row of a backlog of {rows}, pages of {limit}"), begun.elapsed(), rows);
    }
    const LOOKS: usize = 200;
    let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, Position::beginning());
    cursor.skip_to_now(&mut conn).await.unwrap();
    let begun = Instant::now();
    for _ in 0..LOOKS {
        assert_eq!(drain(&mut cursor, &mut conn, 500).await, 0);
    }
    tell("a look that finds nothing, a transaction open all the while", begun.elapsed(), LOOKS);
    let seen: String =
        sqlx::query_scalar("select pg_current_snapshot()::text").fetch_one(&mut conn).await.unwrap();
    let begun = Instant::now();
    for _ in 0..20 {
        let found: Vec<String> = sqlx::query_scalar(
            "select id::text from platform.outbox where xid >= pg_snapshot_xmin($1::text::pg_snapshot)
                and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot) order by xid, id limit 500",
        )
        .bind(&seen)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert!(found.is_empty());
    }
    tell("  the same by `xid >= xmin and not visible`", begun.elapsed(), 20);
    sqlx::raw_sql("rollback").execute(&mut open).await.unwrap();
    cursor.skip_to_now(&mut conn).await.unwrap();
    let begun = Instant::now();
    for _ in 0..LOOKS {
        assert_eq!(drain(&mut cursor, &mut conn, 500).await, 0);
    }
    tell("a look that finds nothing", begun.elapsed(), LOOKS);
    let begun = Instant::now();
    for _ in 0..LOOKS {
        sqlx::query("select 1").execute(&mut conn).await.unwrap();
    }
    tell("  the same connection's `select 1`", begun.elapsed(), LOOKS);
}

async fn batches(db: &TestDatabase, tenant: &Tenant) {
    const BATCHES: usize = 200;
    let session = session(tenant);
    let relay = db.relay().await;
    let mut follower = relay.follow_outbox("bench").from_now();
    assert!(follower.try_next().await.unwrap().is_none());
    let mut time = Duration::ZERO;
    for _ in 0..BATCHES {
        publish(db.tenants(), &session, 1).await;
        let begun = Instant::now();
        let batch = follower.try_next().await.unwrap().unwrap();
        follower.confirm(&batch).await.unwrap();
        time += begun.elapsed();
        assert_eq!(batch.rows().len(), 1);
    }
    tell("a batch of one event, taken and confirmed", time, BATCHES);
}

async fn wake_ups(db: &TestDatabase, tenant: &Tenant) {
    const EVENTS: usize = 200;
    let session = session(tenant);
    let loud = db.connect(Tenants::builder().notify_followers()).await;
    let relay = db.relay_by(Relay::builder().pause(Duration::from_secs(60)).listen()).await;
    let mut follower = relay.follow_outbox("waker").from_now();
    assert!(follower.try_next().await.unwrap().is_none());
    let mut times = Vec::new();
    for _ in 0..EVENTS {
        let waiting = tokio::spawn(async move {
            let batch = follower.next().await.unwrap();
            (follower, batch, Instant::now())
        });
        publish(&loud, &session, 1).await;
        let committed = Instant::now();
        let (back, batch, taken) = waiting.await.unwrap();
        assert_eq!(batch.rows().len(), 1);
        times.push(taken.saturating_duration_since(committed));
        follower = back;
    }
    times.sort();
    tell("from commit to event in hand, woken by NOTIFY, median", times[EVENTS / 2], 1);
    tell("  the slowest of 100", times[EVENTS * 99 / 100], 1);
}

async fn sweeps(db: &TestDatabase) {
    let mut owner = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    sqlx::raw_sql(
        "insert into platform.tenants (id, slug, name, status, isolation, schema_name)
         select gen_random_uuid(), 't' || n, 't', 'active', 'shared', 'shared' from generate_series(1, 1000) n;
         insert into platform.homes (tenant_id, epoch, schema_name) select id, 1, schema_name from platform.tenants
          where slug ~ '^t[0-9]'",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let mut sweep = db.tenants().sweep("bench", &db.relay().await);
    for slug in ["t1", "t500", "t999"] {
        let tenant = db.tenants().by_slug(slug).await.unwrap().unwrap();
        let mut tx = db.tenants().begin(&session(&tenant)).await.unwrap();
        tx.hint("bench").await.unwrap();
        tx.commit().await.unwrap();
    }
    let begun = Instant::now();
    let round = sweep.round(|_| Box::pin(async { Ok(()) })).await.unwrap();
    tell("a round over 1,000 tenants of which three have a hint", begun.elapsed(), 1);
    assert_eq!(round.visited(), 3);
    let begun = Instant::now();
    let round = sweep.full_round(|_| Box::pin(async { Ok(()) })).await.unwrap().unwrap();
    tell("a full round, for each tenant", begun.elapsed(), round.visited());
    assert!(round.visited() > 1_000);
}

/// Eight writers, each publishing one event a transaction. Commits wait for nothing here, so that what is left is the
/// lock and the queue: with a disk under them, commits that notify wait for each other's flush as well.
async fn notify(db: &TestDatabase, tenant: &Tenant) {
    for round in 0..2 {
        for loud in [false, true] {
            let builder = Tenants::builder().max_connections(8);
            let tenants = db.connect(if loud { builder.notify_followers() } else { builder }).await;
            let begun = Instant::now();
            let writers = (0..8).map(|_| {
                let (tenants, session) = (tenants.clone(), session(tenant));
                tokio::spawn(async move {
                    for _ in 0..300 {
                        publish(&tenants, &session, 1).await;
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
            let what = if loud { "with" } else { "without" };
            tell(
                &format!("a published transaction {what} NOTIFY, 8 writers, round {round}"),
                begun.elapsed(),
                2_400,
            );
            tenants.close().await;
        }
    }
}
