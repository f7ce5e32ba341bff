//! Integration tests, on a real Postgres.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks under the guard"
)]

mod cancel;
mod doctor;
mod fleet;
mod fleet_drift;
mod fleet_failures;
mod isolation;
mod keys;
#[cfg(feature = "aws-kms")]
mod keys_kms;
mod local_postgres;
mod pgbouncer;
mod resolve;
mod run;
mod savepoint;
mod transaction;
mod warm;
