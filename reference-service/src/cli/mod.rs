//! The program: one command a file. An error is one sentence on standard error, with the remedy.

mod audit;
mod audit_export;
mod audit_remove;
mod audit_sinks;
mod authz;
mod demo;
mod doctor;
mod failure;
mod import;
mod migrate;
mod sealing;
mod serve;
mod tenant;
mod tenant_api_key;
mod tenant_archive;
mod tenant_domain;
mod tenant_hold;
mod tenant_leave;
mod tenant_life;
mod tenant_move;
mod tenant_order;
mod worker;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

pub(crate) use failure::Failure;

/// Formwork: the construction-management API on your own Postgres.
#[derive(Debug, Parser)]
#[command(name = "formwork", version, arg_required_else_help = true)]
struct Arguments {
    /// Folder for the signing key and the private database [default: $XDG_STATE_HOME/formwork; as root
    /// /var/lib/formwork].
    #[arg(long, global = true, env = "FORMWORK_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve with two demo tenants, on a private database unless DATABASE_URL names one.
    Demo(demo::Demo),
    /// Serve, on the database that DATABASE_URL names.
    Serve(serve::Serve),
    /// Seal the audit trails and deliver their events to sinks, beside what serves.
    Worker(worker::Worker),
    /// Bring the database that DATABASE_OWNER_URL names up to date.
    Migrate(migrate::Migrate),
    /// Look whether every wall between the tenants is where it should be.
    Doctor(doctor::Doctor),
    /// Make tenants and members.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Seal the trails of tenants, verify and export them, and prove what is in them.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Import files.
    #[command(subcommand)]
    Import(import::Import),
    /// Work with permission schemas, relationships and questions: in files, and of tenants.
    #[command(subcommand)]
    Authz(authz::Authz),
}

/// An end with a code of its own; what there is to say has been said.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the exit code is {0}")]
pub(crate) struct Exit(pub(crate) u8);

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| arguments.command.default_log().to_owned());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(run(arguments));
    // A handler that hangs does not keep the program alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref()),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let state = || state_dir(arguments.state_dir);
    match arguments.command {
        Command::Authz(authz) => authz.run(state).await,
        Command::Demo(demo) => demo.run(&state()?).await,
        Command::Serve(serve) => serve.run(&state()?).await,
        Command::Worker(worker) => worker.run(&state()?).await,
        Command::Migrate(migrate) => migrate.run(&state()?).await,
        Command::Doctor(doctor) => doctor.run(&state()?).await,
        Command::Tenant(tenant) => tenant.run(&state()?).await,
        Command::Audit(audit) => audit.run(&state()?).await,
        Command::Import(import) => import.run(&state()?).await,
    }
}

impl Command {
    /// A terminal is for the command's own words: that a statement was slow belongs in a server's log.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Serve(_) | Self::Worker(_) => "info",
            _ => "warn,sqlx=error",
        }
    }
}

/// Prints a line. That nobody reads on, as behind `| head`, is no fault.
pub(crate) fn print_line(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// As `println!`, which panics when standard output is closed.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::print_line(format_args!($($text)*)) };
}
pub(crate) use say;

/// Prints a text that ends its own lines.
pub(crate) fn print_text(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    if let Some(Exit(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("formwork: {}", failure::sentence(error));
    ExitCode::FAILURE
}

fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(given) = given {
        return Ok(given);
    }
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Ok(state.join("formwork"));
    }
    match variable("HOME") {
        Some(home) if home != std::path::Path::new("/root") => Ok(home.join(".local/state/formwork")),
        // Postgres refuses root and cannot enter its home, so root's state lies where services keep theirs.
        Some(_) => Ok(PathBuf::from("/var/lib/formwork")),
        None => Err("neither XDG_STATE_HOME nor HOME is set: name a folder with --state-dir".into()),
    }
}
