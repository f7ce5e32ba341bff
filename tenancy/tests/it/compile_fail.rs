//! Ways round the guard do not compile.
//!
//! Where the compiler's message teaches, each way is a file of `tests/compile_fail` and the message is compared; after
//! a change of compiler or signature: `TRYBUILD=overwrite cargo test --workspace misuse`.

use std::str::FromStr;

use formwork_tenancy::{CommitToken, Session, Tenant, TenantConn, TenantId, TenantTx, Tenants};
use serde::de::DeserializeOwned;
use sqlx::{Acquire, Connection, Executor};

#[test]
fn misuse_of_a_transaction_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// Compiles only while the type lacks the trait: otherwise both impls of `Ambiguous` fit.
macro_rules! lacks {
    ($type:ty: $trait:path) => {
        const _: () = {
            trait Ambiguous<A> {
                fn of() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            struct Both;
            impl<T: ?Sized + $trait> Ambiguous<Both> for T {}
            let _: fn() = <$type as Ambiguous<_>>::of;
        };
    };
}

// One transaction is one: it is neither copied nor begun in another.
lacks!(TenantTx: Clone);
lacks!(TenantConn: Clone);
lacks!(TenantConn: Connection);
lacks!(&'static mut TenantConn: Acquire<'static>);
lacks!(&'static mut TenantTx: Acquire<'static>);
// Nothing runs without a transaction.
lacks!(&'static Tenants: Executor<'static>);
lacks!(&'static Tenants: Acquire<'static>);
lacks!(Tenants: std::ops::Deref);
lacks!(TenantConn: std::ops::Deref);
lacks!(TenantConn: AsMut<sqlx::PgConnection>);
lacks!(Tenants: AsRef<sqlx::PgPool>);
// A tenant is not made of what a request says.
lacks!(Tenant: DeserializeOwned);
lacks!(Tenant: Default);
lacks!(Tenant: FromStr);
lacks!(Tenant: From<TenantId>);
lacks!(Session: DeserializeOwned);
lacks!(TenantId: FromStr);
lacks!(TenantId: From<String>);
lacks!(TenantId: Default);
// A transaction is not made of a connection, a token not of a transaction.
lacks!(TenantTx: From<sqlx::PgConnection>);
lacks!(CommitToken: From<TenantTx>);

/// The pool itself is handed out for tests alone. What features a user has is not known here, where all are on.
#[test]
fn the_pool_is_handed_out_for_tests_alone() {
    let source = include_str!("../../src/tenants.rs");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with("pub fn ") && line.contains("PgPool") {
            assert_eq!(lines[index - 1], "#[cfg(feature = \"testing\")]", "{line}");
        }
    }
    assert_eq!(source.matches("-> &sqlx::PgPool").count(), 1);
}
