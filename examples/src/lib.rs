//! Whole programs, one task each: under `src/bin`, and in `add-to-an-existing-app` the steps from one tenant to many.
//! They run on a Postgres of their own, and CI runs them.
//!
//! The example of the project's README is compiled here:
//!
#![doc = include_str!("../../README.md")]
