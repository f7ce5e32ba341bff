//! Benches live in `benches/`; run them with `cargo bench -p formwork-benches`. Results: `README.md`.
