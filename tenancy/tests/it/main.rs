//! Integration tests, on a real Postgres.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks under the guard"
)]

mod cancel;
mod database_mode;
mod doctor;
mod fleet;
mod fleet_drift;
mod fleet_failures;
mod isolation;
mod local_postgres;
mod move_failures;
mod move_tenant;
mod pgbouncer;
mod resolve;
mod run;
mod savepoint;
mod transaction;
