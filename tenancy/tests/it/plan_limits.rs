//! A tenant's plan says how long its statements may take and wait.

use std::time::Duration;

use formwork_tenancy::{
    Actor, Isolation, Limit, PlanLimits, StorageError, Tenants, TxOptions, local_postgres::LocalRole,
};
use sqlx::{Connection, PgConnection};

use crate::isolation::{database, write_note};

const SHORT: Duration = Duration::from_millis(40);
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_statement_beyond_the_plans_limit_is_cancelled_and_not_tried_again() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let tenants =
        db.connect(Tenants::builder().plan("standard", PlanLimits::new().statement_timeout(SHORT))).await;
    let session = db.session(&tenant, Actor::system("test"));
    for options in [TxOptions::new(), TxOptions::new().statement_timeout(LONG)] {
        let mut tx = tenants.begin_with(&session, options).await.unwrap();
        let error =
            StorageError::from(sqlx::query("select pg_sleep(30)").execute(&mut *tx).await.unwrap_err());
        assert_eq!(error.limit(), Some(Limit::Statement));
        assert!(!error.is_retryable() && !error.is_unavailable());
    }
    let mut runs = 0;
    let failed = tenants
        .run(&session, TxOptions::new(), |tx| {
            runs += 1;
            Box::pin(async move { sqlx::query("select pg_sleep(30)").execute(&mut **tx).await.map(drop) })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn the_limits_are_the_plans_the_transactions_own_if_smaller_and_more_only_when_said_so() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let second = Duration::from_secs(1);
    let plan = PlanLimits::new().statement_timeout(second).lock_timeout(second * 2);
    let named = db.connect(Tenants::builder().plan("standard", plan)).await;
    let others = db.connect(Tenants::builder().plan("gold", PlanLimits::new()).other_plans(plan)).await;
    let none = db.connect(Tenants::builder().plan("gold", plan)).await;
    let (less, more) =
        (TxOptions::new().statement_timeout(second / 2), TxOptions::new().statement_timeout(second * 3));
    for (tenants, options, expected) in [
        (&named, TxOptions::new(), ("1s", "2s")),
        (&others, TxOptions::new(), ("1s", "2s")),
        (&none, TxOptions::new(), ("0", "0")),
        (&named, less, ("500ms", "2s")),
        (&named, more, ("1s", "2s")),
        (&named, more.beyond_plan(), ("3s", "2s")),
    ] {
        let mut tx = tenants.begin_with(&db.session(&tenant, Actor::system("test")), options).await.unwrap();
        let found: (String, String) =
            sqlx::query_as("select current_setting('statement_timeout'), current_setting('lock_timeout')")
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{options:?}");
    }
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_worth_another_try() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &tenant, "locked").await;
    let tenants =
        db.connect(Tenants::builder().plan("standard", PlanLimits::new().lock_timeout(SHORT))).await;
    let mut holder = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    sqlx::raw_sql("begin; lock table shared.notes in exclusive mode").execute(&mut holder).await.unwrap();
    let mut holder = Some(holder);
    let session = db.session(&tenant, Actor::system("test"));
    let (changed, _token) = tenants
        .run(&session, TxOptions::new(), |tx| {
            let release = holder.take();
            Box::pin(async move {
                let changed = sqlx::query("update notes set body = 'free'").execute(&mut **tx).await;
                if let Some(holder) = release {
                    let error = StorageError::from(changed.unwrap_err());
                    assert_eq!((error.limit(), error.is_retryable()), (Some(Limit::Lock), true));
                    holder.close().await?;
                    return Err(error);
                }
                Ok::<_, StorageError>(changed?.rows_affected())
            })
        })
        .await
        .unwrap();
    assert_eq!(changed, 1);
}
