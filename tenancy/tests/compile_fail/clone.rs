//! A transaction is one: two copies could commit apart.

fn twice(tx: &formwork_tenancy::TenantTx) -> formwork_tenancy::TenantTx {
    tx.clone()
}

fn main() {}
