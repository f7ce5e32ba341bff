//! A future dropped at any await leaves no tenant's context behind.
//!
//! sqlx 0.8.4 to 0.9.0 would return a connection to the pool inside an open transaction, with the previous
//! tenant's setting in force, when a future is dropped while BEGIN is on its way.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use formwork_tenancy::{
    Actor, Isolation, Session, Tenants, TenantsBuilder,
    local_postgres::LocalRole,
    testing::{CancelFuzz, LongRound, TestDatabase, examine_pool},
};
use sqlx::{AssertSqlSafe, postgres::PgPoolOptions};

use crate::isolation::{database, notes, write_note};

/// Statements prepared by name, as to the server itself, and unnamed, as through a pooler.
pub(crate) fn regimes() -> [(&'static str, TenantsBuilder); 2] {
    [("named", Tenants::builder()), ("unnamed", Tenants::builder().transaction_pooler())]
}

/// Begin, three statements, commit; `step` tells which of the five is being awaited.
async fn work(tenants: &Tenants, session: &Session, step: &AtomicUsize) -> Vec<String> {
    step.store(0, Ordering::Relaxed);
    let mut tx = tenants.begin(session).await.unwrap();
    step.store(1, Ordering::Relaxed);
    sqlx::query("insert into notes (body) values ('dropped')").execute(&mut *tx).await.unwrap();
    step.store(2, Ordering::Relaxed);
    let seen = sqlx::query_scalar("select body from notes where body <> 'dropped'").fetch_all(&mut *tx).await;
    step.store(3, Ordering::Relaxed);
    sqlx::query("delete from notes where body = 'dropped'").execute(&mut *tx).await.unwrap();
    step.store(4, Ordering::Relaxed);
    tx.commit().await.unwrap();
    seen.unwrap()
}

/// Two in the shared home and one in its own, with a row each.
async fn sessions(db: &TestDatabase) -> [Session; 3] {
    let modes = [("a", Isolation::Shared), ("b", Isolation::Shared), ("s", Isolation::Schema)];
    let mut sessions = Vec::new();
    for (slug, isolation) in modes {
        let tenant = db.tenant(slug, isolation).await;
        write_note(db, &tenant, slug).await;
        sessions.push(db.session(&tenant, Actor::system("test")));
    }
    sessions.try_into().unwrap()
}

/// The long run cancels 10,000 times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_at_random_under_two_tenants_leaks_nothing() {
    let db = database().await;
    let sessions = sessions(&db).await;
    let mut cancelled = 0;
    for (regime, builder) in regimes() {
        let long = LongRound::begin("cancel at random, each regime of statements", 300, 9_000);
        let rounds = long.count();
        let tenants = db.connect(builder.max_connections(3)).await;
        let step = AtomicUsize::new(0);
        let report = CancelFuzz::new(&tenants)
            .rounds(rounds)
            .run(async |round| {
                let session = &sessions[round % 3];
                let seen = work(&tenants, session, &step).await;
                assert_eq!(seen, [session.tenant().slug()], "another tenant's rows");
            })
            .await
            .unwrap();
        assert_eq!(report.finished + report.cancelled, rounds);
        assert!(report.cancelled * 2 > rounds, "most are to be cancelled: {report:?}");
        cancelled += report.cancelled;
        eprintln!("cancel: {regime} statements: {rounds} rounds, {} cancelled, no leak", report.cancelled);
    }
    assert!(cancelled >= 10_000 || !LongRound::is_asked_for(), "{cancelled} were cancelled");
    for session in &sessions {
        let tenant = session.tenant();
        assert_eq!(notes(&db, tenant).await, [tenant.slug()], "a cancelled round left rows");
    }
}

/// The fuzz takes its connections from the pool, to look at each; a service is handed the one that was used last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_leaves_nothing_on_the_connection_that_is_used_next() {
    let db = database().await;
    let sessions = sessions(&db).await;
    let long = LongRound::begin("cancel with warm connections, batches of 100", 6, 60);
    let (mut cancelled, mut polls) = (0, 0);
    for batch in 0..long.count() {
        let (_, builder) = regimes().into_iter().nth(batch % 2).unwrap();
        let tenants = db.connect(builder.max_connections(2)).await;
        let step = AtomicUsize::new(0);
        for round in 0..100 {
            let session = &sessions[round % 3];
            polls = polls % 6 + 1;
            match drop_after(polls, work(&tenants, session, &step)).await {
                None => cancelled += 1,
                Some(seen) => assert_eq!(seen, [session.tenant().slug()]),
            }
            let mut tx = tenants.begin_read(session).await.unwrap();
            let seen = sqlx::query_scalar("select body from notes").fetch_all(&mut *tx).await;
            assert_eq!(seen.unwrap() as Vec<String>, [session.tenant().slug()], "round {round}");
            tx.commit().await.unwrap();
        }
        examine_pool(tenants.pool_unguarded()).await.unwrap();
        tenants.close().await;
    }
    assert!(cancelled > 50, "{cancelled} were cancelled");
}

/// The same fuzz on a pool that is used as sqlx's own documentation shows finds the leak that the guard is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_finds_what_a_plain_pool_leaks() {
    let db = database().await;
    let sessions = sessions(&db).await;
    let options = db.options(LocalRole::App).await;
    let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    let leak = CancelFuzz::of_pool(&pool)
        .rounds(10_000)
        .run(async |round| {
            let id = sessions[round % 3].tenant_id();
            let begin = format!("begin; set local app.current_tenant = '{id}'");
            let mut tx = pool.begin_with(AssertSqlSafe(begin)).await.unwrap();
            sqlx::query("select body from shared.notes").fetch_all(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
        })
        .await
        .unwrap_err();
    let tenant = sessions.iter().find(|session| leak.what().contains(&session.tenant_id().to_string()));
    assert!(tenant.is_some() && leak.to_string().starts_with("after round "), "{leak}");
}

/// A setting of the session, which is what a pool leaks without any cancellation.
#[tokio::test]
async fn cancel_finds_a_setting_that_outlives_its_transaction() {
    let db = database().await;
    let options = db.options(LocalRole::App).await;
    let pool = || PgPoolOptions::new().max_connections(2).connect_lazy_with(options.clone());
    for (sql, expected) in [
        ("set app.current_tenant = 'acme'", "still carries `acme` in `app.current_tenant`"),
        ("set search_path = shared", "still has search path `shared`"),
        ("begin", "is inside an open transaction"),
    ] {
        let pool = pool();
        let leak = CancelFuzz::of_pool(&pool)
            .run(async |_| {
                let mut conn = pool.acquire().await.unwrap();
                sqlx::raw_sql(sql).execute(&mut *conn).await.unwrap();
            })
            .await
            .unwrap_err();
        assert!(leak.what().contains(expected), "{leak}");
    }
    let idle = CancelFuzz::of_pool(&pool()).rounds(20).run(async |_| ()).await.unwrap_err();
    assert!(idle.what().contains("nothing was cancelled"), "{idle}");
}

/// Polls a future at most `polls` times and then drops it; `None` when it had not finished.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Drops before each poll in turn, until every step has been dropped in the middle: begin, the statements,
/// COMMIT. How often a step is polled is the scheduler's choice, so it is done several times over.
#[tokio::test]
async fn dropped_at_every_await_the_next_begin_works() {
    let db = database().await;
    let session = &sessions(&db).await[0];
    for (regime, builder) in regimes() {
        let tenants = db.connect(builder.max_connections(1)).await;
        let step = AtomicUsize::new(0);
        let mut dropped_in = [0; 5];
        for polls in (1..=12).cycle().take(600) {
            if drop_after(polls, work(&tenants, session, &step)).await.is_none() {
                dropped_in[step.load(Ordering::Relaxed)] += 1;
            }
            examine_pool(tenants.pool_unguarded()).await.unwrap();
            // One connection only: when it had been left unusable, this would fail.
            assert_eq!(work(&tenants, session, &step).await, ["a"], "{regime}: after a drop at poll {polls}");
            if dropped_in.iter().all(|count| *count > 2) {
                break;
            }
        }
        assert!(dropped_in.iter().all(|count| *count > 0), "{regime}: drops by step: {dropped_in:?}");
    }
}
