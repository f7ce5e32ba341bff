//! `formwork tenant export`, `import` and `verify-export`: one tenant in one file.

use std::path::PathBuf;

use clap::Args;
use formwork_tenancy::{
    ControlPlane, HomePlace, Tenants,
    archive::{self, ArchiveEvent, ExportOptions, ImportOptions, Manifest},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncWriteExt, stdin, stdout},
};

use super::{Failure, say};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The tenant's slug.
    tenant: String,
    /// File to write, which must not be there; `-` is standard output [default: SLUG.export].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the hashes of passwords too.
    #[arg(long)]
    with_password_hashes: bool,
    /// Print what was written as JSON; to standard error when the export goes to standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// File to read; `-` is standard input.
    #[arg(required_unless_present = "abort")]
    file: Option<PathBuf>,
    /// Import under this name in addresses [default: the exported one].
    #[arg(long)]
    slug: Option<String>,
    /// Import a copy, under a new identity; needs a slug.
    #[arg(long, requires = "slug")]
    copy: bool,
    /// Where its tables are to be: shared, schema, database, database:NAME or database:NAME:shared [default: where they
    /// were].
    #[arg(long)]
    isolation: Option<String>,
    /// The database, by its name, when the isolation is `database` alone.
    #[arg(long, value_name = "NAME", requires = "isolation")]
    database: Option<String>,
    /// Take over the hashes of passwords, of an archive that nobody else could write to.
    #[arg(long)]
    with_password_hashes: bool,
    /// Leave out who signs in, and the domains.
    #[arg(long, conflicts_with = "with_password_hashes")]
    without_people: bool,
    /// Remove what an import of the tenant with this slug has left that was cut off.
    #[arg(long, value_name = "SLUG", conflicts_with_all = ["file", "slug", "isolation"])]
    abort: Option<String>,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyExport {
    /// File to read; `-` is standard input.
    file: PathBuf,
    /// Print what is in it as JSON.
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let tenants = databases.tenants(Tenants::builder()).await?;
        let outcome = self.on(&control, &tenants).await;
        tenants.close().await;
        control.close().await;
        outcome
    }

    async fn on(&self, control: &ControlPlane, tenants: &Tenants) -> Result<(), Failure> {
        let slug = &self.tenant;
        let tenant = tenants.by_slug(slug).await?.ok_or_else(|| format!("there is no tenant `{slug}`"))?.id();
        let mut options = ExportOptions::new();
        if self.with_password_hashes {
            options = options.with_password_hashes();
        }
        let bar = bar(None);
        let path = self.output.clone().unwrap_or_else(|| PathBuf::from(format!("{slug}.export")));
        if path.as_os_str() == "-" {
            let exported = control.export_tenant(tenant, options, stdout(), |event| show(&bar, &event)).await;
            bar.finish_and_clear();
            let manifest = exported?;
            match self.json {
                true => eprintln!("{}", serde_json::to_string_pretty(&as_json(&manifest))?),
                false => eprintln!("`{slug}` is exported: {manifest}"),
            }
            return Ok(());
        }
        let file = New::create(path).await?;
        let into = file.writer().await?;
        let exported = control.export_tenant(tenant, options, into, |event| show(&bar, &event)).await;
        bar.finish_and_clear();
        let manifest = match exported {
            Ok(manifest) => manifest,
            Err(error) => {
                file.discard().await;
                return Err(error.into());
            }
        };
        let path = file.keep().await?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&as_json(&manifest))?),
            false => say!("`{slug}` is exported to `{}`: {manifest}", path.display()),
        }
        Ok(())
    }
}

/// A file that has its name when it is whole, and is nobody else's to read.
struct New {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl New {
    async fn create(path: PathBuf) -> Result<Self, Failure> {
        if tokio::fs::try_exists(&path).await? {
            return Err(format!("`{}` is there already: name another file", path.display()).into());
        }
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        let opened = options.open(&partial).await;
        let file = opened.map_err(|error| format!("`{}` cannot be written: {error}", partial.display()))?;
        Ok(Self { path, partial, file })
    }

    async fn writer(&self) -> Result<File, Failure> {
        Ok(self.file.try_clone().await?)
    }

    async fn keep(mut self) -> Result<PathBuf, Failure> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        tokio::fs::rename(&self.partial, &self.path).await?;
        Ok(self.path)
    }

    async fn discard(self) {
        let _ = tokio::fs::remove_file(&self.partial).await;
    }
}

impl Import {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let outcome = match (&self.abort, &self.file) {
            (Some(slug), _) => self.abort(&control, databases, slug).await,
            (None, Some(file)) => self.on(&control, file).await,
            (None, None) => Err("name a file, or `-` for standard input".into()),
        };
        control.close().await;
        outcome
    }

    async fn abort(&self, control: &ControlPlane, databases: &Databases, slug: &str) -> Result<(), Failure> {
        let tenants = databases.tenants(Tenants::builder()).await?;
        let found = tenants.by_slug(slug).await;
        tenants.close().await;
        let tenant = found?.ok_or_else(|| format!("there is no tenant `{slug}`"))?;
        control.abort_import(tenant.id()).await?;
        match self.json {
            true => say!("{}", json!({ "tenant": slug, "outcome": "aborted" })),
            false => say!("the import of `{slug}` is undone"),
        }
        Ok(())
    }

    fn options(&self) -> Result<ImportOptions, Failure> {
        let mut options = match (&self.slug, self.copy) {
            (Some(slug), true) => ImportOptions::new().copy_named(slug),
            (Some(slug), false) => ImportOptions::new().slug(slug),
            (None, _) => ImportOptions::new(),
        };
        let place = match (self.isolation.as_deref(), &self.database) {
            (None, _) => None,
            (Some("database"), Some(name)) => Some(format!("database:{name}").parse::<HomePlace>()?),
            (Some(place), None) => Some(place.parse()?),
            (Some(place), Some(_)) => {
                return Err(format!("--database goes with --isolation database, not with `{place}`").into());
            }
        };
        if let Some(place) = place {
            options = options.place(place);
        }
        if self.with_password_hashes {
            options = options.with_password_hashes();
        }
        if self.without_people {
            options = options.without_people();
        }
        Ok(options)
    }

    async fn on(&self, control: &ControlPlane, file: &PathBuf) -> Result<(), Failure> {
        let options = self.options()?;
        let (from, size) = open(file).await?;
        let bar = bar(size);
        let imported = control.import_tenant(from, &options, |event| show(&bar, &event)).await;
        bar.finish_and_clear();
        let report = imported?;
        if self.json {
            let mut printed = as_json(report.manifest());
            if let Value::Object(fields) = &mut printed {
                fields.insert("outcome".to_owned(), "imported".into());
                fields.insert("tenant".to_owned(), report.slug().into());
                fields.insert("id".to_owned(), report.tenant().to_string().into());
                fields.insert("place".to_owned(), report.place().to_string().into());
                fields.insert("epoch".to_owned(), report.epoch().into());
            }
            say!("{}", serde_json::to_string_pretty(&printed)?);
        } else {
            let (slug, place, manifest) = (report.slug(), report.place(), report.manifest());
            say!("`{slug}` is imported into {place}: {manifest}");
        }
        Ok(())
    }
}

impl VerifyExport {
    /// Needs no database.
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (from, size) = open(&self.file).await?;
        let bar = bar(size);
        let verified = archive::verify(from, |event| show(&bar, &event)).await;
        bar.finish_and_clear();
        let manifest = verified?;
        match self.json {
            true => say!("{}", serde_json::to_string_pretty(&as_json(&manifest))?),
            false => say!("the export of `{}` is whole: {manifest}", manifest.tenant().slug()),
        }
        Ok(())
    }
}

/// The file and its size, or standard input.
async fn open(path: &PathBuf) -> Result<(Box<dyn AsyncRead + Unpin + Send>, Option<u64>), Failure> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(stdin()), None));
    }
    let opened = File::open(path).await;
    let file = opened.map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    let size = file.metadata().await?.len();
    Ok((Box::new(file), Some(size)))
}

fn as_json(manifest: &Manifest) -> Value {
    let tenant = manifest.tenant();
    json!({
        "tenant": tenant.slug(),
        "id": tenant.id(),
        "exported_at": manifest.exported_at(),
        "rows": manifest.rows(),
        "bytes": manifest.bytes(),
        "sha256": manifest.sha256(),
        "sections": manifest.sections(),
    })
}

/// Draws on standard error, on a terminal only. How much an export will be nobody knows beforehand.
fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => {
            (ProgressBar::new(size), "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {msg}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {binary_bytes_per_sec} {prefix} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, event: &ArchiveEvent<'_>) {
    match event {
        ArchiveEvent::Section { name, done, total } => {
            bar.set_prefix(format!("{}/{total}", done + 1));
            bar.set_message((*name).to_owned());
        }
        ArchiveEvent::Rows { bytes, .. } => bar.set_position(*bytes),
        _ => {}
    }
}
