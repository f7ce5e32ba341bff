//! Integration tests of formwork-authz.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on fails"
)]

mod agreement;
mod engine;
mod faults;
mod language;
mod naive;
mod random;
mod store;
mod terms;
