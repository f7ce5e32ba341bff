//! The relay login, and consumers that keep their place.

use std::time::Duration;

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, SERVICE, TENANCY};
use formwork_tenancy::{
    ConnectError, CursorError, FollowError, Follower, Isolation, Prune, PublishedEvent, Relay, StreamTable,
    Tenant, Tenants, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::snapshot_cursor::{NONE, begin, publish, publish_committed, relay_connection};

const SOON: Duration = Duration::from_secs(60);

/// What is there now, taken and confirmed.
async fn drain(follower: &mut Follower<PublishedEvent>) -> Vec<Uuid> {
    let mut ids = Vec::new();
    while let Some(batch) = follower.try_next().await.unwrap() {
        ids.extend(batch.rows().iter().map(PublishedEvent::id));
        follower.confirm(&batch).await.unwrap();
    }
    ids
}

async fn superuser(db: &TestDatabase) -> PgConnection {
    PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap()
}

async fn run(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

#[tokio::test]
async fn the_relay_sees_the_streams_of_all_tenants_and_nothing_else() {
    let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    sets.extend_from_slice(SERVICE);
    let db = TestDatabase::new(&sets).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    for tenant in [&a, &b] {
        let mut tx = begin(&db, tenant).await;
        publish(&mut tx, 1).await;
        tx.hint("test").await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut conn = relay_connection(&db).await;
    for stream in ["outbox", "sweep_hints"] {
        let sql = format!("select count(distinct tenant_id) from platform.{stream}");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await.unwrap();
        assert_eq!(seen, 2, "{stream}");
    }
    let tables: Vec<(String, String)> = sqlx::query_as(
        "select n.nspname || '.' || c.relname, a.attname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
           join pg_attribute a on a.attrelid = c.oid and a.attnum = c.relnatts
          where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'",
    )
    .fetch_all(&mut superuser(&db).await)
    .await
    .unwrap();
    assert!(tables.len() > 25, "{tables:?}");
    for (table, column) in tables {
        let allowed: &[&str] = match table.as_str() {
            "platform.outbox"
            | "platform.permission_changes"
            | "platform.audit_outbox"
            | "platform.sweep_hints" => &["select"],
            "platform.stream_positions" => &["select", "insert", "update", "delete"],
            "platform.sweep_rounds" => &["select", "insert", "update"],
            _ => &[],
        };
        for (verb, sql) in [
            ("select", format!("select from {table} limit 1")),
            (
                "insert",
                format!("insert into {table} overriding system value select * from {table} where false"),
            ),
            ("update", format!("update {table} set {column} = {column} where false")),
            ("delete", format!("delete from {table} where false")),
            ("truncate", format!("truncate {table}")),
        ] {
            let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await;
            let refused = done.as_ref().err().and_then(|error| error.as_database_error()?.code());
            match allowed.contains(&verb) {
                true => assert!(done.is_ok(), "{verb} {table}: {done:?}"),
                // 3F000, 42501: no usage of the schema, no privilege.
                false => {
                    assert!(matches!(refused.as_deref(), Some("42501" | "3F000")), "{verb} {table}: {done:?}")
                }
            }
        }
    }
    for call in ["platform.tenant_by_slug('a')", "platform.member_by_email(null, 'a@b.c')"] {
        let sql = format!("select {call}");
        assert!(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.is_err(), "{call}");
    }
}

#[tokio::test]
async fn the_service_knows_neither_positions_nor_tenants() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    for sql in [
        "select from platform.stream_positions",
        "select from platform.stream_floors",
        "select from platform.sweep_rounds",
        "select platform.active_tenants(null, 10)",
        "select platform.prune_stream('platform.outbox', 'platform.outbox', '9', '0', null, 10)",
        "update platform.sweep_hints set kind = 'x'",
        "update platform.outbox set kind = 'x'",
    ] {
        let mut tx = begin(&db, &a).await;
        let error = sqlx::query(sql).execute(&mut *tx).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_login_that_may_do_more_than_follow_is_refused() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let connect = async |role: &str| {
        let options = db.options(LocalRole::Superuser).await.username(role).password("test");
        Relay::builder().connect_with(options).await
    };
    for role in [LocalRole::Superuser, LocalRole::Owner, LocalRole::App] {
        let error = Relay::builder().connect_with(db.options(role).await).await.unwrap_err();
        assert!(matches!(error, ConnectError::NotARelay { .. }), "{role:?}: {error}");
    }
    let mut superuser = superuser(&db).await;
    run(
        &mut superuser,
        "create role relay_like login password 'test';
         grant usage on schema platform, shared to relay_like;
         grant select on platform.outbox to relay_like;
         grant select, insert, update, delete on platform.stream_positions to relay_like",
    )
    .await;
    let why = |result: Result<Relay, ConnectError>| match result {
        Err(ConnectError::NotARelay { login, why }) if login == "relay_like" => why,
        other => panic!("{other:?}"),
    };
    assert!(why(connect("relay_like").await).contains("would be told that it is empty"));
    run(
        &mut superuser,
        "create policy relay_like_reads on platform.outbox for select to relay_like using (true)",
    )
    .await;
    connect("relay_like").await.unwrap();
    run(&mut superuser, "create table shared.secrets (tenant_id uuid, body text)").await;
    for (seed, undo, expected) in [
        ("alter role relay_like bypassrls", "alter role relay_like nobypassrls", "has BYPASSRLS"),
        ("alter role relay_like createrole", "alter role relay_like nocreaterole", "may make roles"),
        ("grant formwork_owner to relay_like", "revoke formwork_owner from relay_like", "owns tables"),
        (
            "grant select (body) on shared.secrets to relay_like",
            "revoke select (body) on shared.secrets from relay_like",
            "holds SELECT on shared.secrets",
        ),
        (
            "grant select on platform.tenants to public",
            "revoke select on platform.tenants from public",
            "holds SELECT on platform.tenants",
        ),
        (
            "grant delete on platform.outbox to relay_like",
            "revoke delete on platform.outbox from relay_like",
            "holds DELETE on platform.outbox",
        ),
        (
            "revoke select on platform.outbox from relay_like",
            "grant select on platform.outbox to relay_like",
            "may not read the outbox",
        ),
    ] {
        run(&mut superuser, seed).await;
        let why = why(connect("relay_like").await);
        assert!(why.contains(expected), "{seed}: {why}");
        run(&mut superuser, undo).await;
        connect("relay_like").await.unwrap();
    }
    let bare = TestDatabase::new(&[]).await;
    let options = bare.options(LocalRole::Relay).await;
    assert!(matches!(Relay::builder().connect_with(options).await, Err(ConnectError::NotMigrated)));
}

#[tokio::test]
async fn a_consumer_goes_on_where_it_stopped() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let relay = db.relay().await;
    let first = [publish_committed(&db, &a, 2).await, publish_committed(&db, &b, 1).await].concat();
    let mut webhooks = relay.follow_outbox("webhooks").page(2);
    let batch = webhooks.next().await.unwrap();
    let taken: Vec<_> = batch.rows().iter().map(|event| (event.tenant(), event.id())).collect();
    assert_eq!(taken, [(a.id(), first[0]), (a.id(), first[1])]);
    webhooks.confirm(&batch).await.unwrap();
    let unconfirmed = webhooks.next().await.unwrap();
    assert_eq!(unconfirmed.rows()[0].id(), first[2]);
    drop(webhooks);

    let mut webhooks = relay.follow_outbox("webhooks");
    assert_eq!(drain(&mut webhooks).await, first[2..], "what was not confirmed comes again, and no more");
    assert_eq!(drain(&mut relay.follow_outbox("search")).await, first, "another consumer has its own place");

    let mut newcomer = relay.follow_outbox("newcomer").from_now();
    assert_eq!(drain(&mut newcomer).await, NONE);
    let next = publish_committed(&db, &b, 1).await;
    for follower in [&mut webhooks, &mut newcomer] {
        assert_eq!(drain(follower).await, next);
    }
    relay.restart(StreamTable::OUTBOX, "webhooks").await.unwrap();
    drop(webhooks);
    assert_eq!(drain(&mut relay.follow_outbox("webhooks")).await.len(), 4);
}

#[tokio::test]
async fn two_followers_of_one_name_take_turns() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    publish_committed(&db, &a, 1).await;
    let (mut one, mut two) = (relay.follow_outbox("webhooks"), relay.follow_outbox("webhooks"));
    let batch = one.next().await.unwrap();
    assert!(two.try_next().await.unwrap().is_none(), "it is not its turn");
    one.confirm(&batch).await.unwrap();
    drop(one);
    let next = publish_committed(&db, &a, 1).await;
    let taken = tokio::time::timeout(SOON, two.next()).await.unwrap().unwrap();
    assert_eq!(taken.rows()[0].id(), next[0], "and begins behind what the other had confirmed");
}

async fn end_connections(db: &TestDatabase) {
    let ended: Vec<bool> = sqlx::query_scalar(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity
          where application_name = 'formwork-relay' and datname = current_database()",
    )
    .fetch_all(&mut superuser(db).await)
    .await
    .unwrap();
    assert!(!ended.is_empty() && ended.iter().all(|ended| *ended));
}

#[tokio::test]
async fn a_lost_connection_loses_no_row() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    let mut follower = relay.follow_outbox("webhooks").page(1);
    let ids = publish_committed(&db, &a, 3).await;
    let first = follower.next().await.unwrap();
    follower.confirm(&first).await.unwrap();
    end_connections(&db).await;
    let second = follower.next().await.unwrap();
    assert_eq!(second.rows()[0].id(), ids[1]);
    // Lost between taking and confirming: nobody else came in between, so the confirmation holds.
    end_connections(&db).await;
    follower.confirm(&second).await.unwrap();
    assert_eq!(follower.next().await.unwrap().rows()[0].id(), ids[2]);
    // Not confirmed: it comes again.
    end_connections(&db).await;
    let third = follower.next().await.unwrap();
    assert_eq!(third.rows()[0].id(), ids[2]);
    // Somebody else has handled it meanwhile.
    end_connections(&db).await;
    let next = publish_committed(&db, &a, 1).await;
    assert_eq!(drain(&mut relay.follow_outbox("webhooks")).await, [ids[2], next[0]]);
    let error = follower.confirm(&third).await.unwrap_err();
    assert!(matches!(error, FollowError::Overtaken { .. }), "{error}");
    assert_eq!(drain(&mut follower).await, NONE);
}

#[tokio::test]
async fn a_follower_that_is_given_up_while_it_waits_loses_nothing() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut follower = db.relay().await.follow_outbox("webhooks").page(2);
    let (mut seen, mut expected) = (Vec::new(), Vec::new());
    let mut dice = crate::snapshot_cursor::Dice::new(11);
    for _ in 0..40 {
        expected.extend(publish_committed(&db, &a, 1).await);
        let mut next = Box::pin(follower.next());
        let mut batch = None;
        for _ in 0..dice.below(8) {
            if let std::task::Poll::Ready(taken) = futures::poll!(&mut next) {
                batch = Some(taken.unwrap());
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(next);
        if let Some(batch) = batch {
            seen.extend(batch.rows().iter().map(PublishedEvent::id));
            follower.confirm(&batch).await.unwrap();
        }
    }
    // A server process may still hold the turn of a connection that was given up.
    while seen.len() < expected.len() {
        let batch = tokio::time::timeout(SOON, follower.next()).await.unwrap().unwrap();
        seen.extend(batch.rows().iter().map(PublishedEvent::id));
        follower.confirm(&batch).await.unwrap();
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn notify_wakes_a_follower_that_would_sleep_for_an_hour() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay_by(Relay::builder().pause(Duration::from_secs(3_600)).listen()).await;
    let mut follower = relay.follow_outbox("webhooks");
    assert!(follower.try_next().await.unwrap().is_none());
    let loud = db.connect(Tenants::builder().notify_followers()).await;
    for _ in 0..3 {
        let waiting = tokio::spawn(async move {
            let batch = follower.next().await.unwrap();
            (follower, batch)
        });
        let mut tx = loud.begin(&db.session(&a, formwork_tenancy::Actor::system("test"))).await.unwrap();
        let ids = publish(&mut tx, 2).await;
        tx.hint("test").await.unwrap();
        tx.commit().await.unwrap();
        let (mut back, batch) = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
        assert_eq!(batch.rows().iter().map(PublishedEvent::id).collect::<Vec<_>>(), ids);
        back.confirm(&batch).await.unwrap();
        follower = back;
    }
}

#[tokio::test]
async fn nothing_is_notified_unless_it_was_asked_for_and_then_nothing_is_said() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let a = db.tenant("a", Isolation::Shared).await;
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect_lazy_with(db.options(LocalRole::App).await);
    let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await.unwrap();
    listener.listen("formwork_streams").await.unwrap();
    publish_committed(&db, &a, 3).await;
    let loud = db.connect(Tenants::builder().notify_followers()).await;
    let mut tx = loud.begin(&db.session(&a, formwork_tenancy::Actor::system("test"))).await.unwrap();
    publish(&mut tx, 3).await;
    tx.commit().await.unwrap();
    let mut conn = superuser(&db).await;
    run(&mut conn, "notify formwork_streams, 'the end'").await;
    let mut said = Vec::new();
    loop {
        let heard = tokio::time::timeout(SOON, listener.recv()).await.unwrap().unwrap();
        said.push(heard.payload().to_owned());
        if heard.payload() == "the end" {
            break;
        }
    }
    assert_eq!(said, ["", "the end"], "one for the transaction that asked, and it says nothing");
}

#[tokio::test]
async fn what_every_consumer_has_read_is_pruned() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let relay = db.relay().await;
    let publish = async |tenant: &Tenant, count| {
        let ids = publish_committed(&db, tenant, count).await;
        db.older_transactions_end().await;
        ids
    };
    publish(&a, 2).await;
    let (mut quick, mut slow) = (relay.follow_outbox("quick"), relay.follow_outbox("slow").page(1));
    drain(&mut quick).await;
    assert!(slow.try_next().await.unwrap().is_some());
    let prune = Prune::new(StreamTable::OUTBOX, Duration::ZERO);
    let pruned = async |prune: &Prune| db.control().prune_stream(prune).await.unwrap().rows();
    assert_eq!(pruned(&prune).await, 0, "one of them has confirmed nothing");
    drop(slow);
    let mut slow = relay.follow_outbox("slow");
    assert_eq!(drain(&mut slow).await.len(), 2);
    publish(&b, 3).await;
    drain(&mut quick).await;
    assert_eq!(pruned(&Prune::new(StreamTable::OUTBOX, Duration::from_secs(3_600))).await, 0, "too young");
    assert_eq!(pruned(&prune).await, 2, "what both have read, of whatever tenant");
    assert_eq!(drain(&mut slow).await.len(), 3, "the slow one misses nothing");
    assert_eq!(pruned(&prune).await, 3);

    // A consumer that never comes back does not hold rows for ever.
    publish(&a, 1).await;
    drain(&mut quick).await;
    assert_eq!(pruned(&prune.unread_after(Duration::from_secs(3_600))).await, 0);
    assert_eq!(pruned(&prune.unread_after(Duration::ZERO)).await, 1);
    let error = slow.next().await.unwrap_err();
    assert!(matches!(error, FollowError::Cursor(CursorError::Pruned { .. })), "{error}");
    relay.restart(StreamTable::OUTBOX, "slow").await.unwrap();
    let next = publish(&b, 1).await;
    // Its connection was closed by the error, so it begins with what is kept.
    assert_eq!(tokio::time::timeout(SOON, slow.next()).await.unwrap().unwrap().rows()[0].id(), next[0]);
    assert_eq!(drain(&mut quick).await, next);
    relay.forget(StreamTable::OUTBOX, "slow").await.unwrap();
    assert_eq!(pruned(&prune).await, 1, "a forgotten consumer holds nothing back");
}
