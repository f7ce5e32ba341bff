//! A tenant's life: changes along one table, each with somebody who wants it and a reason, each resumed when it is cut
//! off.

mod backup;
mod holds;
mod hooks;
mod purge;

use std::time::Duration;

use formwork_tenancy::{
    Actor, HomePlace, Refusal, Status, Tenant, TenantId, TxOptions,
    lifecycle::{
        EDGES, Lifecycle, LifecycleError, LifecycleRefusal, Order, Transition, TransitionReport,
        TransitionStep,
    },
    local_postgres::LocalRole,
    testing::TestDatabase,
};
use sqlx::AssertSqlSafe;

use crate::{
    database_mode::connect,
    move_tenant::{add_one, database, now},
};

const HOUR: Duration = Duration::from_secs(3_600);

fn order() -> Order {
    Order::new(&Actor::system("on-call"), "ticket 4711")
}

fn lifecycle(db: &TestDatabase) -> Lifecycle {
    Lifecycle::new(db.control().clone())
}

async fn change(
    life: &Lifecycle,
    tenant: TenantId,
    transition: Transition,
) -> Result<TransitionReport, LifecycleError> {
    match transition {
        Transition::Activate => life.activate(tenant, &order()).await,
        Transition::Suspend => life.suspend(tenant, &order()).await,
        Transition::Archive => life.archive(tenant, &order()).await,
        Transition::Restore => life.restore(tenant, &order()).await,
        Transition::Delete => life.delete(tenant, Duration::ZERO, &order()).await,
        Transition::Undelete => life.undelete(tenant, &order()).await,
        Transition::Purge => life.purge(tenant, &order(), |_| ()).await,
        other => panic!("{other}"),
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, LifecycleError>) -> LifecycleRefusal {
    match answer.unwrap_err() {
        LifecycleError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn set_status(db: &TestDatabase, tenant: TenantId, status: Status) {
    let sql = format!("update platform.tenants set status = '{status}' where id = '{tenant}'");
    let mut root = connect(db, "main", LocalRole::Superuser).await;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut root).await.unwrap();
}

async fn status(db: &TestDatabase, tenant: TenantId) -> Status {
    let text: String = sqlx::query_scalar("select status from platform.tenants where id = $1")
        .bind(tenant.as_uuid())
        .fetch_one(&mut connect(db, "main", LocalRole::Superuser).await)
        .await
        .unwrap();
    text.parse().unwrap()
}

/// What of `select <text>` stands in the tenant's database, past every wall.
async fn texts(db: &TestDatabase, database: &str, sql: &str, tenant: &Tenant) -> Vec<String> {
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .bind(tenant.id().as_uuid())
        .fetch_all(&mut connect(db, database, LocalRole::Superuser).await)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_change_stands_in_the_trail_the_outbox_and_the_security_events() {
    let db = database().await;
    let life = lifecycle(&db);
    for (nr, place) in
        [HomePlace::shared(), HomePlace::schema(), HomePlace::database("eu")].iter().enumerate()
    {
        let tenant = db.tenant_at(&format!("t{nr}"), place.clone()).await;
        add_one(&db, &tenant, "site").await;
        let way = [
            (Transition::Suspend, Status::Suspended, "tenant.suspended"),
            (Transition::Activate, Status::Active, "tenant.activated"),
            (Transition::Archive, Status::Archived, "tenant.archived"),
            (Transition::Restore, Status::Active, "tenant.restored"),
            (Transition::Delete, Status::Deleting, "tenant.deletion_begun"),
            (Transition::Undelete, Status::Active, "tenant.deletion_cancelled"),
        ];
        for (transition, to, _) in way {
            let report = change(&life, tenant.id(), transition).await.unwrap();
            assert!(report.changed() && report.waiting().is_empty(), "{report}");
            assert_eq!((report.status(), status(&db, tenant.id()).await), (to, to));
        }
        let expected: Vec<String> =
            way.iter().map(|(_, _, event)| format!("{event} system:on-call ticket 4711")).collect();
        let home = tenant.schema_name();
        let trail = format!(
            "select action || ' ' || actor_type || ':' || actor_id || ' ' || reason from {home}.audit_events
              where tenant_id = $1 and action like 'tenant.%' order by at"
        );
        assert_eq!(texts(&db, place.database_name(), &trail, &tenant).await, expected);
        let outbox = "select kind || ' ' || (payload ->> 'actor') || ' ' || (payload ->> 'reason') from platform.outbox
                       where tenant_id = $1 order by xid, id";
        assert_eq!(texts(&db, place.database_name(), outbox, &tenant).await, expected);
        let events = "select kind || ' ' || (detail ->> 'actor') || ' ' || (detail ->> 'reason')
                        from platform.security_events where tenant_id = $1 order by at";
        assert_eq!(texts(&db, "main", events, &tenant).await, expected);
        let history = life.history(tenant.id()).await.unwrap();
        assert_eq!(history.len(), way.len());
        assert!(
            history.iter().all(|past| past.step() == TransitionStep::Finished && past.problem().is_none())
        );
        assert_eq!(add_one(&db, &now(&db, &tenant).await, "site").await, 2, "it is served again");
    }
    assert!(life.unfinished().await.unwrap().is_empty());
}

#[tokio::test]
async fn whatever_is_not_in_the_table_is_refused() {
    let db = database().await;
    let life = lifecycle(&db);
    let statuses =
        [Status::Provisioning, Status::Active, Status::Suspended, Status::Archived, Status::Deleting];
    for (nr, (from, transition)) in
        statuses.iter().flat_map(|from| Transition::ALL.iter().map(move |one| (*from, *one))).enumerate()
    {
        let tenant = db.tenant_at(&format!("t{nr}"), HomePlace::shared()).await.id();
        set_status(&db, tenant, from).await;
        let is_way = EDGES.iter().any(|edge| edge.0 == transition && edge.1 == from);
        let is_there = transition != Transition::Undelete
            && EDGES.iter().any(|edge| edge.0 == transition && edge.2 == from);
        match change(&life, tenant, transition).await {
            Ok(report) => {
                assert!(is_way || is_there, "{transition} from {from}");
                assert_eq!(report.changed(), is_way, "{transition} from {from}");
            }
            Err(LifecycleError::Refused(LifecycleRefusal::NotAllowed { .. })) => {
                assert!(!is_way && !is_there, "{transition} from {from}");
                assert_eq!(status(&db, tenant).await, from);
            }
            Err(other) => panic!("{transition} from {from}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_change_needs_a_reason_and_a_tenant() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let silent = Order::new(&Actor::system("on-call"), "  ");
    assert!(matches!(refusal(life.suspend(tenant.id(), &silent).await), LifecycleRefusal::NoReason));
    assert!(matches!(refusal(life.hold(tenant.id(), "court", &silent).await), LifecycleRefusal::NoReason));
    assert!(matches!(refusal(life.hold(tenant.id(), " ", &order()).await), LifecycleRefusal::NoReason));
    let nobody = TenantId::generate();
    assert!(matches!(refusal(life.suspend(nobody, &order()).await), LifecycleRefusal::UnknownTenant { .. }));
    assert!(matches!(refusal(life.resume(tenant.id(), |_| ()).await), LifecycleRefusal::NotOpen));
    assert_eq!(status(&db, tenant.id()).await, Status::Active);
    assert!(life.history(tenant.id()).await.unwrap().is_empty());
}

#[tokio::test]
async fn asked_for_again_it_is_done_already() {
    let db = database().await;
    let life = lifecycle(&db);
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    assert!(life.suspend(tenant, &order()).await.unwrap().changed());
    let again = life.suspend(tenant, &order()).await.unwrap();
    assert_eq!((again.changed(), again.status()), (false, Status::Suspended));
    assert_eq!(life.history(tenant).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_archived_tenant_is_read_by_who_says_so_and_written_by_nobody() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    lifecycle(&db).archive(tenant.id(), &order()).await.unwrap();
    let session = db.session(&now(&db, &tenant).await, Actor::system("test"));
    for (options, served) in [
        (TxOptions::new(), false),
        (TxOptions::new().read_only(), false),
        (TxOptions::new().whatever_status(), false),
        (TxOptions::new().whatever_status().read_only(), true),
    ] {
        match db.tenants().begin_with(&session, options).await {
            Ok(mut tx) => {
                assert!(served);
                let seen: i64 =
                    sqlx::query_scalar("select count(*) from \"Entries\"").fetch_one(&mut *tx).await.unwrap();
                assert_eq!(seen, 1);
            }
            Err(error) => {
                assert_eq!(error.refusal(), Some(&Refusal::NotActive(Status::Archived)));
                assert!(!served);
            }
        }
    }
}

/// Two at once: one waits for the other, and finds that it is done.
#[tokio::test]
async fn two_changes_of_one_tenant_do_not_meet() {
    let db = database().await;
    let (life, other) = (lifecycle(&db), lifecycle(&db));
    let tenant = db.tenant_at("acme", HomePlace::shared()).await.id();
    let (order, again) = (order(), order());
    let (one, two) = tokio::join!(life.suspend(tenant, &order), other.suspend(tenant, &again));
    assert_ne!(one.unwrap().changed(), two.unwrap().changed());
}
