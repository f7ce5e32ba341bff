//! Whoever is lent a transaction cannot end it.

async fn helper(tx: &mut formwork_tenancy::TenantTx) {
    tx.commit().await.unwrap();
}

fn main() {}
