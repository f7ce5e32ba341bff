//! A tenant comes from the registry and from nowhere else.

use formwork_tenancy::{Isolation, Tenant, TenantId};

fn new(id: TenantId) -> Tenant {
    Tenant::new(id, "acme", Isolation::Shared, "shared")
}

fn main() {}
