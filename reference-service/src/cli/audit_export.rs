//! `formwork audit export`: a tenant's trail as a file.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use formwork_audit::{Audit, Export as Exporting, ExportFormat, Filter, Outcome, Target};
use formwork_tenancy::Tenants;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    Failure,
    audit::{find, session},
};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The tenant's slug.
    tenant: String,
    /// How events are written.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// File to write, which must not be there [default: standard output].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only events of this action: project.created.
    #[arg(long)]
    action: Option<String>,
    /// Only what this actor did: user:ID.
    #[arg(long, value_name = "TYPE:ID", value_parser = thing)]
    actor: Option<Target>,
    /// Only what is about this: project:ID.
    #[arg(long, value_name = "TYPE:ID", value_parser = thing)]
    target: Option<Target>,
    /// Only what ended so.
    #[arg(long, value_enum)]
    outcome: Option<Ended>,
    /// Only from this time on, as RFC 3339.
    #[arg(long, value_name = "TIME")]
    from: Option<DateTime<Utc>>,
    /// Only before this time, as RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For a spreadsheet; no cell is a formula.
    Csv,
    /// One object a line.
    Ndjson,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ended {
    Success,
    Denied,
    Failure,
}

fn thing(text: &str) -> Result<Target, String> {
    let (kind, id) = text.split_once(':').ok_or("write it as TYPE:ID")?;
    Ok(Target { kind: kind.to_owned(), id: id.to_owned() })
}

impl Export {
    pub(super) async fn run(self, tenants: &Tenants) -> Result<(), Failure> {
        let tenant = find(tenants, &self.tenant).await?;
        let mut into: Box<dyn Write> = match &self.output {
            None => Box::new(std::io::stdout().lock()),
            Some(path) => {
                let file = std::fs::File::create_new(path);
                Box::new(file.map_err(|error| format!("`{}` cannot be written: {error}", path.display()))?)
            }
        };
        let format = match self.format {
            Format::Csv => ExportFormat::Csv,
            Format::Ndjson => ExportFormat::Ndjson,
        };
        let (audit, filter) = (Audit::new(), self.filter());
        let mut tx = tenants.begin(&session(&tenant)).await?;
        let mut export = Exporting::begin(&audit, &mut tx, format, filter).await?;
        tx.commit().await?;
        let bar = bar(export.total());
        loop {
            let mut tx = tenants.begin_read(&session(&tenant)).await?;
            let Some(piece) = export.next(&audit, &mut tx).await? else { break };
            match into.write_all(piece.as_bytes()) {
                // That nobody reads on, as behind `| head`, is no fault.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
            bar.set_position(export.written());
        }
        into.flush()?;
        bar.finish_and_clear();
        eprintln!("`{}`: {} events", self.tenant, export.written());
        Ok(())
    }

    fn filter(&self) -> Filter {
        Filter {
            action: self.action.clone(),
            actor: self.actor.clone(),
            target: self.target.clone(),
            outcome: self.outcome.map(|outcome| match outcome {
                Ended::Success => Outcome::Success,
                Ended::Denied => Outcome::Denied,
                Ended::Failure => Outcome::Failure,
            }),
            from: self.from,
            until: self.until,
        }
    }
}

/// On a terminal; elsewhere only the last line says how many there were.
fn bar(events: u64) -> ProgressBar {
    let target = match std::io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(10),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(events), target);
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} events, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
