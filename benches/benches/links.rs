//! What do links cost: in bytes, to read from either end, and to follow?
//!
//! 1,000,000 links of one tenant among 500,000 entities, four to an entity at the average, under row security. The
//! times of a page are the database's own (`explain analyze`, execution alone: a prepared statement is planned once);
//! the rest is timed through `Links`, round trips and permissions with it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::time::Instant;

use async_trait::async_trait;
use formwork_audit::Audit;
use formwork_authz::{Authz, Object, Schema};
use formwork_entity_links::{EntityResolver, LinkType, LinkTypes, Links, Selection, Walk};
use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, Session, StorageError, Tenant, TenantTx, local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

const LINKS: i32 = 1_000_000;
const ENTITIES: i32 = 500_000;
const ROUNDS: i32 = 201;

/// The user sees every entity, each by a relationship of its own.
const SCHEMA: &str = "
  definition user {}
  definition task { relation viewer: user  permission view = viewer  permission link = viewer }";

#[derive(Debug)]
struct Tasks;

#[async_trait]
impl EntityResolver for Tasks {
    async fn existing(&self, _: &mut TenantTx, _: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        Ok(ids.to_vec())
    }
}

/// The nth entity.
fn task(n: i32) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + u128::from(n.unsigned_abs()))
}

async fn fill(root: &mut PgConnection, tenant: &Tenant, user: Uuid) {
    let sql = format!(
        "insert into shared.permission_tuples (tenant_id, namespace, object_id, relation, subject_ns, subject_id)
         select '{}', 'task', '01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), 'viewer', 'user', '{user}'
           from generate_series(1, {ENTITIES}) n",
        tenant.id()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *root).await.unwrap();
    let id = "('01900000-0000-7000-8000-' || lpad(to_hex(";
    let from = format!("{id}1 + n % {ENTITIES}), 12, '0'))::uuid");
    let to = format!("{id}1 + (n::bigint * 7919 + n / {ENTITIES} * 104729) % {ENTITIES}), 12, '0'))::uuid");
    let sql = format!(
        "insert into shared.entity_links
           (tenant_id, id, source_type, source_id, target_type, target_id, relationship, created_by)
         select '{}', gen_random_uuid(), 'task', {from}, 'task', {to}, 'blocks', 'user:bench'
           from generate_series(1, {LINKS}) n on conflict do nothing",
        tenant.id()
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *root).await.unwrap();
    sqlx::raw_sql("vacuum analyze shared.entity_links").execute(&mut *root).await.unwrap();
}

async fn sizes(root: &mut PgConnection) {
    let (links, heap, indexes): (i64, i64, i64) = sqlx::query_as(
        "select count(*), pg_relation_size('shared.entity_links'), pg_indexes_size('shared.entity_links')
           from shared.entity_links",
    )
    .fetch_one(root)
    .await
    .unwrap();
    println!(
        "links/bytes: {links} links, {} bytes a link ({} in the table, {} in its indexes)",
        (heap + indexes) / links,
        heap / links,
        indexes / links
    );
}

/// The median and the 99th percentile of what the server says, in milliseconds.
async fn explained(tx: &mut TenantTx, name: &str, sql: &str) {
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let at = task(1 + round * 2_003 % ENTITIES);
        let sql =
            format!("explain (analyze, timing off, format json) {}", sql.replace("$end", &format!("'{at}'")));
        let plan: serde_json::Value =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut **tx).await.unwrap();
        let time = |part: &str| plan[0][part].as_f64().unwrap();
        times.push(time("Execution Time"));
    }
    report(name, times);
}

fn report(name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    println!(
        "links/{name}: median {:.3} ms, p99 {:.3} ms",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

async fn measure() {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT, ENTITY_LINKS]).await;
    let tenant = db.tenant("measured", Isolation::Shared).await;
    let mut root = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    let user = Uuid::now_v7();
    fill(&mut root, &tenant, user).await;
    sizes(&mut root).await;
    let mut tx = db.tenants().begin(&Session::new(&tenant, Actor::user(user))).await.unwrap();
    for (name, side, other) in [("forward", "source", "target"), ("inverse", "target", "source")] {
        let sql = format!(
            "select id, relationship, {other}_type, {other}_id from entity_links
              where {side}_type = 'task' and {side}_id = $end
                and id > '00000000-0000-0000-0000-000000000000' order by id limit 51"
        );
        explained(&mut tx, name, &sql).await;
    }
    drop(tx);
    through_the_crate(&db, &tenant, user).await;
}

async fn through_the_crate(db: &TestDatabase, tenant: &Tenant, user: Uuid) {
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
    let types = LinkTypes::new().with(LinkType::new("blocks", "blocked_by")).unwrap();
    let links = Links::new(authz.clone(), Audit::new(), types, Tasks);
    let mut tx = db.tenants().begin(&Session::new(tenant, Actor::user(user))).await.unwrap();
    // Reads the graph, so that no round does.
    assert!(
        authz
            .check(&mut tx, &Actor::user(user), "view", &Object::new("task", task(1)))
            .await
            .unwrap()
            .is_allowed()
    );
    for depth in [1, 3, 5] {
        let (mut times, mut steps, mut cut) = (Vec::new(), 0, 0);
        for round in 0..ROUNDS {
            let start = ("task", task(1 + round * 2_003 % ENTITIES)).into();
            let walk = Walk::new().depth(depth).steps(10_000);
            let begun = Instant::now();
            let walked = links.walk(&mut tx, &start, &walk).await.unwrap();
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            steps += walked.steps.len();
            cut += walked.cut.len();
        }
        assert_eq!(cut, 0, "nothing is cut off");
        report(&format!("walk/depth={depth} ({} steps)", steps / ROUNDS as usize), times);
    }
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let end = ("task", task(1 + round * 2_003 % ENTITIES)).into();
        let begun = Instant::now();
        links.linked(&mut tx, &end, &Selection::new(), None, 50).await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    report("linked", times);
}

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if std::env::args().any(|argument| argument == "--bench") {
        tokio::runtime::Runtime::new().unwrap().block_on(measure());
    }
}
