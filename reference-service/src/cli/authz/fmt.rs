//! `formwork authz fmt`

use clap::Args;
use formwork_authz::{
    files::{FileError, Language},
    format_native, format_openfga,
};

use super::{input::Text, refused};
use crate::cli::{Exit, Failure, print_text, say};

#[derive(Debug, Args)]
pub(crate) struct Fmt {
    /// Schemas, native or OpenFGA's DSL; `-` is standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// Write the files, where they are not as they should be [default: print one].
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Name the files that are not as they should be, and write nothing.
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.files.len() > 1 && !self.write && !self.check {
            return Err("several files cannot be printed: add --write or --check".into());
        }
        let mut is_laid_out = true;
        for path in &self.files {
            let file = Text::read(path)?;
            let text = laid_out(&file)?;
            if !self.write && !self.check {
                print_text(&text);
            } else if text != file.text {
                is_laid_out = false;
                say!("{}", file.name);
                if self.write {
                    if path == "-" {
                        return Err("standard input cannot be written: leave --write out".into());
                    }
                    std::fs::write(path, text)
                        .map_err(|error| format!("`{path}` cannot be written: {error}"))?;
                }
            }
        }
        if self.check && !is_laid_out { Err(Exit(1).into()) } else { Ok(()) }
    }
}

fn laid_out(file: &Text) -> Result<String, Failure> {
    let formatted = match Language::of(&file.name, &file.text) {
        Language::Native => format_native(&file.text),
        Language::OpenFga => format_openfga(&file.text),
        language => {
            return Err(format!(
                "`{}` is {language}, which is not laid out: give its `.fga` or `.zed`",
                file.name
            )
            .into());
        }
    };
    formatted.map_err(|error| refused(&FileError::from(error)))
}
