//! What does a rate limit cost, in memory and in Redis, against crate `governor` on the same work?
//!
//! Ten thousand tenants in turn, each call under one limit, as that is what `governor` has; then the three of a usual
//! request. Every call is allowed, and that is looked at. Redis is a server of the bench's own, on a local socket.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and says what it leaves out"
)]

mod redis_server;

use std::{
    hint::black_box,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, Session, TenantId,
    limits::{Call, Limit, MemoryLimiter, RedisLimiter},
    quota::{self, Quotas},
    testing::TestDatabase,
};
use governor::{DefaultKeyedRateLimiter, Quota};
use tokio::runtime::Runtime;

use self::redis_server::Server;

const TENANTS: usize = 10_000;
const WIDE: Limit = Limit::per_second(1_000_000_000);

fn tenants() -> Vec<TenantId> {
    (0..TENANTS).map(|_| TenantId::generate()).collect()
}

/// The time of `turns` turns on each of two threads at once.
fn two_threads(turns: u64, work: impl Fn(usize) + Sync) -> Duration {
    let turns = usize::try_from(turns).unwrap();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let work = &work;
            scope.spawn(move || (0..turns).for_each(|turn| work(turn + thread * TENANTS / 2)));
        }
    });
    begun.elapsed()
}

fn memory(criterion: &mut Criterion) {
    let (tenants, ada) = (tenants(), Actor::user(uuid::Uuid::now_v7()));
    let tenant = |turn: usize| tenants.get(turn % TENANTS).copied().unwrap();
    let limiter = MemoryLimiter::new();
    let one = |turn: usize| {
        let call = Call::of_tenant(tenant(turn)).overall(WIDE);
        assert!(black_box(limiter.check(&call)).is_allowed());
    };
    let three = |turn: usize| {
        let call =
            Call::of_tenant(tenant(turn)).overall(WIDE).user(&ada, WIDE).endpoint("GET /tasks/{id}", WIDE);
        assert!(black_box(limiter.check(&call)).is_allowed());
    };
    let quota = Quota::per_second(NonZeroU32::new(1_000_000_000).unwrap());
    let peer = DefaultKeyedRateLimiter::<TenantId>::keyed(quota);
    let governor = |turn: usize| assert!(black_box(peer.check_key(&tenant(turn))).is_ok());

    let mut group = criterion.benchmark_group("limits");
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        turn
    };
    group.bench_function("memory/one", |bencher| bencher.iter(|| one(next())));
    group.bench_function("governor/one", |bencher| bencher.iter(|| governor(next())));
    group.bench_function("memory/three", |bencher| bencher.iter(|| three(next())));
    group.bench_function("memory/one, 2 threads", |bencher| {
        bencher.iter_custom(|turns| two_threads(turns, one))
    });
    group.bench_function("governor/one, 2 threads", |bencher| {
        bencher.iter_custom(|turns| two_threads(turns, governor));
    });
    let of_one = |_| one(0);
    group.bench_function("memory/one tenant, 2 threads", |bencher| {
        bencher.iter_custom(|turns| two_threads(turns, of_one));
    });
    let of_one = |_| governor(0);
    group.bench_function("governor/one tenant, 2 threads", |bencher| {
        bencher.iter_custom(|turns| two_threads(turns, of_one));
    });
    group.finish();
}

async fn limiter(server: &Server) -> RedisLimiter {
    let begun = Instant::now();
    loop {
        let builder = RedisLimiter::builder(server.url()).timeout(Duration::from_secs(10));
        let limiter = builder.connect().await.unwrap();
        if !limiter.is_degraded() {
            return limiter;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "redis-server does not answer");
    }
}

fn redis(criterion: &mut Criterion) {
    let Some(server) = Server::start() else {
        println!("redis-server is not installed: Redis is left out");
        return;
    };
    let runtime = Runtime::new().unwrap();
    let limiter = runtime.block_on(limiter(&server));
    let (tenant, ada) = (TenantId::generate(), Actor::user(uuid::Uuid::now_v7()));
    // As much as Redis counts exactly, in microseconds.
    let wide = Limit::per_second(1_000_000);
    let three = || async {
        let call = Call::of_tenant(tenant).overall(wide).user(&ada, wide).endpoint("GET /tasks/{id}", wide);
        assert!(limiter.check(&call).await.is_allowed());
    };
    let mut group = criterion.benchmark_group("limits");
    group.bench_function("redis/three", |bencher| bencher.to_async(&runtime).iter(three));
    group.bench_function("redis/three, 32 at once, all", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| async { futures::future::join_all((0..32).map(|_| three())).await });
    });
    group.finish();
    assert!(!limiter.is_degraded());
}

/// A transaction that uses a unit, beside one that asks `select 1`.
fn quota(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (tenants, session) = runtime.block_on(async {
        let db = TestDatabase::new(&[TENANCY]).await;
        let tenant = db.tenant("a", Isolation::Shared).await;
        (db.tenants().clone(), Session::new(&tenant, Actor::system("bench")))
    });
    let quotas = Quotas::new().any_plan("projects", quota::Quota::up_to(1 << 50));
    let bare = || async {
        let mut tx = tenants.begin(&session).await.unwrap();
        let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(one, 1);
    };
    let consume = || async {
        let mut tx = tenants.begin(&session).await.unwrap();
        quotas.consume(&mut tx, "projects", 1).await.unwrap();
        tx.commit().await.unwrap();
    };
    let reserve = || async {
        let mut tx = tenants.begin(&session).await.unwrap();
        let reservation = quotas.reserve(&mut tx, "projects", 1).await.unwrap();
        quotas.settle(&mut tx, &reservation, 1).await.unwrap();
        tx.commit().await.unwrap();
    };
    let mut group = criterion.benchmark_group("quota");
    group.bench_function("transaction, select 1", |bencher| bencher.to_async(&runtime).iter(bare));
    group.bench_function("transaction, consume", |bencher| bencher.to_async(&runtime).iter(consume));
    group.bench_function("transaction, reserve and settle", |bencher| {
        bencher.to_async(&runtime).iter(reserve)
    });
    group.finish();
}

criterion_group!(benches, memory, redis, quota);
criterion_main!(benches);
