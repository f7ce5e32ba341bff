//! What does the guard of `TenantTx` cost, against a bare transaction of sqlx's pool around the same query?
//!
//! Both take turns, a few dozen at a time, and the ratio is that of neighbours: on a machine whose processors fall
//! asleep between two messages, a time alone says little.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench fails by panicking, tells its ratios, and the peer is a bare transaction"
)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, Session, Tenants, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::runtime::Runtime;

const TURN: u32 = 50;
const TURNS: usize = 400;

#[derive(Clone)]
struct Setting {
    tenants: Tenants,
    session: Session,
    pool: PgPool,
}

impl Setting {
    async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY]).await;
        let tenant = db.tenant("a", Isolation::Shared).await;
        let session = Session::new(&tenant, Actor::system("bench"));
        let options = db.options(LocalRole::App).await;
        let pool = PgPoolOptions::new().test_before_acquire(false).connect_with(options).await.unwrap();
        Self { tenants: db.tenants().clone(), session, pool }
    }

    async fn bare(&self) {
        let mut tx = self.pool.begin().await.unwrap();
        let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one, 1);
    }

    async fn write(&self) {
        let mut tx = self.tenants.begin(&self.session).await.unwrap();
        let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one, 1);
    }

    async fn read(&self) {
        let mut tx = self.tenants.begin_read(&self.session).await.unwrap();
        let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one, 1);
    }

    async fn turns(self) -> Vec<[Duration; 3]> {
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push([turn(|| self.bare()).await, turn(|| self.write()).await, turn(|| self.read()).await]);
        }
        turns
    }
}

async fn turn<F: Future>(work: impl Fn() -> F) -> Duration {
    let begun = Instant::now();
    for _ in 0..TURN {
        work().await;
    }
    begun.elapsed() / TURN
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

/// In a task of the runtime, as in a service: outside, each answer would wake one more thread.
fn ratios(runtime: &Runtime, setting: &Setting) {
    let turns = runtime.block_on(runtime.spawn(setting.clone().turns())).unwrap();
    for (number, name) in ["sqlx, bare", "TenantTx, may write", "TenantTx, read only"].iter().enumerate() {
        let micros = median(turns.iter().map(|turn| turn[number].as_secs_f64() * 1e6).collect());
        let ratio = median(turns.iter().map(|turn| turn[number].div_duration_f64(turn[0])).collect());
        println!("{name:20} median {micros:6.1} us, {ratio:.2} times its bare neighbour");
    }
}

fn transaction(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let setting = runtime.block_on(Setting::new());
    ratios(&runtime, &setting);
    let mut group = criterion.benchmark_group("transaction");
    group.bench_function("bare", |bencher| bencher.to_async(&runtime).iter(|| setting.bare()));
    group.bench_function("tenant", |bencher| bencher.to_async(&runtime).iter(|| setting.write()));
    group.bench_function("tenant, read only", |bencher| bencher.to_async(&runtime).iter(|| setting.read()));
    group.finish();
}

criterion_group!(benches, transaction);
criterion_main!(benches);
