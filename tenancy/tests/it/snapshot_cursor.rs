//! Following a stream by two snapshots: no gap, no repetition, no stall.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::{
    Actor, CursorError, Isolation, OutboxEvent, Position, Prune, PublishedEvent, SnapshotCursor, StreamKey,
    StreamTable, Tenant, TenantTx, Tenants, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

pub(crate) async fn relay_connection(db: &TestDatabase) -> PgConnection {
    PgConnection::connect_with(&db.options(LocalRole::Relay).await).await.unwrap()
}

pub(crate) async fn begin(db: &TestDatabase, tenant: &Tenant) -> TenantTx {
    db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap()
}

/// Publishes `count` events in `tx`.
pub(crate) async fn publish(tx: &mut TenantTx, count: usize) -> Vec<Uuid> {
    let events: Vec<OutboxEvent> =
        (0..count).map(|n| OutboxEvent::new("test.done", serde_json::json!({ "n": n }))).collect();
    tx.publish(&events).await.unwrap();
    events.iter().map(OutboxEvent::id).collect()
}

pub(crate) async fn publish_committed(db: &TestDatabase, tenant: &Tenant, count: usize) -> Vec<Uuid> {
    let mut tx = begin(db, tenant).await;
    let ids = publish(&mut tx, count).await;
    tx.commit().await.unwrap();
    ids
}

pub(crate) const NONE: [Uuid; 0] = [];

fn outbox() -> SnapshotCursor {
    SnapshotCursor::new(StreamTable::OUTBOX, Position::beginning())
}

async fn read(cursor: &mut SnapshotCursor, conn: &mut PgConnection, limit: u32) -> Vec<Uuid> {
    let mut ids = Vec::new();
    loop {
        // What it resumes from is what a follower would have kept.
        *cursor = SnapshotCursor::new(StreamTable::OUTBOX, cursor.position().to_string().parse().unwrap());
        let page = cursor.page::<PublishedEvent, _>(&mut *conn, limit).await.unwrap();
        assert!(page.rows().len() <= limit as usize);
        ids.extend(page.rows().iter().map(PublishedEvent::id));
        if page.is_caught_up() {
            return ids;
        }
    }
}

#[tokio::test]
async fn a_low_id_that_commits_late_is_delivered_once() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let (mut cursor, mut conn) = (outbox(), relay_connection(&db).await);
    let mut early = begin(&db, &a).await;
    let late_ids = publish(&mut early, 2).await;
    let first = publish_committed(&db, &b, 1).await;
    assert_eq!(read(&mut cursor, &mut conn, 10).await, first);
    let second = publish_committed(&db, &a, 1).await;
    assert_eq!(read(&mut cursor, &mut conn, 10).await, second);
    early.commit().await.unwrap();
    assert_eq!(read(&mut cursor, &mut conn, 10).await, late_ids);
    assert_eq!(read(&mut cursor, &mut conn, 10).await, NONE, "nothing comes twice");
}

#[tokio::test]
async fn an_open_transaction_stalls_nobody() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let elsewhere = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut open = Vec::new();
    for db in [&db, &elsewhere] {
        let mut conn = PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
        sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut conn).await.unwrap();
        open.push(conn);
    }
    let (mut cursor, mut conn) = (outbox(), relay_connection(&db).await);
    for _ in 0..3 {
        let ids = publish_committed(&db, &a, 2).await;
        assert_eq!(read(&mut cursor, &mut conn, 10).await, ids);
        assert_eq!(read(&mut cursor, &mut conn, 10).await, NONE);
    }
    for mut conn in open {
        sqlx::raw_sql("rollback").execute(&mut conn).await.unwrap();
    }
    assert_eq!(read(&mut cursor, &mut conn, 10).await, NONE);
}

/// The cost of a page: what has been read is not looked at again, however long a transaction has been open.
#[tokio::test]
async fn an_open_transaction_makes_no_row_be_read_again() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut open = begin(&db, &a).await;
    publish(&mut open, 1).await;
    for _ in 0..40 {
        publish_committed(&db, &a, 500).await;
    }
    let mut owner = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::query("analyze platform.outbox").execute(&mut owner).await.unwrap();
    let (mut cursor, mut conn) = (outbox(), relay_connection(&db).await);
    assert_eq!(read(&mut cursor, &mut conn, 5_000).await.len(), 20_000);
    let fetched = async |owner: &mut PgConnection| -> i64 {
        sqlx::query_scalar(
            "select (idx_blks_hit + idx_blks_read)::int8 from pg_statio_all_indexes
              where indexrelname = 'outbox_in_order'",
        )
        .fetch_one(owner)
        .await
        .unwrap()
    };
    // A session's counts are reported now and then; so that they are at once:
    let report = "select pg_stat_force_next_flush()";
    sqlx::raw_sql(report).execute(&mut conn).await.unwrap();
    let before = fetched(&mut owner).await;
    for _ in 0..5 {
        assert_eq!(read(&mut cursor, &mut conn, 500).await, NONE);
    }
    sqlx::raw_sql(report).execute(&mut conn).await.unwrap();
    let read = fetched(&mut owner).await - before;
    assert!(read < 60, "{read} pages of the index were read to find nothing five times: it has a hundred");
}

#[tokio::test]
async fn pages_of_any_size_give_the_same_rows_in_the_same_order() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let mut conn = relay_connection(&db).await;
    let mut expected = publish_committed(&db, &a, 3).await;
    // Two that run while the cursors take their first snapshot, one of them larger than a page.
    let (mut large, mut undone) = (begin(&db, &a).await, begin(&db, &b).await);
    publish(&mut undone, 5).await;
    let of_large = publish(&mut large, 40).await;
    expected.extend(publish_committed(&db, &b, 4).await);
    let sizes = [1, 2, 7, 1_000];
    let mut cursors: Vec<_> = sizes.iter().map(|size| (*size, outbox(), Vec::new())).collect();
    for (size, cursor, seen) in &mut cursors {
        seen.extend(read(cursor, &mut conn, *size).await);
        assert_eq!(*seen, expected, "pages of {size}");
    }
    large.commit().await.unwrap();
    undone.rollback().await.unwrap();
    expected.extend(of_large);
    expected.extend(publish_committed(&db, &a, 2).await);
    for (size, cursor, seen) in &mut cursors {
        seen.extend(read(cursor, &mut conn, *size).await);
        assert_eq!(*seen, expected, "pages of {size}");
    }
}

/// Rows that commit while a long stretch is read in pages belong to the next one.
#[tokio::test]
async fn what_commits_between_two_pages_comes_later_and_once() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut early = begin(&db, &a).await;
    let late_ids = publish(&mut early, 2).await;
    let first = publish_committed(&db, &a, 5).await;
    let (mut cursor, mut conn) = (outbox(), relay_connection(&db).await);
    let page = cursor.page::<PublishedEvent, _>(&mut conn, 2).await.unwrap();
    let mut seen: Vec<Uuid> = page.rows().iter().map(PublishedEvent::id).collect();
    assert!(!page.is_caught_up());
    early.commit().await.unwrap();
    let next = publish_committed(&db, &a, 1).await;
    seen.extend(read(&mut cursor, &mut conn, 2).await);
    assert_eq!(seen, [first, late_ids, next].concat(), "first the stretch as it was when it was begun");
}

#[tokio::test]
async fn a_tenants_transaction_follows_its_own_rows_and_not_what_it_has_not_committed() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let of_a = publish_committed(&db, &a, 2).await;
    publish_committed(&db, &b, 3).await;
    let mut cursor = outbox();
    let mut tx = begin(&db, &a).await;
    let own = publish(&mut tx, 1).await;
    let page = cursor.page::<PublishedEvent, _>(&mut *tx, 10).await.unwrap();
    assert_eq!(page.rows().iter().map(PublishedEvent::id).collect::<Vec<_>>(), of_a);
    assert!(page.rows().iter().all(|event| event.tenant() == a.id() && event.kind() == "test.done"));
    tx.commit().await.unwrap();
    let mut tx = begin(&db, &a).await;
    let page = cursor.page::<PublishedEvent, _>(&mut *tx, 10).await.unwrap();
    assert_eq!(page.rows().iter().map(PublishedEvent::id).collect::<Vec<_>>(), own);
}

#[tokio::test]
async fn a_stream_with_numbers_as_ids_is_followed_too() {
    #[derive(sqlx::FromRow)]
    struct Change {
        id: i64,
        tenant_id: Uuid,
        op: String,
    }
    let table = StreamTable::new("platform.permission_changes", StreamKey::Int, &["id", "tenant_id", "op"]);
    let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
    let a = db.tenant("a", Isolation::Schema).await;
    let mut tx = begin(&db, &a).await;
    for id in 0..5 {
        sqlx::query(
            "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
             values ('document', $1, 'viewer', 'user', 'anna')",
        )
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    let mut cursor = SnapshotCursor::new(table, Position::beginning());
    let (mut conn, mut ids) = (relay_connection(&db).await, Vec::new());
    loop {
        let page = cursor.page::<Change, _>(&mut conn, 2).await.unwrap();
        for change in page.rows() {
            assert_eq!((change.tenant_id, change.op.as_str()), (a.id().as_uuid(), "touch"));
            ids.push(change.id);
        }
        if page.is_caught_up() {
            break;
        }
        cursor = SnapshotCursor::new(table, page.position().to_string().parse().unwrap());
    }
    assert_eq!(ids.len(), 5);
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn a_position_of_another_history_is_refused() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let elsewhere = TestDatabase::new(&[TENANCY]).await;
    let mut conn = relay_connection(&db).await;
    let mut cursor = outbox();
    let here = cursor.skip_to_now(&mut conn).await.unwrap().to_string();
    let parts: Vec<&str> = here.split('.').collect();
    let with = |index: usize, text: &str| {
        let mut parts = parts.clone();
        parts[index] = text;
        parts.join(".")
    };
    for (text, why) in [
        (with(1, "77"), "of another cluster"),
        (with(2, "1"), "of another database"),
        (with(3, "9"), "restored or failed over"),
        // A disk that was put back knows no new timeline, but it has given out fewer ids.
        (with(4, "900000000:900000000:"), "of an earlier state"),
    ] {
        let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, text.parse().unwrap());
        let error = cursor.page::<PublishedEvent, _>(&mut conn, 10).await.unwrap_err();
        assert!(matches!(error, CursorError::Restored { .. }), "{text}: {error}");
        assert!(error.to_string().contains(why), "{text}: {error}");
        assert_eq!(cursor.position().to_string(), text, "a refused cursor stays where it is");
    }
    let mut conn = relay_connection(&elsewhere).await;
    let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, here.parse().unwrap());
    let error = cursor.page::<PublishedEvent, _>(&mut conn, 10).await.unwrap_err();
    assert!(matches!(error, CursorError::Restored { .. }), "{error}");
}

/// A transaction that took its snapshot before the position would read less than the position says.
#[tokio::test]
async fn a_snapshot_older_than_the_position_is_refused() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut old = relay_connection(&db).await;
    sqlx::raw_sql("begin isolation level repeatable read; select 1").execute(&mut old).await.unwrap();
    publish_committed(&db, &a, 3).await;
    let mut conn = relay_connection(&db).await;
    let mut cursor = outbox();
    cursor.page::<PublishedEvent, _>(&mut conn, 2).await.unwrap();
    let error = cursor.page::<PublishedEvent, _>(&mut old, 2).await.unwrap_err();
    assert!(matches!(error, CursorError::Restored { .. }), "{error}");
    assert_eq!(read(&mut cursor, &mut conn, 2).await.len(), 1, "nothing was lost");
}

#[tokio::test]
async fn a_follower_that_was_pruned_under_is_told() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    publish_committed(&db, &a, 3).await;
    let mut conn = relay_connection(&db).await;
    let (mut slow, mut inside) = (outbox(), outbox());
    slow.skip_to_now(&mut conn).await.unwrap();
    inside.page::<PublishedEvent, _>(&mut conn, 1).await.unwrap();
    publish_committed(&db, &b, 2).await;
    let mut quick = outbox();
    assert_eq!(read(&mut quick, &mut conn, 10).await.len(), 5);

    // Nobody is registered: nothing is known to be read.
    db.older_transactions_end().await;
    let prune = Prune::new(StreamTable::OUTBOX, std::time::Duration::ZERO);
    assert_eq!(db.control().prune_stream(&prune).await.unwrap().rows(), 0);
    let forced = prune.unread_after(std::time::Duration::ZERO);
    assert_eq!(db.control().prune_stream(&forced).await.unwrap().rows(), 5);

    for cursor in [&mut slow, &mut inside] {
        let error = cursor.page::<PublishedEvent, _>(&mut conn, 10).await.unwrap_err();
        assert!(matches!(error, CursorError::Pruned { stream: "platform.outbox" }), "{error}");
    }
    let next = publish_committed(&db, &a, 1).await;
    assert_eq!(read(&mut quick, &mut conn, 10).await, next, "who had read everything goes on");
    assert_eq!(read(&mut outbox(), &mut conn, 10).await, next, "who begins anew has what is kept");
}

/// A generator of the test's own, so that a seed tells a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

pub(crate) fn rounds(short: u64, long: u64) -> u64 {
    if std::env::var_os("FORMWORK_LONG").is_some() { long } else { short }
}

/// Twenty writers commit and roll back in any order, while a follower reads in pages of any size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_row_is_delivered_whatever_the_interleaving() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let tenants = db.connect(Tenants::builder().max_connections(20)).await;
    let homes = [
        db.tenant("a", Isolation::Shared).await,
        db.tenant("b", Isolation::Shared).await,
        db.tenant("c", Isolation::Schema).await,
    ];
    let mut position = Position::beginning();
    for seed in 0..rounds(6, 200) {
        let killed = seed % 2 == 1;
        let committed = Arc::new(Mutex::new(BTreeSet::new()));
        let undone = Arc::new(Mutex::new(BTreeSet::new()));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..20 {
            let (tenants, session) =
                (tenants.clone(), db.session(&homes[writer % 3], Actor::system("writer")));
            let (committed, undone) = (Arc::clone(&committed), Arc::clone(&undone));
            writers.spawn(async move {
                let mut dice = Dice::new(seed * 100 + writer as u64 + 1);
                for _ in 0..8 {
                    let mut tx = tenants.begin(&session).await.unwrap();
                    let mut ids = Vec::new();
                    for _ in 0..=dice.below(3) {
                        ids.extend(publish(&mut tx, 1 + dice.below(4) as usize).await);
                        for _ in 0..dice.below(20) {
                            tokio::task::yield_now().await;
                        }
                    }
                    match dice.below(4) {
                        0 => {
                            undone.lock().unwrap().extend(ids);
                            drop(tx);
                        }
                        _ => {
                            tx.commit().await.unwrap();
                            committed.lock().unwrap().extend(ids);
                        }
                    }
                }
            });
        }
        let mut dice = Dice::new(seed + 1);
        let mut delivered: BTreeMap<Uuid, u32> = BTreeMap::new();
        let mut conn = relay_connection(&db).await;
        let mut cursor = SnapshotCursor::new(StreamTable::OUTBOX, position.clone());
        let mut kills = 0;
        loop {
            let writing = !writers.is_empty();
            while writers.try_join_next().is_some_and(|writer| writer.is_ok()) {}
            let limit = [1, 2, 5, 1_000][dice.below(4) as usize];
            let page = cursor.page::<PublishedEvent, _>(&mut conn, limit).await.unwrap();
            for event in page.rows() {
                *delivered.entry(event.id()).or_default() += 1;
            }
            if killed && dice.below(4) == 0 {
                // Between handling and keeping, or in the middle of the next page.
                kills += 1;
                if dice.below(2) == 0 {
                    let mut next = Box::pin(cursor.page::<PublishedEvent, _>(&mut conn, limit));
                    for _ in 0..dice.below(3) {
                        if futures::poll!(&mut next).is_ready() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
                conn = relay_connection(&db).await;
                cursor = SnapshotCursor::new(StreamTable::OUTBOX, position.clone());
                continue;
            }
            position = page.position().to_string().parse().unwrap();
            if page.is_caught_up() && !writing {
                break;
            }
        }
        let (committed, undone) = (committed.lock().unwrap(), undone.lock().unwrap());
        let missing: Vec<_> = committed.iter().filter(|id| !delivered.contains_key(id)).collect();
        assert!(missing.is_empty(), "seed {seed}: {} rows were lost: {missing:?}", missing.len());
        let strangers = delivered.keys().filter(|id| undone.contains(id) || !committed.contains(id)).count();
        assert_eq!(strangers, 0, "seed {seed}: rows that were rolled back were delivered");
        let repeated = delivered.values().filter(|times| **times > 1).count();
        assert!(
            kills > 0 || repeated == 0,
            "seed {seed}: {repeated} rows came twice though nobody was killed"
        );
        assert!(!committed.is_empty() && !undone.is_empty());
    }
}
