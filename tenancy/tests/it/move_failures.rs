//! Moves that fail or are cut off: the tenant lives in one home with all its rows, and the move can be gone on with or
//! undone.

use std::{panic::AssertUnwindSafe, time::Duration};

use formwork_migrations::{AUDIT, AUTHZ, TENANCY};
use formwork_tenancy::{
    ControlPlane, HomePlace, Tenant,
    doctor::DoctorConfig,
    local_postgres::LocalRole,
    moves::{MoveError, MoveEvent, MoveFault, MoveStep},
    testing::TestDatabase,
};
use futures::FutureExt;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    database_mode::connect,
    move_tenant::{SITE, add_one, database, entries, now},
};

/// Begins a move and kills it when it has come to `step`: nothing that it would do next is done, undoing least of all.
pub(crate) async fn cut_off(control: ControlPlane, tenant: &Tenant, place: &HomePlace, step: MoveStep) {
    let moving = control.move_tenant(tenant.id(), place, move |event| {
        if matches!(event, MoveEvent::Reached { step: now } if now == step) {
            std::panic::resume_unwind(Box::new("cut off"));
        }
    });
    assert!(AssertUnwindSafe(moving).catch_unwind().await.is_err(), "it was not cut off");
}

async fn homes(conn: &mut PgConnection) -> Vec<(String, String)> {
    sqlx::query_as("select schema_name, state from platform.homes order by 1, 2")
        .fetch_all(conn)
        .await
        .unwrap()
}

/// No row of the tenant is left in a place where it does not live.
async fn is_clean(db: &TestDatabase, tenant: &Tenant) {
    for database in ["main", "eu"] {
        let mut superuser = connect(db, database, LocalRole::Superuser).await;
        let schemas: Vec<String> =
            sqlx::query_scalar("select nspname::text from pg_namespace where nspname ~ '^(shared|t_)'")
                .fetch_all(&mut superuser)
                .await
                .unwrap();
        for schema in schemas {
            let here = tenant.database_name() == database && tenant.schema_name() == schema;
            let count = format!(
                "select (select count(*) from {schema}.\"Entries\" where tenant_id = $1)
                      + (select count(*) from {schema}.audit_events where tenant_id = $1)"
            );
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
                .bind(tenant.id().as_uuid())
                .fetch_one(&mut superuser)
                .await
                .unwrap();
            assert_eq!(count > 0, here, "{database}/{schema}: {count}");
            assert!(schema == "shared" || here, "{database}/{schema} is left over");
        }
    }
}

/// So many in a short round, all in a long one.
fn some(short: usize) -> usize {
    if std::env::var_os("FORMWORK_LONG").is_some() { usize::MAX } else { short }
}

const STEPS: [MoveStep; 6] = [
    MoveStep::Begun,
    MoveStep::Prepared,
    MoveStep::Frozen,
    MoveStep::Copied,
    MoveStep::Verified,
    MoveStep::Flipped,
];

#[tokio::test]
async fn cut_off_at_any_step_a_move_is_resumed() {
    let ways = [
        (HomePlace::shared(), HomePlace::database("eu")),
        (HomePlace::schema(), HomePlace::shared()),
        (HomePlace::database("eu"), HomePlace::shared()),
    ];
    let db = database().await;
    for (way, (from, to)) in ways.into_iter().take(some(2)).enumerate() {
        for step in STEPS {
            let tenant = db.tenant_at(&format!("w{way}-{step}"), from.clone()).await;
            add_one(&db, &tenant, "site").await;
            cut_off(db.control().clone(), &tenant, &to, step).await;
            assert_eq!(entries(&db, &now(&db, &tenant).await).await.len(), 1, "it is read: {step}");
            let report = db.control().resume_move(tenant.id(), |_| ()).await.unwrap();
            assert_eq!(report.rows(), 4, "{step}: {report}");
            let tenant = now(&db, &tenant).await;
            assert_eq!(tenant.isolation(), to.isolation(), "{step}");
            assert_eq!(add_one(&db, &tenant, "site").await, 2, "{step}");
            db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
            assert_eq!(entries(&db, &tenant).await.len(), 2, "{step}");
        }
    }
    let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(doctor.is_healthy(), "{doctor}");
}

#[tokio::test]
async fn cut_off_before_its_flip_a_move_is_undone() {
    let ways = [
        (HomePlace::schema(), HomePlace::shared()),
        (HomePlace::schema(), HomePlace::shared_in("eu")),
        (HomePlace::shared(), HomePlace::database("eu")),
    ];
    for (from, to) in ways.into_iter().take(some(2)) {
        let db = database().await;
        let tenant = db.tenant_at("acme", from).await;
        add_one(&db, &tenant, "site").await;
        for (nr, step) in STEPS.into_iter().take(5).enumerate() {
            cut_off(db.control().clone(), &tenant, &to, step).await;
            db.control().abort_move(tenant.id()).await.unwrap();
            assert!(db.control().open_move(tenant.id()).await.unwrap().is_none());
            let same = now(&db, &tenant).await;
            assert_eq!((same.epoch(), same.version()), (tenant.epoch(), tenant.version()), "{step}");
            is_clean(&db, &same).await;
            assert_eq!(add_one(&db, &tenant, "site").await, nr as i64 + 2, "{step}");
        }
        let log: Vec<String> =
            sqlx::query_scalar("select distinct op from platform.permission_changes where op = 'delete'")
                .fetch_all(&mut connect(&db, "main", LocalRole::Relay).await)
                .await
                .unwrap();
        assert!(log.is_empty(), "nothing that the tenant has was logged as gone");
    }
}

/// Cut off anywhere at all, and then undone if it can be, resumed otherwise.
#[tokio::test]
async fn cut_off_at_random_nothing_is_lost() {
    let rounds: u64 = if std::env::var_os("FORMWORK_LONG").is_some() { 400 } else { 20 };
    let db = database().await;
    let mut tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let places =
        [HomePlace::database("eu"), HomePlace::schema(), HomePlace::shared_in("eu"), HomePlace::shared()];
    let (mut expected, mut cut, mut moved) = (0, 0, 0);
    for round in 0..rounds {
        expected += 1;
        assert_eq!(add_one(&db, &tenant, "site").await, expected, "round {round}");
        let place = places.iter().cycle().skip(round as usize).find(|place| {
            (place.database_name(), place.has_own_schema())
                != (tenant.database_name(), tenant.schema_name() != "shared")
        });
        // Spread over the length of a move.
        let limit = Duration::from_micros(round.wrapping_mul(7_919) % 150_000);
        let moving = db.control().move_tenant(tenant.id(), place.unwrap(), |_| ());
        let _ = tokio::time::timeout(limit, moving).await;
        // Its last statement may still be on its way, so what is seen here can be one step behind.
        while let Some(open) = db.control().open_move(tenant.id()).await.unwrap() {
            if open.step() == MoveStep::Released {
                db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
                moved += 1;
                continue;
            }
            cut += 1;
            let undo = round % 2 == 0 && open.step() < MoveStep::Flipped;
            if !undo || db.control().abort_move(tenant.id()).await.is_err() {
                db.control().resume_move(tenant.id(), |_| ()).await.unwrap();
            }
        }
        tenant = now(&db, &tenant).await;
        assert_eq!(entries(&db, &tenant).await.len() as i64, expected, "round {round}");
        is_clean(&db, &tenant).await;
    }
    eprintln!("moves: {rounds} begun, {cut} cut off, {moved} done in the end");
}

async fn spoil(db: &TestDatabase, body: &str) {
    let mut eu = connect(db, "eu", LocalRole::Owner).await;
    let sql = format!(
        "create or replace function platform.spoil() returns trigger language plpgsql as $$ begin {body} end $$;
         create or replace trigger spoil before insert on shared.\"Entries\" for each row execute function platform.spoil()"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut eu).await.unwrap();
}

#[tokio::test]
async fn a_table_that_cannot_be_copied_undoes_the_move() {
    let db = database().await;
    spoil(&db, "raise exception 'no room for %', new.site;").await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let failed =
        db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap_err();
    assert!(
        matches!(&failed, MoveError::RolledBack { step: MoveStep::Frozen, source: MoveFault::Copy { table, .. } } if table == "\"Entries\""),
        "{failed:?}"
    );
    assert!(failed.to_string().contains("no room for site"), "{failed}");
    assert_eq!(add_one(&db, &tenant, "site").await, 2, "it is written where it lived");
    is_clean(&db, &now(&db, &tenant).await).await;
    assert_eq!(homes(&mut connect(&db, "eu", LocalRole::Owner).await).await, []);
    let reason: String =
        sqlx::query_scalar("select reason from platform.tenant_moves where step = 'aborted'")
            .fetch_one(&mut connect(&db, "main", LocalRole::Owner).await)
            .await
            .unwrap();
    assert!(reason.contains("no room for site"), "{reason}");
}

#[tokio::test]
async fn a_value_that_was_changed_on_the_way_is_found() {
    let db = database().await;
    for (nr, change) in
        ["new.note = 'x';", "new.amount = new.amount + 0.01;", "new.tags = '{}';"].iter().enumerate()
    {
        spoil(&db, &format!("if new.seq = 2 then {change} end if; return new;")).await;
        let tenant = db.tenant_at(&format!("t{nr}"), HomePlace::schema()).await;
        for _ in 0..3 {
            add_one(&db, &tenant, "site").await;
        }
        let failed =
            db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap_err();
        assert!(
            matches!(
                &failed,
                MoveError::RolledBack {
                    step: MoveStep::Copied,
                    source: MoveFault::Mismatch { source_rows: 3, target_rows: 3, .. }
                }
            ),
            "{failed:?}"
        );
        let there: Vec<_> = homes(&mut connect(&db, "eu", LocalRole::Owner).await).await;
        assert_eq!(there, [], "nothing is left there");
    }
    // A row that is left out is found by its number.
    spoil(&db, "if new.seq = 3 then return null; end if; return new;").await;
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    for _ in 0..3 {
        add_one(&db, &tenant, "site").await;
    }
    let mut tx =
        db.tenants().begin(&db.session(&tenant, formwork_tenancy::Actor::system("test"))).await.unwrap();
    sqlx::query("update sites set head = null").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let failed =
        db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap_err();
    assert!(
        matches!(
            &failed,
            MoveError::RolledBack { source: MoveFault::Mismatch { source_rows: 3, target_rows: 2, .. }, .. }
        ),
        "{failed:?}"
    );
}

#[tokio::test]
async fn homes_at_different_versions_are_not_mixed() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let mut eu = connect(&db, "eu", LocalRole::Owner).await;
    sqlx::raw_sql("alter table shared.\"Entries\" add column more int").execute(&mut eu).await.unwrap();
    let failed =
        db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap_err();
    assert!(
        matches!(&failed, MoveError::RolledBack { source: MoveFault::Different { .. }, .. }),
        "{failed:?}"
    );
    sqlx::raw_sql("delete from platform.migration_ledger where home = 'shared' and set_name = 'test/site'")
        .execute(&mut eu)
        .await
        .unwrap();
    let failed =
        db.control().move_tenant(tenant.id(), &HomePlace::shared_in("eu"), |_| ()).await.unwrap_err();
    assert!(matches!(&failed, MoveError::RolledBack { source: MoveFault::Behind { .. }, .. }), "{failed:?}");
    assert!(failed.to_string().contains("run the migrations"), "{failed}");
    assert_eq!(add_one(&db, &tenant, "site").await, 2);
}

/// Two at once: one of them waits, and finds that there is nothing left to do.
#[tokio::test]
async fn two_moves_of_one_tenant_do_not_meet() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let (eu, schema) = (HomePlace::database("eu"), HomePlace::schema());
    let (one, two) = tokio::join!(
        db.control().move_tenant(tenant.id(), &eu, |_| ()),
        db.control().move_tenant(tenant.id(), &schema, |_| ())
    );
    assert_ne!(one.is_ok(), two.is_ok(), "{one:?} {two:?}");
    assert_eq!(entries(&db, &now(&db, &tenant).await).await.len(), 1);
}

/// The other database is lost in the middle: the tenant is written again at once where it lived, the rest is cleared up
/// when it is back.
#[tokio::test]
async fn a_database_lost_during_a_move_does_not_keep_the_tenant_frozen() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    cut_off(db.control().clone(), &tenant, &HomePlace::database("eu"), MoveStep::Copied).await;
    let nowhere = db.options_of("eu", LocalRole::Owner).await;
    let sets = [TENANCY, AUTHZ, AUDIT, SITE];
    let unreachable = ControlPlane::connect_with(db.options(LocalRole::Owner).await, &sets)
        .await
        .unwrap()
        .with_database("eu", nowhere)
        .await
        .unwrap();
    let eu = db.options_of("eu", LocalRole::Superuser).await;
    let name = eu.get_database().unwrap().to_owned();
    let mut superuser = connect(&db, "main", LocalRole::Superuser).await;
    let shut = format!(
        "alter database {name} allow_connections false; select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"
    );
    sqlx::raw_sql(AssertSqlSafe(shut)).execute(&mut superuser).await.unwrap();
    let failed = unreachable.abort_move(tenant.id()).await.unwrap_err();
    assert!(matches!(failed, MoveError::Interrupted { .. }), "{failed:?}");
    assert_eq!(add_one(&db, &tenant, "site").await, 2);
    let open = db.control().open_move(tenant.id()).await.unwrap().unwrap();
    assert_eq!((open.step(), open.from().as_str()), (MoveStep::Aborting, "main/shared"));
    let back = format!("alter database {name} allow_connections true");
    sqlx::raw_sql(AssertSqlSafe(back)).execute(&mut superuser).await.unwrap();
    db.control().abort_move(tenant.id()).await.unwrap();
    is_clean(&db, &now(&db, &tenant).await).await;
}
