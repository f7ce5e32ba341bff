//! The `formwork` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    formwork_service::cli::main()
}
