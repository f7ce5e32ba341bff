//! A text from a request is not a tenant's identity.

use formwork_tenancy::TenantId;

fn from_a_header(text: &str) -> TenantId {
    TenantId::from(text)
}

fn main() {}
