//! `formwork import permits`: a city's file becomes a tenant's projects.

mod write;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Args, Subcommand};
use formwork_tenancy::{Actor, Session, Status, Tenant, Tenants};
use uuid::Uuid;

use super::{Failure, say};
use crate::{
    app::App,
    databases::Databases,
    import::{self, Mapping, Progress, Report, Survey},
    modules::{
        members::{self, organization},
        projects::Applied,
    },
    token::Tokens,
};

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Building permits, as a city publishes them, into projects.
    Permits(Permits),
}

#[derive(Debug, Args)]
pub(super) struct Permits {
    /// The CSV file.
    file: PathBuf,
    /// The tenant's slug.
    #[arg(long)]
    tenant: String,
    /// Which column is what [default: the built-in mapping that fits the file's columns].
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// The member who acts, by address [default: the tenant's owner].
    #[arg(long = "as", value_name = "EMAIL")]
    actor: Option<String>,
    /// Where refused and repeated rows are listed [default: FILE.report.csv].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl Import {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let Self::Permits(permits) = self;
        // A slip of the pen is told before any database is started.
        let mapping = permits.mapping.as_deref().map(Mapping::load).transpose()?;
        import::probe(&permits.file)?;
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = permits.run(mapping, &databases).await;
        databases.stop().await;
        outcome
    }
}

/// The tenant with this slug, when it is in service.
pub(super) async fn tenant_named(app: &App, slug: &str) -> Result<Tenant, Failure> {
    let tenant = app.tenants.by_slug(slug).await?;
    let tenant = tenant.ok_or_else(|| {
        format!("there is no tenant `{slug}`: make it with `formwork tenant create {slug}`")
    })?;
    match tenant.status() {
        Status::Active => Ok(tenant),
        status => {
            Err(format!("tenant `{slug}` is {status} and takes no data: have it made active first").into())
        }
    }
}

impl Permits {
    async fn run(self, mapping: Option<Mapping>, databases: &Databases) -> Result<(), Failure> {
        let started = Instant::now();
        let app = App::new(databases.tenants(Tenants::builder()).await?, Tokens::ephemeral()?)?;
        let tenant = tenant_named(&app, &self.tenant).await?;
        let session = self.session(&app, &tenant).await?;
        let progress = Progress::stderr();
        let mut report = match &self.report {
            Some(path) => Report::at(path)?,
            None => Report::beside(&self.file)?,
        };
        let survey = Survey::run(&self.file, mapping, &mut report, &progress)?;
        report.flush()?;
        let applied = write::write(&app, &session, &survey, &progress).await?;
        self.print_outcome(&survey, &report, applied, started);
        app.tenants.close().await;
        Ok(())
    }

    /// Whoever acts may make projects here, or nothing is read.
    async fn session(&self, app: &App, tenant: &Tenant) -> Result<Session, Failure> {
        let system = Session::new(tenant, Actor::system("import"));
        let mut tx = app.tenants.begin_read(&system).await?;
        let member = members::find(&mut tx, self.actor.as_deref()).await?;
        let member = member.ok_or_else(|| match &self.actor {
            Some(email) => {
                format!("`{email}` is no member of tenant `{}`: name another one with --as", self.tenant)
            }
            None => format!("tenant `{}` has no owner: name who acts with --as EMAIL", self.tenant),
        })?;
        let actor = Actor::user(member.user_id);
        let organization = organization(tenant.id());
        if !app.authz.check(&mut tx, &actor, "create_project", &organization).await?.is_allowed() {
            let message = format!(
                "`{}` may not make projects in tenant `{}`: name an owner, admin or manager of it with --as",
                member.email, self.tenant
            );
            return Err(message.into());
        }
        eprintln!("acting as {} in tenant `{}`", member.email, self.tenant);
        Ok(Session::new(tenant, actor)
            .request_id(format!("import-{}", Uuid::now_v7()))
            .user_agent("formwork import"))
    }

    fn print_outcome(&self, survey: &Survey, report: &Report, applied: Applied, started: Instant) {
        let counts = survey.counts();
        let seconds = started.elapsed().as_secs_f64();
        say!(
            "file       {} ({}, mapping `{}`)",
            self.file.display(),
            survey.encoding(),
            survey.mapping().name()
        );
        say!("rows       {:>9}", counts.rows);
        say!("refused    {:>9}", counts.refused);
        for (column, reason, count) in report.reasons() {
            say!("           {count:>9}  {column}: {reason}");
        }
        say!("duplicate  {:>9}  (say the same as an earlier row of their key)", counts.duplicates);
        say!("updated    {:>9}  (replace an earlier row of their key)", counts.updated);
        say!("projects   {:>9}  made", applied.created);
        say!("           {:>9}  changed", applied.updated);
        say!("           {:>9}  unchanged", applied.unchanged);
        if applied.removed > 0 {
            say!("           {:>9}  left alone: removed here", applied.removed);
        }
        say!("time       {seconds:>9.1}  seconds, {:.0} rows a second", counts.rows as f64 / seconds);
        if let Some(peak) = peak_memory_mib() {
            say!("memory     {peak:>9}  MiB at most");
        }
        if report.lines() > 0 {
            say!("report     {} ({} lines)", report.path().display(), report.lines());
        }
        if !applied.wrote() {
            say!("nothing was written: every row is in tenant `{}` already", self.tenant);
        }
    }
}

/// Of this process, where the system tells.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib / 1024)
}
