//! A future dropped at any await leaves no tenant's context behind.
//!
//! sqlx 0.8.4 to 0.9.0 would return a connection to the pool inside an open transaction, with the previous
//! tenant's setting in force, when a future is dropped while BEGIN is on its way.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

use formwork_tenancy::{Actor, Isolation, Tenant, Tenants, testing::TestDatabase};

use crate::isolation::{database, notes, write_note};

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

/// Begin, three statements, commit; `step` tells which of the five is being awaited.
async fn work(tenants: &Tenants, db: &TestDatabase, tenant: &Tenant, step: &AtomicUsize) -> Vec<String> {
    step.store(0, Ordering::Relaxed);
    let mut tx = tenants.begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
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

/// What a plain query outside any transaction finds on the pool's connections: no tenant, no rows.
async fn assert_clean(tenants: &Tenants) {
    // Idle ones, all at once, so that each is looked at; one more by a fair wait.
    let mut held = vec![tenants.pool_unguarded().acquire().await.unwrap()];
    while let Some(conn) = tenants.pool_unguarded().try_acquire() {
        held.push(conn);
    }
    for mut conn in held {
        let (setting, rows): (Option<String>, i64) = sqlx::query_as(
            "select current_setting('app.current_tenant', true), (select count(*) from shared.notes)",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        assert_eq!(setting.as_deref().unwrap_or_default(), "", "a tenant's setting outlived its transaction");
        assert_eq!(rows, 0, "rows were seen without a tenant");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_at_random_under_two_tenants_leaks_nothing() {
    let rounds = if std::env::var_os("FORMWORK_LONG").is_some() { 10_000 } else { 2_000 };
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let b = db.tenant("b", Isolation::Shared).await;
    let s = db.tenant("s", Isolation::Schema).await;
    for tenant in [&a, &b, &s] {
        write_note(&db, tenant, tenant.slug()).await;
    }
    let tenants = db.connect(Tenants::builder().max_connections(3)).await;
    let step = AtomicUsize::new(0);
    let mut finished = 0;
    // A linear congruential generator (Knuth, MMIX) with a fixed seed: the same rounds every time.
    let mut state: u64 = 0x5eed;
    for round in 0..rounds {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let tenant = [&a, &b, &s][(state >> 60) as usize % 3];
        // By polls, which are finer than a timer's millisecond, and by time, as a client that goes away.
        let draw = (state >> 33) as usize;
        let work = work(&tenants, &db, tenant, &step);
        let seen = match round % 4 {
            0 => tokio::time::timeout(Duration::from_micros(draw as u64 % 6_000), work).await.ok(),
            _ => drop_after(1 + draw % 14, work).await,
        };
        if let Some(seen) = seen {
            finished += 1;
            assert_eq!(seen, [tenant.slug()], "another tenant's rows");
        }
        // A plain query is what would see it: a transaction of ours sets the tenant anew.
        assert_clean(&tenants).await;
    }
    assert!(
        0 < finished && finished < rounds,
        "{finished} of {rounds} finished: nothing was cancelled, or all"
    );
    for tenant in [&a, &b, &s] {
        assert_eq!(notes(&db, tenant).await, [tenant.slug()], "a cancelled round left rows");
    }
    eprintln!("cancel: {rounds} rounds, {} cancelled, no leak", rounds - finished);
}

/// Drops before each poll in turn, until every step has been dropped in the middle: begin, the statements,
/// COMMIT. How often a step is polled is the scheduler's choice, so it is done several times over.
#[tokio::test]
async fn dropped_at_every_await_the_next_begin_works() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &a, "a").await;
    let tenants = db.connect(Tenants::builder().max_connections(1)).await;
    let step = AtomicUsize::new(0);
    let mut dropped_in = [0; 5];
    for polls in (1..=12).cycle().take(600) {
        if drop_after(polls, work(&tenants, &db, &a, &step)).await.is_none() {
            dropped_in[step.load(Ordering::Relaxed)] += 1;
        }
        assert_clean(&tenants).await;
        // One connection only: when it had been left unusable, this would fail.
        assert_eq!(work(&tenants, &db, &a, &step).await, ["a"], "after a drop at poll {polls}");
        if dropped_in.iter().all(|count| *count > 2) {
            break;
        }
    }
    assert!(dropped_in.iter().all(|count| *count > 0), "drops by step: {dropped_in:?}");
}
