//! A plain transaction of sqlx is not a tenant's.

async fn notes(tx: &mut formwork_tenancy::TenantTx) -> Vec<String> {
    sqlx::query_scalar("select body from notes").fetch_all(&mut **tx).await.unwrap()
}

async fn work(mut plain: sqlx::Transaction<'_, sqlx::Postgres>) {
    notes(&mut plain).await;
}

fn main() {}
