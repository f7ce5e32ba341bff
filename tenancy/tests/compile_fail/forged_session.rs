//! An identity is not a tenant: a session is for one that the registry has answered.

use formwork_tenancy::{Actor, Session, TenantId};

fn session(id: TenantId) -> Session {
    Session::new(&id, Actor::system("x"))
}

fn main() {}
