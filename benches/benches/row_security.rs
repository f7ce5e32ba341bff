//! What does row security cost, against a literal `where tenant_id = ..` by a role that no policy holds?
//!
//! 1,000,000 rows of 1,000 tenants, one table with the generated policy, the same prepared statement but for the
//! literal, each inside one open transaction. Answers are compared before anything is timed. Criterion gives the times;
//! the ratios are of rounds that alternate between the two, since a shared machine is not the same a minute later.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group};
use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Isolation, local_postgres::LocalRole, testing::TestDatabase};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Runtime;
use uuid::Uuid;

const TENANTS: i32 = 1_000;
const ROWS: i32 = 1_000;
const ROUNDS: usize = 41;

/// (name, under the policy, beside it, runs a round). `$1` is a key, and behind the policy `$2` the tenant.
const QUESTIONS: [(&str, &str, &str, u32); 3] = [
    (
        "by_key",
        "select id, title from sheets where id = $1",
        "select id, title from shared.sheets where tenant_id = $2 and id = $1",
        400,
    ),
    (
        "page_of_50",
        "select id, title from sheets where created_at < now() and id <> $1 order by created_at desc limit 50",
        "select id, title from shared.sheets where tenant_id = $2 and created_at < now() and id <> $1
          order by created_at desc limit 50",
        200,
    ),
    (
        "count",
        "select count(*)::text, count(*)::text from sheets where id <> $1",
        "select count(*)::text, count(*)::text from shared.sheets where tenant_id = $2 and id <> $1",
        40,
    ),
];

struct Side {
    conn: PgConnection,
    tenant: Option<Uuid>,
}

impl Side {
    async fn ask(&mut self, question: &'static str, key: Uuid) -> usize {
        let mut query = sqlx::query(question).bind(key);
        if let Some(tenant) = self.tenant {
            query = query.bind(tenant);
        }
        query.fetch_all(&mut self.conn).await.unwrap().len()
    }

    async fn time(&mut self, question: &'static str, key: Uuid, runs: u32) -> Duration {
        let begun = Instant::now();
        for _ in 0..runs {
            black_box(self.ask(question, key).await);
        }
        begun.elapsed()
    }
}

struct World {
    _db: TestDatabase,
    walled: Side,
    free: Side,
    key: Uuid,
}

async fn world() -> World {
    let sheets = TenantTable::new("sheets")
        .column("id", "uuid not null")
        .column("title", "text not null")
        .column("created_at", "timestamptz not null")
        .key("id")
        .index(&["created_at"]);
    let sql: &'static str = sheets.sql().unwrap().leak();
    let step: &'static [Migration] = vec![Migration { version: 1, name: "sheets", sql }].leak();
    let db =
        TestDatabase::new(&[TENANCY, Set { name: "bench/sheets", platform: &[], database: &[], home: step }])
            .await;
    let tenant = db.tenant("measured", Isolation::Shared).await.id().as_uuid();
    let mut free = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let fill = format!(
        "insert into shared.sheets (tenant_id, id, title, created_at)
           select case t when 500 then '{tenant}'::uuid else md5('tenant' || t)::uuid end, md5(t || '-' || n)::uuid,
                  'Sheet ' || n, '2026-01-01'::timestamptz + n * interval '1 minute'
             from generate_series(1, {ROWS}) n, generate_series(1, {TENANTS}) t;
         vacuum (analyze) shared.sheets"
    );
    for statement in fill.split(';') {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut free).await.unwrap();
    }
    let mut walled = PgConnection::connect_with(&db.options(LocalRole::App).await).await.unwrap();
    let settings = format!(
        "begin; set local app.current_tenant = '{tenant}'; set local search_path = shared, pg_temp; \
         set local jit = off"
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut walled).await.unwrap();
    sqlx::raw_sql("begin; set local jit = off").execute(&mut free).await.unwrap();
    let key: Uuid = sqlx::query_scalar("select md5('500-777')::uuid").fetch_one(&mut free).await.unwrap();
    World {
        _db: db,
        walled: Side { conn: walled, tenant: None },
        free: Side { conn: free, tenant: Some(tenant) },
        key,
    }
}

fn row_security(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut world = runtime.block_on(world());
    let key = world.key;
    for (name, under_policy, literal, runs) in QUESTIONS {
        let found = runtime.block_on(world.walled.ask(under_policy, key));
        assert_eq!(found, runtime.block_on(world.free.ask(literal, key)));
        assert_eq!(found, if name == "page_of_50" { 50 } else { 1 });
        let mut group = criterion.benchmark_group(format!("row_security/{name}"));
        group.bench_function("literal", |bencher| {
            bencher.iter(|| runtime.block_on(world.free.ask(literal, key)));
        });
        group.bench_function("policy", |bencher| {
            bencher.iter(|| runtime.block_on(world.walled.ask(under_policy, key)));
        });
        group.finish();
        runtime.block_on(compare(&mut world, name, under_policy, literal, runs));
    }
}

async fn compare(
    world: &mut World,
    name: &str,
    under_policy: &'static str,
    literal: &'static str,
    runs: u32,
) {
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let (walled, free) = if round % 2 == 0 {
            let walled = world.walled.time(under_policy, world.key, runs).await;
            (walled, world.free.time(literal, world.key, runs).await)
        } else {
            let free = world.free.time(literal, world.key, runs).await;
            (world.walled.time(under_policy, world.key, runs).await, free)
        };
        ratios.push(walled.as_secs_f64() / free.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "row_security/{name}: policy/literal, median of {ROUNDS} rounds of {runs}: {:.3} (quartiles {:.3} and {:.3})",
        ratios[ROUNDS / 2],
        ratios[ROUNDS / 4],
        ratios[ROUNDS * 3 / 4]
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(3));
    targets = row_security
}

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if std::env::args().any(|argument| argument == "--bench") {
        benches();
    }
}
