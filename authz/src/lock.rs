//! Locks of a tenant's permissions, held until the transaction ends (PostgreSQL manual, "Advisory Locks").
//!
//! Rows lock what is stored; these lock what is not stored: that a ban does not come, that a relationship is not there.

use formwork_tenancy::{StorageError, TenantTx};

/// Strict checks hold it together; whoever stores what may take a permission away holds it alone.
const REVOCATIONS: &str = "formwork permissions revoked ";
/// Every statement that stores relationships holds it together (the log's triggers take it); whoever rests on one not
/// being there holds it alone.
const STORING: &str = "formwork permissions stored ";

/// Waits for the strict checks that are going on, and keeps new ones waiting.
pub(crate) async fn hold_revocations(tx: &mut TenantTx) -> Result<(), StorageError> {
    take(tx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", REVOCATIONS).await
}

/// Waits for the revocations that are going on, and keeps new ones waiting.
pub(crate) async fn share_revocations(tx: &mut TenantTx) -> Result<(), StorageError> {
    take(tx, "select pg_advisory_xact_lock_shared(hashtextextended($1, 0))", REVOCATIONS).await
}

/// Waits for the transactions that have stored relationships, and keeps others from committing new ones.
pub(crate) async fn hold_storing(tx: &mut TenantTx) -> Result<(), StorageError> {
    take(tx, "select pg_advisory_xact_lock(hashtextextended($1, 0))", STORING).await
}

/// Does the transaction's next statement see what has been committed before it?
pub(crate) async fn sees_the_newest(tx: &mut TenantTx) -> Result<bool, StorageError> {
    let level: String =
        sqlx::query_scalar("select current_setting('transaction_isolation')").fetch_one(&mut **tx).await?;
    Ok(level == "read committed")
}

async fn take(tx: &mut TenantTx, text: &'static str, what: &str) -> Result<(), StorageError> {
    let key = format!("{what}{}", tx.tenant_id());
    sqlx::query(text).bind(key).execute(&mut **tx).await?;
    Ok(())
}
