//! What the benches share. They lie in `benches/`; run them with `cargo bench -p formwork-benches`. Results: `README.md`.

#[cfg(feature = "peers")]
pub mod peers;
pub mod report;
pub mod workload;
