//! Part of a transaction is undone by itself, with all that was kept of it.

use std::time::Duration;

use formwork_tenancy::{Actor, CommitError, Isolation, TenantTx, TxOptions};
use futures::FutureExt;

use crate::{
    cancel::regimes,
    isolation::{database, notes},
};

#[derive(Debug, Clone, PartialEq)]
struct Kept(&'static str);

async fn insert(tx: &mut TenantTx, body: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into notes (body) values ($1)").bind(body).execute(&mut **tx).await.map(drop)
}

#[tokio::test]
async fn a_savepoint_that_fails_leaves_the_rest() {
    let db = database().await;
    for (isolation, (regime, builder)) in [Isolation::Shared, Isolation::Schema]
        .into_iter()
        .flat_map(|isolation| regimes().map(|regime| (isolation, regime)))
    {
        let tenant = db.tenant(&format!("{isolation}-{regime}"), isolation).await;
        let tenants = db.connect(builder.max_connections(1)).await;
        let mut tx = tenants.begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
        insert(&mut tx, "before").await.unwrap();
        tx.extensions().insert(Kept("before"));
        let failed = tx
            .savepoint(|tx| {
                Box::pin(async move {
                    insert(tx, "inside").await?;
                    tx.extensions().insert(Kept("inside"));
                    // A tenant that is set in it is gone with it.
                    sqlx::query("select set_config('app.current_tenant', '', true)")
                        .execute(&mut **tx)
                        .await?;
                    sqlx::query("select 1 / 0").execute(&mut **tx).await
                })
            })
            .await
            .unwrap();
        assert!(failed.is_err());
        assert_eq!(tx.extensions().get(), Some(&Kept("before")));
        let nested: Result<(), sqlx::Error> = tx
            .savepoint(|tx| {
                Box::pin(async move {
                    let inner = tx.savepoint(|tx| insert(tx, "inner").boxed()).await;
                    inner.unwrap()?;
                    insert(tx, "outer").await
                })
            })
            .await
            .unwrap();
        nested.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(notes(&db, &tenant).await, ["before", "inner", "outer"]);
    }
}

#[tokio::test]
async fn a_savepoint_that_was_given_up_cannot_be_committed() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let given_up = tx
        .savepoint(|tx| {
            Box::pin(async move {
                insert(tx, "half").await?;
                std::future::pending::<Result<(), sqlx::Error>>().await
            })
        })
        .map(|done| done.unwrap());
    tokio::time::timeout(Duration::from_millis(50), given_up).await.unwrap_err();
    assert!(matches!(tx.commit().await, Err(CommitError::RolledBack(_))));
    assert_eq!(notes(&db, &tenant).await, [""; 0]);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_cancelled() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let session = db.session(&tenant, Actor::system("test"));
    let short = TxOptions::new().statement_timeout(Duration::from_millis(20));
    let mut tx = db.tenants().begin_with(&session, short).await.unwrap();
    let error = sqlx::query("select pg_sleep(60)").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("statement timeout"), "{error}");
    // The limit was the transaction's, not the connection's.
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let limit: String = sqlx::query_scalar("show statement_timeout").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(limit, "0");
}

#[tokio::test]
async fn a_lock_that_is_not_given_fails_in_time() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let session = db.session(&tenant, Actor::system("test"));
    let mut holder = db.tenants().begin(&session).await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(7)").execute(&mut *holder).await.unwrap();
    let impatient = TxOptions::new().lock_timeout(Duration::from_millis(20));
    let mut tx = db.tenants().begin_with(&session, impatient).await.unwrap();
    let error = sqlx::query("select pg_advisory_xact_lock(7)").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("lock timeout"), "{error}");
}
