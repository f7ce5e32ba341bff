//! The connection that was used last is used next, and nobody waits because of it.

use std::time::Duration;

use formwork_tenancy::{Actor, Isolation, Session, TenantTx, Tenants, local_postgres::LocalRole};
use sqlx::Connection;

use crate::isolation::database;

async fn server_process(tx: &mut TenantTx) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **tx).await.unwrap()
}

async fn used_by_one(tenants: &Tenants, session: &Session) -> i32 {
    let mut tx = tenants.begin(session).await.unwrap();
    let process = server_process(&mut tx).await;
    tx.commit().await.unwrap();
    process
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_next() {
    let db = database().await;
    let session = db.session(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
    let tenants = db.tenants();
    let (mut one, mut two) = (tenants.begin(&session).await.unwrap(), tenants.begin(&session).await.unwrap());
    let (first, last) = (server_process(&mut one).await, server_process(&mut two).await);
    assert_ne!(first, last);
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    for _ in 0..5 {
        assert_eq!(used_by_one(tenants, &session).await, last);
    }
}

/// More tasks than connections: each gets its turn, also after drops, which give back later.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_at_the_pool_while_a_connection_rests() {
    let db = database().await;
    let session = db.session(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
    let patient = Tenants::builder().max_connections(2).acquire_timeout(Duration::from_secs(30));
    let tenants = db.connect(patient).await;
    let tasks = (0..16).map(|task| {
        let (tenants, session) = (tenants.clone(), session.clone());
        tokio::spawn(async move {
            for round in 0..50 {
                let mut tx = tenants.begin(&session).await.unwrap();
                server_process(&mut tx).await;
                if (task + round) % 3 == 0 {
                    drop(tx);
                } else {
                    tx.commit().await.unwrap();
                }
            }
        })
    });
    for done in futures::future::join_all(tasks).await {
        done.unwrap();
    }
}

#[tokio::test]
async fn what_rests_goes_back_to_the_pool_and_close_closes_it() {
    let db = database().await;
    let session = db.session(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
    let tenants = db.connect(Tenants::builder()).await;
    let process = used_by_one(&tenants, &session).await;
    tenants.close().await;
    assert!(tenants.begin(&session).await.is_err());

    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    loop {
        let alive: bool = sqlx::query_scalar("select exists (select from pg_stat_activity where pid = $1)")
            .bind(process)
            .fetch_one(&mut owner)
            .await
            .unwrap();
        if !alive {
            break;
        }
        tokio::task::yield_now().await;
    }
}

/// The pool panics when a connection comes back to it outside a runtime.
#[test]
fn the_last_handle_may_be_dropped_outside_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (tenants, open) = runtime.block_on(async {
        let db = database().await;
        let session = db.session(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
        let tenants = db.connect(Tenants::builder()).await;
        let open = tenants.begin(&session).await.unwrap();
        let mut unanswered = tenants.begin(&session).await.unwrap();
        let _ = unanswered.raw_connection_unguarded();
        used_by_one(&tenants, &session).await;
        (tenants, [open, unanswered])
    });
    drop(open);
    drop(tenants);
}
