//! What executes a transaction's statements is not sqlx's connection.

async fn helper(conn: &mut sqlx::PgConnection) {
    sqlx::query("commit").execute(conn).await.unwrap();
}

async fn work(tx: &mut formwork_tenancy::TenantTx) {
    helper(&mut **tx).await;
}

fn main() {}
