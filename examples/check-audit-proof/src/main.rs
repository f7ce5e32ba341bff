//! Is this event in the trail, did this trail grow out of that one, is this whole trail as it was signed? Asks nobody: only
//! the file and a public key.
//!
//! ```text
//! formwork audit prove acme 0197a1c2-... > proof.json
//! check-audit-proof proof.json PUBLIC_KEY
//! formwork audit trail acme --output acme.trail
//! check-audit-proof acme.trail PUBLIC_KEY
//! ```

mod check;
mod whole;

use std::{fs::File, io::BufReader, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, keys @ ..] = arguments.as_slice() else {
        eprintln!("usage: check-audit-proof FILE PUBLIC_KEY [PUBLIC_KEY..]");
        return ExitCode::FAILURE;
    };
    match check(file, keys) {
        Ok(what) => {
            println!("{what}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("check-audit-proof: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A whole trail is large, and read line by line; it has more than one.
fn check(file: &str, keys: &[String]) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("`{file}` cannot be read: {error}");
    let mut first = String::new();
    let mut reader = BufReader::new(File::open(file).map_err(unreadable)?);
    std::io::BufRead::read_line(&mut reader, &mut first).map_err(unreadable)?;
    if first.contains("formwork.audit.trail.") {
        return whole::check_trail(BufReader::new(File::open(file).map_err(unreadable)?), keys);
    }
    check::check(&std::fs::read_to_string(file).map_err(unreadable)?, keys)
}
