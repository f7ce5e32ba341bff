//! The file that names the sinks. What is in it and not known is an error, so that no filter is silently none.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use formwork_audit::{
    Outcome,
    sink::{
        EventRule, FileSink, Format, InvalidNetwork, InvalidWebhook, RedisSink, Retry, SendError, Sink,
        WebhookSecret, WebhookSink,
    },
};
use formwork_tenancy::StorageError;
use serde::Deserialize;

use super::rule;

/// All sinks of a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default, rename = "sink")]
    sinks: Vec<Entry>,
}

/// One sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, by which the database knows how far it is.
    pub name: String,
    #[serde(default)]
    format: FormatName,
    attempts: Option<u32>,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    outcomes: Vec<Outcome>,
    /// Slugs of the only tenants whose events go, but for those with a rule of their own.
    pub(super) tenants: Option<Vec<String>>,
    /// By slug, rules of their own.
    #[serde(default)]
    pub(super) tenant: BTreeMap<String, OwnRule>,
    file: Option<FilePlace>,
    webhook: Option<WebhookPlace>,
    redis: Option<RedisPlace>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FormatName {
    #[default]
    Native,
    Ocsf,
}

/// What goes of one tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnRule {
    #[serde(default)]
    nothing: bool,
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    outcomes: Vec<Outcome>,
}

impl OwnRule {
    pub(super) fn rule(&self) -> Option<EventRule> {
        (!self.nothing).then(|| rule(&self.actions, &self.except, &self.outcomes))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePlace {
    path: PathBuf,
    rotate_megabytes: Option<u64>,
    keep: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookPlace {
    url: String,
    /// A secret a line: the first, and those that are being replaced by it.
    secret_file: PathBuf,
    #[serde(default)]
    allow_networks: Vec<String>,
    authorities_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RedisPlace {
    /// A file with the URL, which may have a password in it.
    url_file: PathBuf,
    stream: String,
    #[serde(default)]
    by_tenant: bool,
    at_most: Option<u64>,
}

/// The sinks cannot be as the file says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinksError {
    /// A file that is named cannot be read or written.
    #[error("`{}` cannot be used: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says what is not known.
    #[error("`{}` is not understood: {reason}", .path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// One sink cannot be.
    #[error("sink `{name}`: {reason}")]
    Sink {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// There is no such tenant.
    #[error("there is no tenant `{slug}`")]
    UnknownTenant {
        /// As written.
        slug: String,
    },
    /// The registry did not answer.
    #[error("the tenants that the sinks name could not be looked up")]
    Storage(#[from] StorageError),
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`SinksError::File`], [`SinksError::Form`], [`SinksError::Sink`] for two of one name.
    pub fn read(path: &Path) -> Result<Self, SinksError> {
        let text = read(path)?;
        let config: Self = toml::from_str(&text).map_err(|error| SinksError::Form {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let mut names = BTreeSet::new();
        for entry in &config.sinks {
            let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            if entry.name.is_empty() || !entry.name.chars().all(sane) {
                return Err(entry.fault("its name has letters, digits, `-` and `_` alone"));
            }
            if !names.insert(&entry.name) {
                return Err(entry.fault("there are two of this name"));
            }
        }
        Ok(config)
    }

    /// The sinks.
    pub fn entries(&self) -> &[Entry] {
        &self.sinks
    }
}

impl Entry {
    pub(super) fn format(&self) -> Format {
        match self.format {
            FormatName::Native => Format::Native,
            FormatName::Ocsf => Format::Ocsf,
        }
    }

    pub(super) fn retry(&self) -> Retry {
        self.attempts.map_or_else(Retry::until_taken, Retry::times)
    }

    pub(super) fn rule(&self) -> EventRule {
        rule(&self.actions, &self.except, &self.outcomes)
    }

    fn fault(&self, reason: impl ToString) -> SinksError {
        SinksError::Sink { name: self.name.clone(), reason: reason.to_string() }
    }

    pub(super) fn open(&self) -> Result<Arc<dyn Sink>, SinksError> {
        match (&self.file, &self.webhook, &self.redis) {
            (Some(place), None, None) => Ok(Arc::new(place.open()?)),
            (None, Some(place), None) => Ok(Arc::new(self.webhook(place)?)),
            (None, None, Some(place)) => {
                let sink = place.open().map_err(|error| match error {
                    Opening::File(error) => error,
                    Opening::Place(error) => self.fault(Causes(&error)),
                })?;
                Ok(Arc::new(sink))
            }
            _ => Err(self.fault("say where to, by one of `file`, `webhook` and `redis`")),
        }
    }

    fn webhook(&self, place: &WebhookPlace) -> Result<WebhookSink, SinksError> {
        let invalid = |error: InvalidWebhook| self.fault(error);
        let secrets = read(&place.secret_file)?;
        let mut secrets = secrets.split_whitespace().map(str::parse::<WebhookSecret>);
        let first = secrets.next().ok_or_else(|| self.fault("its secret file is empty"))?;
        let mut builder = WebhookSink::builder(&place.url, first.map_err(invalid)?);
        for secret in secrets {
            builder = builder.also_signed_with(secret.map_err(invalid)?);
        }
        for network in &place.allow_networks {
            builder = builder.allow(network.parse().map_err(|error: InvalidNetwork| self.fault(error))?);
        }
        if let Some(path) = &place.authorities_file {
            builder = builder.authorities(read(path)?);
        }
        builder.build().map_err(invalid)
    }
}

impl FilePlace {
    fn open(&self) -> Result<FileSink, SinksError> {
        let opened = FileSink::open(&self.path);
        let mut sink = opened.map_err(|source| SinksError::File { path: self.path.clone(), source })?;
        if let Some(megabytes) = self.rotate_megabytes {
            sink = sink.rotate_at(megabytes.saturating_mul(1_000_000));
        }
        if let Some(keep) = self.keep {
            sink = sink.keep(keep);
        }
        Ok(sink)
    }
}

enum Opening {
    File(SinksError),
    Place(SendError),
}

impl RedisPlace {
    fn open(&self) -> Result<RedisSink, Opening> {
        let url = read(&self.url_file).map_err(Opening::File)?;
        let mut sink = RedisSink::new(url.trim(), &self.stream).map_err(Opening::Place)?;
        if self.by_tenant {
            sink = sink.by_tenant();
        }
        if let Some(most) = self.at_most {
            sink = sink.at_most(most);
        }
        Ok(sink)
    }
}

/// What is behind an error.
struct Causes<'a>(&'a SendError);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::error::Error::source(self.0) {
            Some(cause) => std::fmt::Display::fmt(cause, f),
            None => std::fmt::Display::fmt(self.0, f),
        }
    }
}

fn read(path: &Path) -> Result<String, SinksError> {
    fs::read_to_string(path).map_err(|source| SinksError::File { path: path.to_owned(), source })
}
