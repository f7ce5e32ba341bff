//! What does it cost to find a request's tenant: remembered, shared by another node, asked of Postgres, unknown?
//!
//! Beside it, on the same work, a bare moka future cache that holds an `Arc` by a `String`, and the plain query for one
//! row by its unique key in a read-only transaction. Every answer is looked at.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and says what it leaves out"
)]

mod redis_server;

use std::{
    alloc::System,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Isolation, NewTenant, RegistryOptions, ResolveError, TenantId, Tenants, TokenTenant,
    limits::Clock,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, TestDatabase},
};
use futures::FutureExt;
use http::{Request, request::Parts};
use sqlx::postgres::PgPoolOptions;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

use self::redis_server::Server;

#[global_allocator]
static ALLOCATIONS: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TENANTS: usize = 100;

/// A clock that jumps as far as it is told: whatever is remembered is too old at once.
#[derive(Debug, Clone, Default)]
struct Jumping(Arc<AtomicU64>);

impl Jumping {
    fn second(&self) {
        self.0.fetch_add(1_000_000_000, Ordering::Relaxed);
    }
}

impl Clock for Jumping {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed) + 100_000_000_000)
    }
}

fn parts(slug: &str, token: Option<TenantId>) -> Parts {
    let request = Request::get("/").header("host", format!("{slug}.{BASE_DOMAIN}"));
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    if let Some(id) = token {
        parts.extensions.insert(TokenTenant(id));
    }
    parts
}

fn slug(number: usize) -> String {
    format!("tenant-{}", number % TENANTS)
}

async fn database() -> TestDatabase {
    let db = TestDatabase::new(&[TENANCY]).await;
    for number in 0..TENANTS {
        db.control().provision(&NewTenant::new(slug(number), "T", Isolation::Shared)).await.unwrap();
    }
    db
}

fn warm(criterion: &mut Criterion, runtime: &Runtime, db: &TestDatabase) {
    let tenants = runtime.block_on(db.connect(Tenants::builder()));
    let requests: Vec<(Parts, Parts)> = runtime.block_on(async {
        let mut requests = Vec::new();
        for number in 0..TENANTS {
            let id = tenants.by_slug(&slug(number)).await.unwrap().unwrap().id();
            requests.push((parts(&slug(number), None), parts(&slug(number), Some(id))));
        }
        requests
    });
    let peer: moka::future::Cache<String, Arc<str>> = moka::future::Cache::new(20_000);
    runtime.block_on(async {
        for number in 0..TENANTS {
            peer.insert(slug(number), slug(number).into()).await;
        }
    });
    let sync_peer: moka::sync::Cache<String, Arc<str>> = moka::sync::Cache::new(20_000);
    (0..TENANTS).for_each(|number| sync_peer.insert(slug(number), slug(number).into()));
    let names: Vec<String> = (0..TENANTS).map(slug).collect();
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 1) % TENANTS;
        turn
    };
    // The runtime is entered, as it is in a service, so that what is due is looked after beside it.
    let _entered = runtime.enter();
    let resolve = |parts: &Parts| {
        // Not remembered any more after a pause of the bench's: waited for.
        let answer = tenants.resolve(black_box(parts)).now_or_never();
        let answer = answer.unwrap_or_else(|| runtime.block_on(tenants.resolve(parts)));
        drop(black_box(answer.unwrap()));
    };
    requests.iter().for_each(|(host, token)| {
        resolve(host);
        resolve(token);
    });
    let region = Region::new(ALLOCATIONS);
    (0..1_000).for_each(|_| resolve(&requests.get(next()).unwrap().1));
    println!("allocations in 1,000 warm look-ups: {}", region.change().allocations);
    let mut group = criterion.benchmark_group("resolve");
    group.bench_function("warm/host", |bencher| bencher.iter(|| resolve(&requests.get(next()).unwrap().0)));
    group.bench_function("warm/host and token", |bencher| {
        bencher.iter(|| resolve(&requests.get(next()).unwrap().1));
    });
    group.bench_function("peer/moka future get", |bencher| {
        bencher.iter(|| peer.get(black_box(names.get(next()).unwrap())).now_or_never().flatten().unwrap());
    });
    group.bench_function("peer/moka sync get", |bencher| {
        bencher.iter(|| sync_peer.get(black_box(names.get(next()).unwrap())).unwrap());
    });
    group.finish();
}

fn cold(criterion: &mut Criterion, runtime: &Runtime, db: &TestDatabase) {
    let node = |options: RegistryOptions| {
        let clock = Jumping::default();
        let options = options.clock(Arc::new(clock.clone()));
        (runtime.block_on(db.connect(Tenants::builder().registry(options))), clock)
    };
    let requests: Vec<Parts> = (0..TENANTS).map(|number| parts(&slug(number), None)).collect();
    let mut turn = 0;
    let mut next = || {
        turn = (turn + 1) % TENANTS;
        requests.get(turn).unwrap()
    };
    let pool = runtime.block_on(async {
        PgPoolOptions::new().test_before_acquire(false).connect_lazy_with(db.options(LocalRole::App).await)
    });
    let mut group = criterion.benchmark_group("resolve");
    let (tenants, clock) = node(RegistryOptions::new());
    group.bench_function("cold/Postgres", |bencher| {
        bencher.to_async(runtime).iter(|| {
            clock.second();
            let request = next();
            async { tenants.resolve(request).await.unwrap() }
        });
    });
    group.bench_function("peer/query", |bencher| {
        bencher.to_async(runtime).iter(|| async {
            let found: Option<String> = sqlx::query_scalar("select name from platform.tenant_by_slug($1)")
                .bind("tenant-7")
                .fetch_optional(&pool)
                .await
                .unwrap();
            assert!(found.is_some());
        });
    });
    let unknown = parts("nobody-at-all", None);
    let unknown_turn = || match tenants.resolve(black_box(&unknown)).now_or_never() {
        Some(Err(ResolveError::UnknownHost { .. })) => {}
        other => assert!(other.is_none(), "somebody is there"),
    };
    let _entered = runtime.enter();
    runtime.block_on(tenants.resolve(&unknown)).unwrap_err();
    group.bench_function("unknown/remembered", |bencher| bencher.iter(unknown_turn));
    if let Some(server) = Server::start() {
        let shared = || RegistryOptions::new().redis(&server.url()).unwrap();
        let (reader, clock) = node(shared());
        let (writer, writers_clock) = node(shared());
        // The other node has read it less than a second ago: written again every 300 ms.
        let writes = runtime.spawn({
            let (writer, parts) = (writer.clone(), parts("tenant-7", None));
            async move {
                loop {
                    writers_clock.second();
                    let _ = writer.resolve(&parts).await;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
            }
        });
        let request = parts("tenant-7", None);
        group.bench_function("cold/Redis", |bencher| {
            bencher.to_async(runtime).iter(|| {
                clock.second();
                async { reader.resolve(&request).await.unwrap() }
            });
        });
        let metrics = reader.registry_metrics();
        println!("through Redis: {} of {} look-ups", metrics.redis_hits, metrics.misses);
        writes.abort();
    } else {
        println!("redis-server is not installed: Redis is left out");
    }
    group.finish();
}

fn resolve(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let db = runtime.block_on(database());
    warm(criterion, &runtime, &db);
    cold(criterion, &runtime, &db);
}

criterion_group!(benches, resolve);
criterion_main!(benches);
