//! A transaction that the database undid is run again from its start.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use formwork_tenancy::{Actor, Isolation, IsolationLevel, RunError, StorageError, TxOptions};
use tokio::sync::Barrier;

use crate::isolation::{database, write_note};

fn serializable() -> TxOptions {
    TxOptions::new().isolation_level(IsolationLevel::Serializable)
}

/// Each reads the count and adds one more note: run at once, only one of two can be right the first time.
#[tokio::test]
async fn serialization_failures_are_run_again() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &tenant, "0").await;
    let session = db.session(&tenant, Actor::system("test"));
    let runs = Arc::new(AtomicU32::new(0));
    let both_have_read = Arc::new(Barrier::new(2));
    let one = || {
        let (tenants, session) = (db.tenants().clone(), session.clone());
        let (runs, both_have_read) = (Arc::clone(&runs), Arc::clone(&both_have_read));
        tokio::spawn(async move {
            let done = tenants.run(&session, serializable(), |tx| {
                let first = runs.fetch_add(1, Ordering::SeqCst) < 2;
                let both_have_read = Arc::clone(&both_have_read);
                Box::pin(async move {
                    let count: i64 =
                        sqlx::query_scalar("select count(*) from notes").fetch_one(&mut **tx).await?;
                    if first {
                        both_have_read.wait().await;
                    }
                    let insert = sqlx::query("insert into notes (body) values ($1)").bind(count.to_string());
                    insert.execute(&mut **tx).await?;
                    Ok::<_, sqlx::Error>(count)
                })
            });
            done.await.unwrap().0
        })
    };
    let (a, b) = (one(), one());
    let mut counts = [a.await.unwrap(), b.await.unwrap()];
    counts.sort_unstable();
    assert_eq!(counts, [1, 2], "as if one had run after the other");
    assert_eq!(runs.load(Ordering::SeqCst), 3, "one of the two was run again");
}

#[tokio::test]
async fn what_would_fail_again_is_not_run_again() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let session = db.session(&tenant, Actor::system("test"));
    let mut runs = 0;
    let failed = db
        .tenants()
        .run(&session, TxOptions::new(), |tx| {
            runs += 1;
            Box::pin(async move {
                let done = sqlx::query("insert into notes (body) values (null)").execute(&mut **tx).await;
                done.map(drop).map_err(StorageError::from)
            })
        })
        .await;
    assert!(matches!(failed, Err(RunError::Work(_))), "{failed:?}");
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn a_repeatable_read_sees_one_moment() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Schema).await;
    let session = db.session(&tenant, Actor::system("test"));
    let options = TxOptions::new().read_only().isolation_level(IsolationLevel::RepeatableRead);
    let mut tx = db.tenants().begin_with(&session, options).await.unwrap();
    let count = "select count(*) from notes";
    let before: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
    write_note(&db, &tenant, "later").await;
    let after: i64 = sqlx::query_scalar(count).fetch_one(&mut *tx).await.unwrap();
    assert_eq!((before, after), (0, 0));
}
