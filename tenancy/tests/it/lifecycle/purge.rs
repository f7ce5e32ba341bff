//! A tenant is removed for good: cut off anywhere and gone on with, and of nobody else is a row missing.

use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Mutex, time::Duration};

use formwork_tenancy::{
    Actor, ControlError, HomePlace, Isolation, NewTenant, OutboxEvent, ResolveError, Status, Tenant,
    TenantId, TxOptions,
    doctor::DoctorConfig,
    lifecycle::{
        Lifecycle, LifecycleError, LifecycleEvent, LifecycleFault, LifecycleRefusal, Transition,
        TransitionStep,
    },
    local_postgres::LocalRole,
    testing::{LongRound, TestDatabase},
};
use futures::FutureExt;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{HOUR, change, lifecycle, order, refusal, status, texts};
use crate::{
    database_mode::connect,
    move_tenant::{add_one, database, entries, now},
};

const STEPS: [TransitionStep; 9] = [
    TransitionStep::Begun,
    TransitionStep::Allowed,
    TransitionStep::Doomed,
    TransitionStep::Shredded,
    TransitionStep::Frozen,
    TransitionStep::Emptied,
    TransitionStep::Cleared,
    TransitionStep::Decided,
    TransitionStep::Recorded,
];

/// Begins a removal and kills it when it has come to `step`.
pub(super) async fn cut_off(life: &Lifecycle, tenant: TenantId, step: TransitionStep) {
    let order = order();
    let purging = life.purge(tenant, &order, move |event| {
        if matches!(event, LifecycleEvent::Reached { step: now } if now == step) {
            std::panic::resume_unwind(Box::new("cut off"));
        }
    });
    assert!(AssertUnwindSafe(purging).catch_unwind().await.is_err(), "it was not cut off at {step}");
}

/// Rows of the tenant, by table, in every schema of every database; what is kept on purpose apart.
async fn left(db: &TestDatabase, tenant: TenantId) -> Vec<String> {
    let mut found = Vec::new();
    for database in ["main", "eu"] {
        let mut root = connect(db, database, LocalRole::Superuser).await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', n.nspname, c.relname)
               from pg_class c join pg_namespace n on n.oid = c.relnamespace
               join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped
              where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' order by 1",
        )
        .fetch_all(&mut root)
        .await
        .unwrap();
        for table in tables {
            let count = format!("select count(*) from {table} where tenant_id = $1");
            let count: i64 = sqlx::query_scalar(AssertSqlSafe(count))
                .bind(tenant.as_uuid())
                .fetch_one(&mut root)
                .await
                .unwrap();
            if count > 0 {
                found.push(format!("{database} {table}"));
            }
        }
        let own = format!("t_{}", tenant.as_uuid().simple());
        let exists: bool = sqlx::query_scalar("select to_regnamespace($1) is not null")
            .bind(&own)
            .fetch_one(&mut root)
            .await
            .unwrap();
        assert!(!exists, "{database}: {own} is there");
    }
    found
}

async fn rows(conn: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

/// A tenant with rows everywhere: its home, the streams, the platform.
async fn filled(db: &TestDatabase, slug: &str, place: HomePlace) -> Tenant {
    let tenant = db.tenant_at(slug, place).await;
    for _ in 0..3 {
        add_one(db, &tenant, "site").await;
    }
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    tx.publish(&[OutboxEvent::new("site.opened", serde_json::json!({}))]).await.unwrap();
    tx.hint("expiry").await.unwrap();
    tx.commit().await.unwrap();
    db.user(&tenant, "ada").await;
    let domain = format!(
        "insert into platform.tenant_domains values ('{slug}.example.com', '{}', now())",
        tenant.id()
    );
    rows(&mut connect(db, "main", LocalRole::Superuser).await, &domain).await;
    tenant
}

/// What is told of a tenant that is gone.
const KEPT: [&str; 4] = [
    "main platform.homes",
    "main platform.outbox",
    "main platform.security_events",
    "main platform.tenant_transitions",
];

async fn is_gone(db: &TestDatabase, tenant: &Tenant) {
    assert_eq!(status(db, tenant.id()).await, Status::Deleted);
    let mut kept = KEPT.map(str::to_owned);
    if tenant.database_name() == "eu" {
        kept = kept.map(|line| match line.as_str() {
            "main platform.homes" | "main platform.outbox" => line.replace("main", "eu"),
            _ => line,
        });
    }
    let mut found = left(db, tenant.id()).await;
    kept.sort();
    found.sort();
    assert_eq!(found, kept);
    let outbox = "select kind from platform.outbox where tenant_id = $1 order by xid, id";
    assert_eq!(
        texts(db, tenant.database_name(), outbox, tenant).await,
        ["site.opened", "tenant.deletion_begun", "tenant.deleted"],
        "nobody has read them yet"
    );
}

#[tokio::test]
async fn cut_off_at_any_step_a_removal_is_resumed_and_nobody_else_loses_a_row() {
    let db = database().await;
    let life = lifecycle(&db).batch(2);
    let neighbours = [
        filled(&db, "near", HomePlace::shared()).await,
        filled(&db, "far", HomePlace::shared_in("eu")).await,
    ];
    for (way, place) in
        [HomePlace::shared(), HomePlace::schema(), HomePlace::shared_in("eu"), HomePlace::database("eu")]
            .into_iter()
            .enumerate()
    {
        for (nr, step) in STEPS.into_iter().enumerate() {
            // Where it is cut off matters in a home of either kind; the others at one step each.
            if way > 1 && nr != way * 2 && !LongRound::is_asked_for() {
                continue;
            }
            let tenant = filled(&db, &format!("w{way}-{step}"), place.clone()).await;
            change(&life, tenant.id(), Transition::Delete).await.unwrap();
            cut_off(&life, tenant.id(), step).await;
            assert_eq!(life.unfinished().await.unwrap(), [tenant.id()], "{step}");
            // By asking for it again, or by whoever finds it.
            match nr % 2 {
                0 => change(&life, tenant.id(), Transition::Purge).await.unwrap(),
                _ => life.resume(tenant.id(), |_| ()).await.unwrap(),
            };
            is_gone(&db, &tenant).await;
            assert!(life.unfinished().await.unwrap().is_empty(), "{step}");
        }
    }
    for neighbour in &neighbours {
        assert_eq!(entries(&db, neighbour).await.len(), 3);
        assert_eq!(status(&db, neighbour.id()).await, Status::Active);
    }
    let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(doctor.is_healthy(), "{doctor}");
}

/// Killed anywhere at all, and gone on with until it is done.
#[tokio::test]
async fn killed_at_random_a_removal_ends_and_nobody_else_loses_a_row() {
    let rounds = LongRound::begin("tenants removed, killed at random", 8, 200);
    let db = database().await;
    let life = lifecycle(&db).batch(1);
    let neighbour = filled(&db, "near", HomePlace::shared()).await;
    let places =
        [HomePlace::shared(), HomePlace::database("eu"), HomePlace::schema(), HomePlace::shared_in("eu")];
    let mut cut = 0;
    for round in 0..rounds.count() {
        let place = places.iter().cycle().nth(round).unwrap();
        let tenant = filled(&db, &format!("t{round}"), place.clone()).await;
        change(&life, tenant.id(), Transition::Delete).await.unwrap();
        let order = order();
        for attempt in 0_u64.. {
            // Spread over the length of a removal, and longer with every try.
            let limit = (round as u64).wrapping_mul(7_919) % 40_000 + attempt * 20_000;
            let purging = life.purge(tenant.id(), &order, |_| ());
            match tokio::time::timeout(Duration::from_micros(limit), purging).await {
                Ok(done) => {
                    assert_eq!(done.unwrap().status(), Status::Deleted);
                    break;
                }
                Err(_) => cut += 1,
            }
        }
        is_gone(&db, &tenant).await;
        assert_eq!(entries(&db, &neighbour).await.len(), 3, "round {round}");
    }
    assert!(cut > 0);
    eprintln!("removals: {} begun, cut off {cut} times", rounds.count());
}

#[tokio::test]
async fn within_its_time_of_grace_a_tenant_is_brought_back_as_it_was() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = filled(&db, "acme", HomePlace::shared()).await;
    for before in [Transition::Suspend, Transition::Archive] {
        let was = change(&life, tenant.id(), before).await.unwrap().status();
        life.delete(tenant.id(), HOUR, &order()).await.unwrap();
        assert!(life.due().await.unwrap().is_empty());
        let refused = refusal(change(&life, tenant.id(), Transition::Purge).await);
        assert!(matches!(refused, LifecycleRefusal::TooEarly { .. }), "{refused}");
        assert_eq!(change(&life, tenant.id(), Transition::Undelete).await.unwrap().status(), was);
    }
    change(&life, tenant.id(), Transition::Restore).await.unwrap();
    assert_eq!(entries(&db, &now(&db, &tenant).await).await.len(), 3);
    change(&life, tenant.id(), Transition::Delete).await.unwrap();
    assert_eq!(life.due().await.unwrap(), [tenant.id()]);
}

#[tokio::test]
async fn a_shared_home_is_emptied_in_batches_that_are_told() {
    let db = database().await;
    let life = lifecycle(&db).batch(4);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    for _ in 0..10 {
        add_one(&db, &tenant, "site").await;
    }
    change(&life, tenant.id(), Transition::Delete).await.unwrap();
    let told = Mutex::new(BTreeMap::<String, Vec<u64>>::new());
    let report = life
        .purge(tenant.id(), &order(), |event| {
            if let LifecycleEvent::Removed { table, rows } = event
                && table.starts_with("shared.audit_events")
            {
                told.lock().unwrap().entry(table.to_owned()).or_default().push(rows);
            }
        })
        .await
        .unwrap();
    // Ten of the test's, and the change's own, in the partitions where they are.
    let told = told.into_inner().unwrap();
    assert_eq!(told.values().filter_map(|rows| rows.last()).sum::<u64>(), 11, "{told:?}");
    for rows in told.values() {
        let batches = std::iter::once(&0).chain(rows).zip(rows);
        assert!(batches.into_iter().all(|(before, after)| after - before <= 4), "{told:?}");
    }
    assert!(report.removed() > 11, "{report}");
}

#[tokio::test]
async fn where_a_deleted_tenant_answered_nobody_else_does() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = filled(&db, "acme", HomePlace::shared()).await;
    change(&life, tenant.id(), Transition::Delete).await.unwrap();
    change(&life, tenant.id(), Transition::Purge).await.unwrap();
    let again = db.control().provision(&NewTenant::new("acme", "Another", Isolation::Shared)).await;
    assert!(again.unwrap_err().to_string().contains("taken"));
    let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
    let host =
        |host: &str| http::Request::builder().uri("/").header("host", host).body(()).unwrap().into_parts().0;
    let gone = fresh.resolve(&host("acme.formwork.test")).await.unwrap_err();
    assert!(matches!(gone, ResolveError::NotActive { status: Status::Deleted }), "{gone}");
    let unknown = fresh.resolve(&host("acme.example.com")).await.unwrap_err();
    assert!(matches!(unknown, ResolveError::UnknownHost { .. }), "{unknown}");
    // Not even for whoever says that the status does not matter: there is nothing to begin in.
    let tenant = fresh.by_id(tenant.id()).await.unwrap().unwrap();
    assert_eq!(tenant.name(), "deleted");
    let session = db.session(&tenant, Actor::system("test"));
    let options = TxOptions::new().whatever_status().read_only();
    assert!(fresh.begin_with(&session, options).await.unwrap_err().refusal().is_some());
}

#[tokio::test]
async fn a_tenant_that_is_being_moved_is_not_removed() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = filled(&db, "acme", HomePlace::shared()).await;
    db.control().move_tenant(tenant.id(), &HomePlace::database("eu"), |_| ()).await.unwrap();
    change(&life, tenant.id(), Transition::Delete).await.unwrap();
    assert!(matches!(refusal(change(&life, tenant.id(), Transition::Purge).await), LifecycleRefusal::Moving));
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    change(&life, tenant.id(), Transition::Purge).await.unwrap();
    let kept = [
        "main platform.homes",
        "main platform.outbox",
        "main platform.security_events",
        "main platform.tenant_moves",
        "main platform.tenant_transitions",
        "eu platform.homes",
        "eu platform.outbox",
    ];
    assert_eq!(left(&db, tenant.id()).await, kept);
}

/// Nothing is called deleted whose rows are there.
#[tokio::test]
async fn a_home_that_is_not_found_at_its_epoch_is_not_called_removed() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    let id = tenant.id();
    life.delete(id, Duration::ZERO, &order()).await.unwrap();
    let mut root = connect(&db, "main", LocalRole::Superuser).await;
    // Raised in the home alone, by somebody who was cut off: before the point of no return it is raised again.
    rows(&mut root, &format!("update platform.homes set epoch = epoch + 1 where tenant_id = '{id}'")).await;
    let error = life.purge(id, &order(), |_| ()).await.unwrap_err();
    assert!(
        matches!(&error, LifecycleError::Interrupted { step: TransitionStep::Allowed, source, .. }
            if matches!(source, LifecycleFault::Disturbed)),
        "{error}"
    );
    db.control().raise_epochs("main").await.unwrap();
    for step in [TransitionStep::Shredded, TransitionStep::Frozen] {
        cut_off(&life, id, step).await;
        let error = db.control().raise_epochs("main").await.unwrap_err();
        assert!(matches!(error, ControlError::Busy), "{error}");
        rows(&mut root, &format!("update platform.tenants set epoch = epoch + 1 where id = '{id}'")).await;
        let error = life.resume(id, |_| ()).await.unwrap_err();
        assert!(
            matches!(&error, LifecycleError::Interrupted { source, .. } if matches!(source, LifecycleFault::Disturbed)),
            "{error}"
        );
        assert_eq!(status(&db, id).await, Status::Deleting);
        rows(&mut root, &format!("update platform.tenants set epoch = epoch - 1 where id = '{id}'")).await;
    }
    life.resume(id, |_| ()).await.unwrap();
    assert_eq!(status(&db, id).await, Status::Deleted);
    left(&db, id).await;
}
