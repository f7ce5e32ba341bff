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
mod limits;
mod limits_redis;
mod local_postgres;
mod pgbouncer;
mod quota;
mod resolve;
mod run;
mod savepoint;
mod transaction;
mod warm;
