//! One tenant's load takes its share of the connections and not the others', by counts and by order.

use std::time::Duration;

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, HomePlace, Isolation, Session, StorageError, Tenant, TenantTx, Tenants, admission::Fairness,
    local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{Connection, PgConnection};

use crate::isolation::{NOTES, database};

fn session(db: &TestDatabase, tenant: &Tenant) -> Session {
    db.session(tenant, Actor::system("test"))
}

async fn begun(tenants: &Tenants, session: &Session, count: usize) -> Vec<TenantTx> {
    let mut open = Vec::new();
    while open.len() < count {
        open.push(tenants.begin(session).await.unwrap());
    }
    open
}

/// In a database in which nobody asks the registry anything.
async fn two_tenants() -> (TestDatabase, Session, Session) {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &["far"]).await;
    let mut sessions = Vec::new();
    for slug in ["noisy", "quiet"] {
        sessions.push(session(&db, &db.tenant_at(slug, HomePlace::shared_in("far")).await));
    }
    let [noisy, quiet] = sessions.try_into().unwrap();
    (db, noisy, quiet)
}

/// Looks at it until so many of its tenant stand in line.
async fn stands_in_line<T>(
    tenants: &Tenants,
    session: &Session,
    place: usize,
    waiter: &mut (impl Future<Output = T> + Unpin),
) {
    while tenants.waiting(session.tenant()) < place {
        assert!(futures::poll!(&mut *waiter).is_pending());
        tokio::task::yield_now().await;
    }
}

/// Long enough for any machine; what must wait is looked at, not waited for.
fn patient() -> formwork_tenancy::TenantsBuilder {
    Tenants::builder().acquire_timeout(Duration::from_secs(60))
}

#[tokio::test]
async fn a_noisy_tenant_leaves_room_for_the_next_one() {
    let db = database().await;
    let (noisy, quiet) =
        (db.tenant("noisy", Isolation::Shared).await, db.tenant("quiet", Isolation::Schema).await);
    let tenants = db.connect(patient().max_connections(4)).await;
    let (noisy, quiet) = (session(&db, &noisy), session(&db, &quiet));
    let held = begun(&tenants, &noisy, 3).await;
    let mut fourth = Box::pin(tenants.begin(&noisy));
    assert!(futures::poll!(&mut fourth).is_pending(), "three of four are its own");
    let other = tenants.begin(&quiet).await.unwrap();
    drop((held, other));
    fourth.await.unwrap();
}

/// One hundred of the noisy one's wait; one of them stood there first, and then it is the quiet one's turn.
#[tokio::test]
async fn whoever_waits_is_served_in_turn_and_not_behind_a_crowd() {
    let (db, noisy, quiet) = two_tenants().await;
    for (fairness, expected) in [(Fairness::new(), 2), (Fairness::first_come_first_served(), 101)] {
        let tenants = db.connect(patient().max_connections(1).fairness(fairness)).await;
        let held = tenants.begin(&noisy).await.unwrap();
        let (sender, mut order) = tokio::sync::mpsc::unbounded_channel();
        let waiter = |session: &Session, is_quiet: bool| {
            let (tenants, session, sender) = (tenants.clone(), session.clone(), sender.clone());
            async move {
                let tx = tenants.begin(&session).await.unwrap();
                sender.send(is_quiet).unwrap();
                tx.rollback().await.unwrap();
            }
        };
        let mut waiters = Vec::new();
        for _ in 0..100 {
            waiters.push(Box::pin(waiter(&noisy, false)));
        }
        let mut last = Box::pin(waiter(&quiet, true));
        for (number, waiter) in waiters.iter_mut().enumerate() {
            stands_in_line(&tenants, &noisy, number + 1, waiter).await;
        }
        let before = tenants.waiting(quiet.tenant());
        stands_in_line(&tenants, &quiet, before + 1, &mut last).await;
        drop((held, sender));
        futures::join!(futures::future::join_all(waiters), last);
        let mut place = 1;
        while !order.recv().await.unwrap() {
            place += 1;
        }
        assert_eq!(place, expected, "{fairness:?}");
    }
}

#[tokio::test]
async fn a_full_queue_is_a_busy_tenant_and_nobody_elses_matter() {
    let (db, noisy, quiet) = two_tenants().await;
    let builder = patient().max_connections(4).fairness(Fairness::new().at_most(2).queue(1));
    let tenants = db.connect(builder).await;
    let held = begun(&tenants, &noisy, 2).await;
    let mut waits = Box::pin(tenants.begin(&noisy));
    stands_in_line(&tenants, &noisy, 1, &mut waits).await;
    let error: StorageError = tenants.begin(&noisy).await.unwrap_err();
    assert!(error.busy().is_some_and(|busy| busy.is_queue_full()), "{error}");
    assert!(error.is_retryable() && error.is_unavailable() && error.refusal().is_none());
    tenants.begin(&quiet).await.unwrap().commit().await.unwrap();
    drop(waits);
    drop(held);
    tenants.begin(&noisy).await.unwrap().commit().await.unwrap();
}

/// Transactions dropped at random, ours and those that wait: at the end all connections can be had at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_while_it_waits_or_begins_takes_no_connection_along() {
    let db = database().await;
    let mut sessions = Vec::new();
    for slug in ["a", "b", "c"] {
        sessions.push(session(&db, &db.tenant(slug, Isolation::Shared).await));
    }
    let builder = patient().max_connections(3).fairness(Fairness::new().at_most(3));
    let tenants = db.connect(builder).await;
    let tasks = (0..24usize).map(|task| {
        let (tenants, session) = (tenants.clone(), sessions[task % 3].clone());
        tokio::spawn(async move {
            for round in 0..60 {
                let mut beginning = Box::pin(tenants.begin(&session));
                let mut begun = None;
                for _ in 0..(task + round) % 7 {
                    if let std::task::Poll::Ready(tx) = futures::poll!(&mut beginning) {
                        begun = Some(tx.unwrap());
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(beginning);
                drop(begun);
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
    let all = begun(&tenants, &sessions[0], 3).await;
    assert_eq!(all.len(), 3);
}

async fn connected(db: &TestDatabase) -> i64 {
    let mut superuser = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where application_name = 'formwork' and datname like $1 || '\\_%'",
    )
    .bind(db.name())
    .fetch_one(&mut superuser)
    .await
    .unwrap()
}

const FAR: [&str; 4] = ["one", "two", "three", "four"];

#[tokio::test]
async fn one_limit_over_all_databases_is_kept_when_connections_are_opened() {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &FAR).await;
    let mut sessions = Vec::new();
    for name in FAR {
        sessions.push(session(&db, &db.tenant_at(name, HomePlace::shared_in(name)).await));
    }
    // The kit's own handle has connections to them too.
    db.tenants().close().await;
    // Declared, so that none is opened to look for a pooler.
    let builder = patient().transaction_pooler_with_prepared_statements().max_connections_total(2);
    let tenants = db.connect(builder).await;
    for round in 0..3 {
        for session in &sessions {
            let mut tx = tenants.begin(session).await.unwrap();
            sqlx::query("insert into notes (body) values ('x')").execute(&mut *tx).await.unwrap();
            assert!(tenants.open_connections().unwrap() <= 2);
            assert!(connected(&db).await <= 2, "round {round}");
            tx.commit().await.unwrap();
        }
    }
    let held = (tenants.begin(&sessions[0]).await.unwrap(), tenants.begin(&sessions[1]).await.unwrap());
    let mut third = Box::pin(tenants.begin(&sessions[2]));
    assert!(futures::poll!(&mut third).is_pending(), "two are all there are");
    drop(held);
    let third = third.await.unwrap();
    assert!(tenants.open_connections().unwrap() <= 2);
    third.commit().await.unwrap();
    tenants.close().await;
    while tenants.open_connections() != Some(0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_over_many_databases_stay_below_the_limit_and_all_get_on() {
    let db = TestDatabase::with_databases(&[TENANCY, NOTES], &FAR).await;
    let mut sessions = Vec::new();
    for name in FAR {
        sessions.push(session(&db, &db.tenant_at(name, HomePlace::shared_in(name)).await));
    }
    let builder =
        patient().transaction_pooler_with_prepared_statements().max_connections(2).max_connections_total(3);
    let tenants = db.connect(builder).await;
    let tasks = (0..16usize).map(|task| {
        let (tenants, session) = (tenants.clone(), sessions[task % 4].clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let tx = tenants.begin(&session).await.unwrap();
                assert!(tenants.open_connections().unwrap() <= 3);
                match (task + round) % 3 {
                    0 => drop(tx),
                    _ => drop(tx.commit().await.unwrap()),
                }
            }
        })
    });
    for task in futures::future::join_all(tasks).await {
        task.unwrap();
    }
}
