//! A transaction is used up by its commit.

async fn work(mut tx: formwork_tenancy::TenantTx) {
    tx.commit().await.unwrap();
    sqlx::query("update notes set body = 'late'").execute(&mut *tx).await.unwrap();
}

fn main() {}
