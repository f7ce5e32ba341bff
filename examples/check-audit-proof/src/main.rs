//! Is this event in the trail, did this trail grow out of that one? Asks nobody: only the proof and a public key.
//!
//! ```text
//! formwork audit prove acme 0197a1c2-... > proof.json
//! check-audit-proof proof.json PUBLIC_KEY
//! ```

mod check;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, keys @ ..] = arguments.as_slice() else {
        eprintln!("usage: check-audit-proof PROOF.json PUBLIC_KEY [PUBLIC_KEY..]");
        return ExitCode::FAILURE;
    };
    let outcome = std::fs::read_to_string(file)
        .map_err(|error| format!("`{file}` cannot be read: {error}"))
        .and_then(|text| check::check(&text, keys));
    match outcome {
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
