//! A session that is held on to ends with its tenant's service.

use formwork_tenancy::{
    Actor, Isolation, Refusal, Status, StorageError, TenantTx, TxOptions, local_postgres::LocalRole,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::isolation::{database, write_note};

/// The registry's entry is a second old at most: begins until it is refused.
async fn refused(
    begin: impl AsyncFn() -> Result<TenantTx, StorageError>,
    before: impl Fn(&StorageError) -> bool,
) -> StorageError {
    loop {
        match begin().await {
            Ok(tx) => tx.rollback().await.unwrap(),
            Err(error) if before(&error) => {}
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_session_of_a_tenant_out_of_service_begins_nothing() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    write_note(&db, &tenant, "kept").await;
    let session = db.session(&tenant, Actor::system("test"));
    let mut owner = db.options(LocalRole::Owner).await.connect().await.unwrap();
    let mut last = Status::Active;
    for status in [Status::Deleting, Status::Suspended, Status::Archived] {
        let sql = format!("update platform.tenants set status = '{status}', version = version + 1");
        owner.execute(AssertSqlSafe(sql)).await.unwrap();
        for options in [TxOptions::new(), TxOptions::new().read_only()] {
            let earlier = |error: &StorageError| error.refusal() == Some(&Refusal::NotActive(last));
            let error = refused(async || db.tenants().begin_with(&session, options).await, earlier).await;
            assert_eq!(error.refusal(), Some(&Refusal::NotActive(status)), "{error}");
            assert!(!error.is_retryable());
        }
        last = status;
    }
    // Whoever exports or removes it says so.
    let anyway = TxOptions::new().whatever_status().read_only();
    let mut tx = db.tenants().begin_with(&session, anyway).await.unwrap();
    let kept: String = sqlx::query_scalar("select body from notes").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(kept, "kept");
    tx.rollback().await.unwrap();
    owner.execute("update platform.tenants set status = 'deleted', version = version + 1").await.unwrap();
    let archived = |error: &StorageError| error.refusal() == Some(&Refusal::NotActive(Status::Archived));
    let gone = refused(async || db.tenants().begin_with(&session, anyway).await, archived).await;
    assert_eq!(gone.refusal(), Some(&Refusal::NotActive(Status::Deleted)), "{gone}");

    owner.execute("delete from platform.tenants").await.unwrap();
    let deleted = |error: &StorageError| error.refusal() == Some(&Refusal::NotActive(Status::Deleted));
    let gone = refused(async || db.tenants().begin_with(&session, anyway).await, deleted).await;
    assert_eq!(gone.refusal(), Some(&Refusal::Gone), "{gone}");
}
