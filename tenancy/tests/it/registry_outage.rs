//! A registry that does not answer, and a home that could not be judged.

use std::{sync::Arc, time::Duration};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, HomePlace, Refusal, RegistryOptions, Tenants, TxOptions, local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::{
    fleet::{NEW, OLD},
    isolation::{NOTES, write_note},
    limits::Hands,
    registry::{by_name, until},
};

/// Shuts a database to everybody but the superuser, or opens it again.
async fn shut(db: &TestDatabase, database: &str, shut: bool) {
    let mut superuser: PgConnection =
        db.options_of(database, LocalRole::Superuser).await.connect().await.unwrap();
    let limit = if shut { 0 } else { -1 };
    let sql = format!(
        "do $$ begin execute format('alter database %I connection limit {limit}', current_database()); end $$;
         select pg_terminate_backend(pid, 5000) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid() and {shut}"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser).await.unwrap();
}

async fn node(db: &TestDatabase, builder: formwork_tenancy::TenantsBuilder) -> (Tenants, Hands) {
    let hands = Hands::default();
    hands.forward(Duration::from_secs(1));
    let options = RegistryOptions::new().clock(Arc::new(hands.clone()));
    (db.connect(builder.registry(options)).await, hands)
}

#[tokio::test]
async fn reads_go_on_for_thirty_seconds_without_a_registry_and_writes_do_not() {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &["eu"]).await;
    let tenant = db.tenant_at("a", HomePlace::database("eu")).await;
    db.tenant_at("cold", HomePlace::database("eu")).await;
    write_note(&db, &tenant, "kept").await;
    let (node, hands) = node(&db, Tenants::builder()).await;
    let session = db.session(&by_name(&node, "a").await.unwrap(), Actor::system("test"));
    shut(&db, "main", true).await;
    let reads = async || {
        let mut tx = node.begin_read(&session).await?;
        let note: String = sqlx::query_scalar("select body from notes").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(note, "kept");
        tx.rollback().await
    };
    // Young enough: nobody asks.
    node.begin(&session).await.unwrap().rollback().await.unwrap();
    for (passed, age) in [(1_000, 1_000), (28_999, 29_999)] {
        hands.forward(Duration::from_millis(passed));
        assert_eq!(by_name(&node, "a").await.unwrap().id(), tenant.id(), "{age} ms old");
        reads().await.unwrap();
        let error = node.begin(&session).await.unwrap_err();
        assert!(error.is_unavailable() && error.refusal().is_none(), "{error}");
    }
    let error = by_name(&node, "cold").await.unwrap_err();
    assert!(matches!(error, formwork_tenancy::ResolveError::Storage(error) if error.is_unavailable()));
    let metrics = node.registry_metrics();
    assert!(metrics.database_is_down && metrics.stale >= 4, "{metrics:?}");
    // Asked once, and then looked after in the background.
    assert!(metrics.misses > 4 && metrics.questions <= 2, "{metrics:?}");

    hands.forward(Duration::from_millis(1));
    assert!(by_name(&node, "a").await.is_err());
    assert!(reads().await.unwrap_err().is_unavailable());

    shut(&db, "main", false).await;
    while by_name(&node, "a").await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&node, |metrics| !metrics.database_is_down).await;
    node.begin(&session).await.unwrap().rollback().await.unwrap();
    reads().await.unwrap();
}

/// What an outage hid counts as soon as it is over, though the clock has not moved.
#[tokio::test]
async fn a_home_that_could_not_be_judged_is_judged_before_a_transaction() {
    let db = TestDatabase::with_databases(&[TENANCY, OLD], &["eu"]).await;
    db.tenant_at("behind", HomePlace::database("eu")).await;
    shut(&db, "eu", true).await;
    let (node, _hands) = node(&db, Tenants::builder().supports(&[TENANCY, NEW])).await;
    let tenant = by_name(&node, "behind").await.unwrap();
    let session = db.session(&tenant, Actor::system("test"));
    for options in [TxOptions::new(), TxOptions::new().read_only()] {
        let error = node.begin_with(&session, options).await.unwrap_err();
        assert!(error.is_unavailable() && error.refusal().is_none(), "{error}");
    }
    shut(&db, "eu", false).await;
    let refused = loop {
        match node.begin(&session).await {
            Err(error) if error.is_unavailable() => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => break error,
            Ok(_) => panic!("begun in a home that nobody has judged"),
        }
    };
    let Some(Refusal::Home(unsupported)) = refused.refusal() else { panic!("{refused}") };
    assert_eq!((unsupported.tenant(), unsupported.version()), ("behind", 1));
    // It stays so for whoever resolves it, once it is known.
    assert!(by_name(&node, "behind").await.is_err());
}

/// One that this node was not told of is refused by that name, however often it is asked for.
#[tokio::test]
async fn a_home_in_an_unknown_database_is_refused_as_that() {
    let db = TestDatabase::with_databases(&[TENANCY, OLD], &["eu"]).await;
    db.tenant_at("far", HomePlace::database("eu")).await;
    let options = db.options(LocalRole::App).await;
    let builder = Tenants::builder().base_domain(formwork_tenancy::testing::BASE_DOMAIN);
    let unaware = builder.supports(&[TENANCY, OLD]).connect_with(options).await.unwrap();
    let session = db.session(&by_name(&unaware, "far").await.unwrap(), Actor::system("test"));
    for _ in 0..2 {
        let error = unaware.begin(&session).await.unwrap_err();
        assert_eq!(error.unknown_database().map(|unknown| unknown.name()), Some("eu"), "{error}");
        assert!(!error.is_retryable());
    }
}
