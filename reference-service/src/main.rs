//! The `formwork` program.
fn main() {}
