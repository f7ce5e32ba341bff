//! A transaction begins no other one: a savepoint is what it has.

async fn inside(tx: &mut formwork_tenancy::TenantTx) {
    let _inner = tx.begin().await.unwrap();
}

fn main() {}
