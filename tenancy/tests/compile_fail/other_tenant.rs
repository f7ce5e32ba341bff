//! The tenant of an open transaction is read, not set.

use formwork_tenancy::{Session, TenantTx};

fn switch(tx: &mut TenantTx, other: &Session) {
    *tx.session() = other.clone();
}

fn replace(tx: &mut TenantTx, other: &Session) {
    tx.session = other.clone();
}

fn main() {}
