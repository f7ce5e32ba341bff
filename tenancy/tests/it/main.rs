//! Integration tests, on a real Postgres.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and looks under the guard"
)]

mod administrator;
mod archive;
mod archive_faults;
mod cancel;
mod compile_fail;
mod database_mode;
mod doctor;
mod envelope;
mod fairness;
mod fleet;
mod fleet_drift;
mod fleet_failures;
mod home_versions;
mod impersonation;
mod isolated;
mod isolation;
mod keys;
#[cfg(feature = "aws-kms")]
mod keys_kms;
mod lifecycle;
mod limits;
mod limits_redis;
mod local_postgres;
mod move_failures;
mod move_streams;
mod move_tenant;
mod own_role;
mod panicked;
mod pgbouncer;
mod plan_limits;
mod plans;
mod quota;
mod redis_server;
mod regions;
mod registry;
mod registry_nodes;
mod registry_outage;
mod registry_redis;
mod relay;
mod replica;
mod replicas;
mod resolve;
mod run;
mod savepoint;
mod snapshot_cursor;
mod status;
mod sweep;
mod tenant_table;
mod three_phase;
mod transaction;
mod warm;
