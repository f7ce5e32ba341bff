//! What a node remembers of tenants, for how long, and what it costs the database.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Isolation, NewTenant, RegistryMetrics, RegistryOptions, ResolveError, Status, Tenant, Tenants,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, TestDatabase},
};
use futures::future::join_all;
use sqlx::{AssertSqlSafe, ConnectOptions};

use crate::limits::Hands;

/// More than half of what an entry may be old: whoever asks then has it looked after.
const DUE: Duration = Duration::from_millis(500);

async fn database() -> TestDatabase {
    TestDatabase::new(&[TENANCY]).await
}

/// Another node, for which time stands still until the test moves it.
pub(crate) async fn node(db: &TestDatabase) -> (Tenants, Hands) {
    let hands = Hands::default();
    hands.forward(Duration::from_secs(1));
    let options = RegistryOptions::new().clock(Arc::new(hands.clone()));
    (db.connect(Tenants::builder().registry(options)).await, hands)
}

pub(crate) async fn by_host(tenants: &Tenants, host: &str) -> Result<Tenant, ResolveError> {
    let (parts, ()) = http::Request::get("/").header("host", host).body(()).unwrap().into_parts();
    tenants.resolve(&parts).await
}

pub(crate) async fn by_name(tenants: &Tenants, slug: &str) -> Result<Tenant, ResolveError> {
    by_host(tenants, &format!("{slug}.{BASE_DOMAIN}")).await
}

pub(crate) async fn as_owner(db: &TestDatabase, sql: impl Into<String>) {
    let mut owner = db.options(LocalRole::Owner).await.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(&mut owner).await.unwrap();
}

/// Waits for what happens in the background.
pub(crate) async fn until(tenants: &Tenants, done: impl Fn(RegistryMetrics) -> bool) {
    let begun = Instant::now();
    while !done(tenants.registry_metrics()) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", tenants.registry_metrics());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_key_that_many_want_is_asked_for_once() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (node, hands) = node(&db).await;
    for round in 1..=3 {
        let all = join_all((0..50).map(|_| by_name(&node, "a"))).await;
        assert!(all.into_iter().all(|found| found.unwrap().id() == tenant.id()));
        assert_eq!(node.registry_metrics().questions, round);
        // By its identity it is known now too.
        assert!(node.by_id(tenant.id()).await.unwrap().is_some());
        assert_eq!(node.registry_metrics().questions, round);
        hands.forward(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn what_is_in_use_is_looked_after_in_one_question() {
    let db = database().await;
    for nr in 0..20 {
        let isolation = if nr % 2 == 0 { Isolation::Shared } else { Isolation::Schema };
        db.tenant(&format!("t{nr}"), isolation).await;
    }
    let (node, hands) = node(&db).await;
    let all = async || {
        for nr in 0..20 {
            by_name(&node, &format!("t{nr}")).await.unwrap();
        }
    };
    all().await;
    let first = node.registry_metrics();
    for round in 1..=5 {
        hands.forward(DUE);
        all().await;
        until(&node, |metrics| metrics.renewed >= first.renewed + 20 * round).await;
    }
    let last = node.registry_metrics();
    assert_eq!(last.questions, first.questions, "nothing was asked for by itself");
    assert_eq!((last.outdated, last.renewals - first.renewals), (0, 5));

    // Of all that are held, the one that changed is read anew, whoever changed it.
    as_owner(&db, "update platform.tenants set status = 'suspended' where slug = 't7'").await;
    hands.forward(DUE);
    by_name(&node, "t3").await.unwrap();
    until(&node, |metrics| metrics.outdated == 1).await;
    let error = by_name(&node, "t7").await.unwrap_err();
    assert!(matches!(error, ResolveError::NotActive { status: Status::Suspended }), "{error}");
    by_name(&node, "t3").await.unwrap();
    assert_eq!(node.registry_metrics().questions, first.questions + 1);
}

/// The clock stands still: only what was looked at can tell.
#[tokio::test]
async fn a_migration_of_the_home_is_a_change_of_its_tenants() {
    let db = database().await;
    let own = db.tenant("own", Isolation::Schema).await;
    db.tenant("other", Isolation::Schema).await;
    let (node, hands) = node(&db).await;
    for slug in ["own", "other"] {
        by_name(&node, slug).await.unwrap();
    }
    let line = "insert into platform.migration_ledger (home, set_name, version, name, checksum) values";
    as_owner(&db, format!("{line} ('{}', 'test/late', 3, 'late', '')", own.schema_name())).await;
    hands.forward(DUE);
    by_name(&node, "other").await.unwrap();
    until(&node, |metrics| metrics.outdated == 1).await;
    let newest = by_name(&node, "own").await.unwrap();
    assert_eq!(newest.home_versions().get("test/late"), Some(&3));
}

#[tokio::test]
async fn a_flood_of_made_up_hosts_costs_bounded_work_and_memory() {
    let db = database().await;
    db.tenant("known", Isolation::Shared).await;
    let (node, hands) = node(&db).await;
    by_name(&node, "known").await.unwrap();
    let before = node.registry_metrics();
    // All at once: what does not fit into the queue is turned away, what does goes in few questions.
    let flood = join_all((0..5_000).map(|nr| {
        let node = &node;
        async move { by_name(node, &format!("made-up-{nr}")).await }
    }));
    let (turned_away, unknown): (Vec<_>, Vec<_>) = flood
        .await
        .into_iter()
        .partition(|answer| matches!(answer, Err(ResolveError::Storage(error)) if error.is_unavailable()));
    assert!(unknown.iter().all(|answer| matches!(answer, Err(ResolveError::UnknownHost { .. }))));
    assert_eq!((unknown.len(), turned_away.len()), (1_024, 5_000 - 1_024));
    let metrics = node.registry_metrics();
    assert_eq!(metrics.questions - before.questions, 8);
    assert!(!metrics.database_is_down, "whoever is turned away says nothing of the database");
    by_name(&node, "known").await.unwrap();
    // One after the other, each a new name, for longer than is remembered.
    for nr in 0..12_000 / 500 {
        join_all((0..500).map(|n| {
            let node = &node;
            async move { by_name(node, &format!("again-{nr}-{n}")).await.unwrap_err() }
        }))
        .await;
    }
    let remembered = node.registry_metrics().remembered_unknown;
    assert!(remembered <= 10_500, "{remembered}");
    // A tenant that is made meanwhile is found within a second, though it was asked for before.
    by_name(&node, "late").await.unwrap_err();
    db.control().provision(&NewTenant::new("late", "Late", Isolation::Shared)).await.unwrap();
    let questions = node.registry_metrics().questions;
    by_name(&node, "late").await.unwrap_err();
    assert_eq!(node.registry_metrics().questions, questions, "it was remembered");
    hands.forward(Duration::from_millis(999));
    by_name(&node, "late").await.unwrap();
}

#[tokio::test]
async fn a_host_that_was_taken_away_finds_nothing_any_more() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    as_owner(
        &db,
        "insert into platform.tenant_domains (host, tenant_id, verified_at)
         select 'build.example', id, now() from platform.tenants where slug = 'a'",
    )
    .await;
    let (node, hands) = node(&db).await;
    assert_eq!(by_host(&node, "build.example").await.unwrap().id(), a.id());
    as_owner(&db, format!("update platform.tenant_domains set tenant_id = '{}'", b.id())).await;
    hands.forward(DUE);
    by_host(&node, "build.example").await.unwrap();
    until(&node, |metrics| metrics.outdated == 1).await;
    assert_eq!(by_host(&node, "build.example").await.unwrap().id(), b.id());
    as_owner(&db, "delete from platform.tenant_domains").await;
    // Without a look in between too.
    hands.forward(Duration::from_secs(1));
    let error = by_host(&node, "build.example").await.unwrap_err();
    assert!(matches!(error, ResolveError::UnknownHost { .. }), "{error}");
}

#[tokio::test]
async fn every_change_of_a_tenant_is_a_newer_version_whoever_makes_it() {
    let db = database().await;
    let made = db.tenant("a", Isolation::Shared).await;
    let (node, hands) = node(&db).await;
    let mut last = made.version();
    for (change, is_one) in [
        ("update platform.tenants set name = 'Another'", true),
        ("update platform.tenants set plan = 'large', version = version + 1", true),
        ("update platform.tenants set version = 1", true),
        ("update platform.tenants set name = name", false),
    ] {
        as_owner(&db, change).await;
        hands.forward(Duration::from_secs(1));
        let version = node.by_slug("a").await.unwrap().unwrap().version();
        assert_eq!(version > last, is_one, "{change}: {last} to {version}");
        last = version;
    }
}

#[tokio::test]
async fn a_slug_that_was_given_to_another_tenant_finds_that_one() {
    let db = database().await;
    let old = db.tenant("a", Isolation::Shared).await;
    let (node, hands) = node(&db).await;
    for _ in 0..3 {
        as_owner(&db, "update platform.tenants set plan = plan || 'x'").await;
    }
    assert_eq!(by_name(&node, "a").await.unwrap().id(), old.id());
    as_owner(&db, "update platform.tenants set slug = 'b'").await;
    // Of a lower version: those of two tenants say nothing of each other.
    let new = NewTenant::placed("a", "a", formwork_tenancy::HomePlace::shared());
    let new = db.control().provision(&new).await.unwrap();
    hands.forward(Duration::from_secs(1));
    assert_eq!(by_name(&node, "b").await.unwrap().id(), old.id());
    let found = by_name(&node, "a").await.unwrap();
    assert!(found.id() != old.id() && found.id() == new);
}

/// Nobody is told of a tenant whose key he did not have, and what is asked says nothing of the others.
#[tokio::test]
async fn a_login_can_ask_for_what_it_holds_and_list_nothing() {
    let db = database().await;
    let (a, _b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let mut app = db.options(LocalRole::App).await.connect().await.unwrap();
    let ask = "select slug from platform.tenants_by_keys($1, '{}', '{}') order by 1";
    for (keys, found) in [(vec!["a", "nobody"], vec!["a"]), (vec!["%", "", "A"], vec![]), (vec![], vec![])] {
        let answer: Vec<String> = sqlx::query_scalar(ask).bind(keys).fetch_all(&mut app).await.unwrap();
        assert_eq!(answer, found);
    }
    let ask = "select * from platform.tenants_changed($1, $2, $3)";
    let nobody = uuid::Uuid::now_v7();
    let answer: Vec<uuid::Uuid> = sqlx::query_scalar(ask)
        .bind(vec![nobody, a.id().as_uuid()])
        .bind(vec![1_i64, 1])
        .bind(vec![0_i64, 0])
        .fetch_all(&mut app)
        .await
        .unwrap();
    assert_eq!(answer.len(), 2, "one that is not there looks like one that has changed");
    for table in ["platform.tenants", "platform.registry_key"] {
        let refused = sqlx::query(AssertSqlSafe(format!("select from {table}"))).execute(&mut app).await;
        assert!(refused.unwrap_err().to_string().contains("permission denied"), "{table}");
    }
}
