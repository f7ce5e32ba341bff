//! A panic in the middle of a transaction is a drop like any other: nothing of it is left.

use formwork_tenancy::{
    Actor, Isolation, Session, StorageError, TenantTx, Tenants, TxOptions,
    testing::{TestDatabase, examine_pool},
};
use futures::FutureExt;

use crate::{
    cancel::regimes,
    isolation::{database, notes},
};

async fn insert(tx: &mut TenantTx) -> Result<(), StorageError> {
    sqlx::query("insert into notes (body) values ('half')").execute(&mut **tx).await?;
    Ok(())
}

async fn in_a_transaction(tenants: Tenants, session: Session) {
    let mut tx = tenants.begin(&session).await.unwrap();
    insert(&mut tx).await.unwrap();
    panic!("on purpose");
}

async fn in_a_savepoint(tenants: Tenants, session: Session) {
    let mut tx = tenants.begin(&session).await.unwrap();
    let _ = tx
        .savepoint(|tx| {
            Box::pin(async move {
                insert(tx).await?;
                panic!("on purpose");
                #[expect(unreachable_code, reason = "says what the closure answers")]
                Ok::<(), StorageError>(())
            })
        })
        .await;
}

async fn in_a_run(tenants: Tenants, session: Session) {
    let _ = tenants
        .run(&session, TxOptions::new(), |tx| {
            Box::pin(async move {
                insert(tx).await?;
                panic!("on purpose");
                #[expect(unreachable_code, reason = "says what the closure answers")]
                Ok::<(), StorageError>(())
            })
        })
        .await;
}

/// With an answer on its way: two statements are polled at once, and the other one panics.
async fn beside_a_statement(tenants: Tenants, session: Session) {
    let mut tx = tenants.begin(&session).await.unwrap();
    insert(&mut tx).await.unwrap();
    let slow = sqlx::query("select pg_sleep(0.2)").execute(&mut *tx);
    let fails = async {
        tokio::task::yield_now().await;
        panic!("on purpose");
    };
    futures::join!(slow, fails).0.unwrap();
}

async fn check(
    db: &TestDatabase,
    name: &str,
    work: impl Fn(Tenants, Session) -> futures::future::BoxFuture<'static, ()>,
) {
    for (regime, builder) in regimes() {
        let tenants = db.connect(builder.max_connections(1)).await;
        for isolation in [Isolation::Shared, Isolation::Schema] {
            let tenant = db.tenant(&format!("{name}-{regime}-{isolation}"), isolation).await;
            let session = db.session(&tenant, Actor::system("test"));
            let ended = tokio::spawn(work(tenants.clone(), session.clone())).await;
            assert!(ended.unwrap_err().is_panic(), "{name}");
            examine_pool(tenants.pool_unguarded()).await.unwrap();
            let mut next = tenants.begin(&session).await.unwrap();
            insert(&mut next).await.unwrap();
            next.rollback().await.unwrap();
            assert_eq!(notes(db, &tenant).await, [""; 0], "{name}: {regime}");
        }
    }
}

#[tokio::test]
async fn a_panic_leaves_no_row_and_no_tenant_wherever_it_is() {
    let db = database().await;
    check(&db, "transaction", |tenants, session| in_a_transaction(tenants, session).boxed()).await;
    check(&db, "savepoint", |tenants, session| in_a_savepoint(tenants, session).boxed()).await;
    check(&db, "run", |tenants, session| in_a_run(tenants, session).boxed()).await;
    check(&db, "statement", |tenants, session| beside_a_statement(tenants, session).boxed()).await;
}
