//! Integration tests, on a real Postgres and over real HTTP.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod import_read;
