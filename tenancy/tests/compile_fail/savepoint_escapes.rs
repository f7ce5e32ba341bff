//! What is lent to a savepoint stays in it.

use formwork_tenancy::TenantTx;

async fn work(tx: &mut TenantTx) {
    let mut kept: Option<&mut TenantTx> = None;
    tx.savepoint(|inner| {
        kept = Some(inner);
        Box::pin(async { Ok::<_, sqlx::Error>(()) })
    })
    .await
    .unwrap()
    .unwrap();
    drop(kept);
}

fn main() {}
