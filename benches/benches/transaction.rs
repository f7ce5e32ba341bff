//! What does the guard of `TenantTx` cost, against a bare transaction around the same query?
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking, and the peer is a bare transaction"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use formwork_migrations::TENANCY;
use formwork_tenancy::{Actor, Isolation, Session, local_postgres::LocalRole, testing::TestDatabase};
use sqlx::{Connection, postgres::PgPoolOptions};

fn transaction(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (tenants, session, pool) = runtime.block_on(async {
        let db = TestDatabase::new(&[TENANCY]).await;
        let tenant = db.tenant("a", Isolation::Shared).await;
        let session = Session::new(&tenant, Actor::system("bench"));
        let options = db.options(LocalRole::App).await;
        let pool = PgPoolOptions::new().test_before_acquire(false).connect_with(options).await.unwrap();
        (db.tenants().clone(), session, pool)
    });
    let mut group = criterion.benchmark_group("transaction");
    group.bench_function("bare", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut tx = pool.begin().await.unwrap();
            let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            one
        });
    });
    // What the pool costs, and what the guard does: the same without any pool.
    let mut held = runtime.block_on(pool.acquire()).unwrap();
    group.bench_function("bare, connection held", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let mut tx = held.begin().await.unwrap();
                let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                one
            })
        });
    });
    group.bench_function("tenant", |bencher| {
        bencher.to_async(&runtime).iter(|| async {
            let mut tx = tenants.begin(&session).await.unwrap();
            let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
            tx.commit().await.unwrap();
            one
        });
    });
    group.finish();
}

criterion_group!(benches, transaction);
criterion_main!(benches);
