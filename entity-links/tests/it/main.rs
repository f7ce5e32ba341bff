//! Integration tests, on a real Postgres.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod batches;
mod kit;
mod linking;
mod merging;
mod plans;
mod races;
mod reading;
mod removing;
mod tenant_types;
mod walking;
