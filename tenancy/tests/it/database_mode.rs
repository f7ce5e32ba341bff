//! Tenants whose home is in another database: the same code, the same walls.

use std::time::Duration;

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, ConnectError, ControlError, ControlPlane, HomePlace, Isolation, NewTenant, OutboxEvent, Prune,
    StreamTable, Tenants,
    doctor::DoctorConfig,
    fleet::{Canary, FleetOptions},
    local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::{
    fleet::{NEW, OLD},
    isolation::{NOTES, notes, write_note},
};

async fn database() -> TestDatabase {
    TestDatabase::with_databases(&[TENANCY, NOTES], &["eu"]).await
}

fn places() -> [HomePlace; 4] {
    [HomePlace::shared(), HomePlace::schema(), HomePlace::shared_in("eu"), HomePlace::database("eu")]
}

pub(crate) async fn connect(db: &TestDatabase, database: &str, role: LocalRole) -> PgConnection {
    PgConnection::connect_with(&db.options_of(database, role).await).await.unwrap()
}

#[tokio::test]
async fn a_mixed_fleet_is_isolated_in_every_mode() {
    let db = database().await;
    let mut tenants = Vec::new();
    for (nr, place) in places().iter().flat_map(|place| [place, place]).enumerate() {
        let tenant = db.tenant_at(&format!("t{nr}"), place.clone()).await;
        assert_eq!(tenant.isolation(), place.isolation());
        assert_eq!(tenant.database_name(), place.database_name());
        assert_eq!(tenant.schema_name() != "shared", place.has_own_schema());
        assert_eq!(tenant.region(), if place.database_name() == "eu" { "eu" } else { "local" });
        write_note(&db, &tenant, tenant.slug()).await;
        tenants.push(tenant);
    }
    for tenant in &tenants {
        assert_eq!(notes(&db, tenant).await, [tenant.slug()]);
        // Of every other tenant nothing can be read, written or counted, wherever it lives.
        for other in tenants.iter().filter(|other| other.id() != tenant.id()) {
            let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
            let statement =
                format!("select count(*) from {}.notes where tenant_id = $1", other.schema_name());
            let seen = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement))
                .bind(other.id().as_uuid())
                .fetch_one(&mut *tx)
                .await;
            if let Ok(count) = &seen {
                assert_eq!(*count, 0);
            } else {
                assert_ne!(other.database_name(), tenant.database_name(), "{seen:?}");
                tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
            }
            let planted = sqlx::query("insert into notes (tenant_id, body) values ($1, 'planted')")
                .bind(other.id().as_uuid())
                .execute(&mut *tx)
                .await
                .unwrap_err();
            assert!(planted.to_string().contains("row-level security"), "{planted}");
        }
    }
}

#[tokio::test]
async fn a_connection_of_the_other_database_without_a_tenant_gets_no_rows() {
    let db = database().await;
    let tenant = db.tenant_at("a", HomePlace::shared_in("eu")).await;
    write_note(&db, &tenant, "secret").await;
    let mut raw = connect(&db, "eu", LocalRole::App).await;
    for table in ["shared.notes", "platform.outbox"] {
        let count = format!("select count(*) from {table}");
        let seen: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut raw).await.unwrap();
        assert_eq!(seen, 0, "{table}");
    }
    let listed = sqlx::query("select * from platform.homes").fetch_all(&mut raw).await.unwrap_err();
    assert!(listed.to_string().contains("permission denied"), "{listed}");
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'platform'::regnamespace and relkind = 'r' order by 1",
    )
    .fetch_all(&mut raw)
    .await
    .unwrap();
    assert_eq!(
        tables,
        [
            "homes",
            "migration_failures",
            "migration_ledger",
            "outbox",
            "stream_floors",
            "stream_positions",
            "sweep_hints",
            "sweep_rounds"
        ],
        "no control plane is here"
    );
}

#[tokio::test]
async fn a_database_that_is_not_known_is_refused_by_name() {
    let db = database().await;
    let tenant = db.tenant_at("a", HomePlace::database("eu")).await;
    let options = db.options(LocalRole::App).await;
    let unaware = Tenants::builder().connect_with(options).await.unwrap();
    let session = db.session(&tenant, Actor::system("test"));
    let error = unaware.begin(&session).await.unwrap_err();
    assert_eq!(error.unknown_database().map(|unknown| unknown.name()), Some("eu"));
    assert!(!error.is_retryable() && !error.is_unavailable());
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("database `eu` is not known here"), "{source}");

    let owner =
        ControlPlane::connect_with(db.options(LocalRole::Owner).await, &[TENANCY, NOTES]).await.unwrap();
    let refused =
        owner.provision(&NewTenant::placed("b", "b", HomePlace::shared_in("eu"))).await.unwrap_err();
    assert!(matches!(refused, ControlError::UnknownDatabase(_)), "{refused}");
    assert!(refused.to_string().contains("`eu`"), "{refused}");
    let unnamed = owner.provision(&NewTenant::new("b", "b", Isolation::Database)).await.unwrap_err();
    assert!(matches!(unnamed, ControlError::Unsupported { .. }), "{unnamed}");
    assert!(db.tenants().by_slug("b").await.unwrap().is_none(), "nothing is left behind");
    let report = owner.doctor(&DoctorConfig::new()).await.unwrap();
    let found: Vec<_> = report.findings().iter().map(|found| (found.code(), found.object())).collect();
    assert!(found.contains(&("database-unknown", "tenant a")), "{report}");
}

#[tokio::test]
async fn a_privileged_login_is_refused_in_every_database() {
    let db = database().await;
    for role in [LocalRole::Superuser, LocalRole::Owner] {
        let error = Tenants::builder()
            .database("eu", db.options_of("eu", role).await)
            .connect_with(db.options(LocalRole::App).await)
            .await
            .unwrap_err();
        assert!(matches!(&error, ConnectError::Database { name, .. } if name == "eu"), "{error}");
        assert!(error.to_string().contains("connect as a login like"), "{error}");
    }
    for name in ["main", "EU", ""] {
        let options = db.options_of("eu", LocalRole::App).await;
        let builder = Tenants::builder().database(name, options);
        let error = builder.connect_with(db.options(LocalRole::App).await).await.unwrap_err();
        assert!(matches!(error, ConnectError::Name { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_database_out_of_reach_stops_its_own_tenants_only() {
    let db = database().await;
    let near = db.tenant_at("near", HomePlace::shared()).await;
    let far = db.tenant_at("far", HomePlace::shared_in("eu")).await;
    let nowhere = db.options_of("eu", LocalRole::App).await.port(1);
    let tenants = Tenants::builder()
        .database("eu", nowhere)
        .connect_with(db.options(LocalRole::App).await)
        .await
        .unwrap();
    let mut tx = tenants.begin(&db.session(&near, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into notes (body) values ('here')").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let error = tenants.begin(&db.session(&far, Actor::system("test"))).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn a_slug_that_is_taken_leaves_no_home_elsewhere() {
    let db = database().await;
    db.tenant_at("a", HomePlace::shared()).await;
    let again = NewTenant::placed("a", "a", HomePlace::database("eu"));
    assert!(matches!(db.control().provision(&again).await, Err(ControlError::Taken { .. })));
    let mut eu = connect(&db, "eu", LocalRole::Owner).await;
    let homes: i64 =
        sqlx::query_scalar("select count(*) from platform.homes").fetch_one(&mut eu).await.unwrap();
    assert_eq!(homes, 0);
}

/// The control plane's database goes first, then the others; each keeps its own ledger.
#[tokio::test]
async fn migrations_reach_every_database() {
    let db = TestDatabase::with_databases(&[TENANCY, OLD], &["eu"]).await;
    for (slug, place) in
        [("a", HomePlace::schema()), ("b", HomePlace::database("eu")), ("c", HomePlace::database("eu"))]
    {
        db.tenant_at(slug, place).await;
    }
    let control = ControlPlane::connect_with(db.options(LocalRole::Owner).await, &[TENANCY, NEW])
        .await
        .unwrap()
        .with_database("eu", db.options_of("eu", LocalRole::Owner).await)
        .await
        .unwrap();
    let fleet = control.fleet();
    assert_eq!(
        fleet.plan().await.unwrap().to_string(),
        "`shared`: test/small/0002_priority, test/small/0003_labels\n\
         tenant `a` (SCHEMA): test/small/0002_priority, test/small/0003_labels\n\
         `shared` in database `eu`: test/small/0002_priority, test/small/0003_labels\n\
         2 tenants in database `eu`: test/small/0002_priority, test/small/0003_labels"
            .replace("SCHEMA", db.tenants().by_slug("a").await.unwrap().unwrap().schema_name())
    );
    let unknown = FleetOptions::new().canary(Canary::Tenants(vec!["nobody".to_owned()]));
    assert!(matches!(fleet.run(&unknown, |_| ()).await, Err(ControlError::NoHome { .. })));
    let options = FleetOptions::new().canary(Canary::Tenants(vec!["c".to_owned()]));
    let tried = fleet.dry_run(&options, |_| ()).await.unwrap();
    assert_eq!((tried.migrated(), tried.failures().len()), (5, 0), "{tried}");
    let report = fleet.run(&options, |_| ()).await.unwrap();
    assert_eq!((report.homes(), report.migrated(), report.steps()), (7, 5, 10), "{report}");
    assert!(fleet.plan().await.unwrap().is_up_to_date());
    let drift = fleet.drift().await.unwrap();
    assert_eq!((drift.compared(), drift.drifted().len()), (5, 0), "{drift}");

    // One home of the other database is changed by hand: the comparison goes across databases.
    let mut eu = connect(&db, "eu", LocalRole::Owner).await;
    sqlx::raw_sql("drop index shared.labels_by_name").execute(&mut eu).await.unwrap();
    let drift = fleet.drift().await.unwrap();
    assert_eq!(drift.drifted().len(), 1, "{drift}");
    let home = drift.drifted()[0].home();
    assert_eq!((home.database(), home.schema()), ("eu", "shared"));
    assert!(drift.drifted()[0].missing().iter().any(|line| line.contains("labels_by_name")), "{drift}");
}

#[tokio::test]
async fn a_run_that_is_stopped_does_not_go_on_to_the_next_database() {
    let db = TestDatabase::with_databases(&[TENANCY, OLD], &["eu"]).await;
    let control = ControlPlane::connect_with(db.options(LocalRole::Owner).await, &[TENANCY, NEW])
        .await
        .unwrap()
        .with_database("eu", db.options_of("eu", LocalRole::Owner).await)
        .await
        .unwrap();
    let mut main = connect(&db, "main", LocalRole::Owner).await;
    sqlx::raw_sql("create table shared.labels (in_the_way int)").execute(&mut main).await.unwrap();
    let report = control.fleet().run(&FleetOptions::new(), |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.failures().len(), report.not_tried()), (0, 1, 1), "{report}");
    assert!(control.fleet().plan().await.unwrap().pending().any(|planned| planned.home().database() == "eu"));
}

#[tokio::test]
async fn the_doctor_looks_into_every_database() {
    let db = database().await;
    let tenant = db.tenant_at("a", HomePlace::database("eu")).await;
    db.tenant_at("b", HomePlace::shared_in("eu")).await;
    let config = DoctorConfig::new();
    let healthy = db.control().doctor(&config).await.unwrap();
    assert!(healthy.is_healthy(), "{healthy}");
    let mut eu = connect(&db, "eu", LocalRole::Owner).await;
    let (schema, id) = (tenant.schema_name(), tenant.id());
    for (seed, code, undo) in [
        (
            format!("alter table {schema}.notes no force row level security"),
            "rls-not-forced",
            format!("alter table {schema}.notes force row level security"),
        ),
        (
            format!("update platform.homes set epoch = 7 where tenant_id = '{id}'"),
            "tenant-without-home",
            format!("update platform.homes set epoch = 1 where tenant_id = '{id}'"),
        ),
        (
            "create schema t_00000000000000000000000000000000".to_owned(),
            "home-without-tenant",
            "drop schema t_00000000000000000000000000000000".to_owned(),
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(seed)).execute(&mut eu).await.unwrap();
        let report = db.control().doctor(&config).await.unwrap();
        let found: Vec<_> = report.findings().iter().filter(|found| found.database() == "eu").collect();
        assert!(found.iter().any(|found| found.code() == code), "{code}: {report}");
        assert!(report.to_string().contains("(database eu)"), "{report}");
        sqlx::raw_sql(AssertSqlSafe(undo)).execute(&mut eu).await.unwrap();
    }
    assert!(db.control().doctor(&config).await.unwrap().is_healthy());
}

#[tokio::test]
async fn streams_are_pruned_in_every_database() {
    let db = database().await;
    let tenant = db.tenant_at("a", HomePlace::database("eu")).await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    tx.publish(&[OutboxEvent::new("note.written", serde_json::json!({}))]).await.unwrap();
    tx.commit().await.unwrap();
    db.older_transactions_end().await;
    let prune = Prune::new(StreamTable::OUTBOX, Duration::ZERO).unread_after(Duration::ZERO);
    assert_eq!(db.control().prune_stream(&prune).await.unwrap().rows(), 1);
}
