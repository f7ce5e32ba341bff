//! The pool under the handle is nobody's.

use formwork_tenancy::{TenantConn, Tenants};

fn field(tenants: &Tenants) -> &sqlx::PgPool {
    &tenants.pool
}

fn deref(tenants: &Tenants) -> &sqlx::PgPool {
    &**tenants
}

fn connection(conn: &mut TenantConn) -> &mut sqlx::PgConnection {
    &mut conn.conn
}

fn main() {}
