//! `formwork authz convert`

use clap::{Args, ValueEnum};

use super::input;
use crate::cli::{Exit, Failure, print_text};

#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// Schema; `-` is standard input.
    file: String,
    /// Its language afterwards.
    #[arg(long, value_enum)]
    to: Target,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    /// SpiceDB's language.
    Native,
    /// OpenFGA's DSL.
    Openfga,
    /// OpenFGA's JSON.
    OpenfgaJson,
}

impl Convert {
    pub(super) fn run(self) -> Result<(), Failure> {
        let schema = input::schema(Some(&self.file))?;
        let converted = match self.to {
            Target::Native => schema.to_native(),
            Target::Openfga => schema.to_openfga(),
            Target::OpenfgaJson => schema.to_openfga_json(),
        };
        match converted {
            Ok(text) => {
                print_text(&text);
                Ok(())
            }
            Err(error) => {
                let reasons: Vec<String> =
                    error.reasons().iter().map(|reason| format!("\n  - {reason}")).collect();
                eprintln!("error: `{}` cannot be said there:{}", self.file, reasons.concat());
                if matches!(self.to, Target::Native) {
                    eprintln!(
                        "help: `formwork authz import openfga` rewrites what it can, and takes the tuples along"
                    );
                }
                Err(Exit(1).into())
            }
        }
    }
}
