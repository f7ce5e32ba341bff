//! Integration tests of formwork-authz.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on fails"
)]

mod adopt;
mod agreement;
mod bad_input;
mod build;
mod compile_fail;
mod consistency;
mod corpus;
mod dialects;
mod engine;
mod explain;
mod export;
mod faults;
mod files;
mod fuzz;
mod hierarchy;
mod kill;
mod language;
mod naive;
mod nodes;
mod random;
mod round_trip;
mod schema_errors;
mod sql_check;
mod sql_fallback;
mod sql_filter;
mod standby;
mod store;
mod terms;
mod typed;
mod unstratified;
mod watch;
mod write;
