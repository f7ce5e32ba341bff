//! A private Postgres cluster, started by the program that uses it from binaries that it finds.
//!
//! For demos, development and tests: nothing is to be installed as a service, nothing listens on a network. The
//! server's socket lies in a folder that only its owner may enter, its passwords are generated, and it ends with
//! the program, even with one that is killed. Several processes may use one cluster: the first serves it, the
//! others attach, and one of them takes over when the first ends.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use formwork_tenancy::local_postgres::{LocalPostgres, LocalRole, PgBinaries, Settings};
//!
//! let binaries = PgBinaries::find(None)?;
//! let postgres = LocalPostgres::start(Settings::new(binaries, "/var/lib/formwork/postgres")).await?;
//! let pool = sqlx::PgPool::connect_with(postgres.connect_options(LocalRole::App, "formwork")).await?;
//! # drop(pool);
//! postgres.stop().await;
//! # Ok(())
//! # }
//! ```

mod account;
mod binaries;
mod cluster;
mod error;
mod lock;
#[cfg(feature = "testing")]
mod replica;
mod secrets;
mod setup;
mod supervisor;
mod temporary;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use cluster::{Cluster, PORT};
use error::OnPath;
use supervisor::Supervisor;

pub use binaries::{BinarySearch, PgBinaries};
pub use error::{AccountError, BinariesNotFound, FolderError, LocalPostgresError, SetupError, StartError};

/// The database that every private cluster has, owned by [`LocalRole::Owner`].
pub const DATABASE: &str = "formwork";

/// Recovery after a crash counts in it, and a machine under load.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What a commit outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the machine.
    #[default]
    Durable,
    /// A crash of the program, not of the machine: for tests, several times faster.
    Fast,
}

/// A login of the private cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRole {
    /// `postgres`: sees every tenant's rows. For setting up, never for serving.
    Superuser,
    /// `formwork_owner`: owns the database and its tables, and runs migrations.
    Owner,
    /// `formwork_app`: what a service connects as; owns nothing and is bound by row security.
    App,
    /// `formwork_relay`: what follows the streams of a database.
    Relay,
}

impl LocalRole {
    /// The role's name in Postgres.
    pub fn name(self) -> &'static str {
        match self {
            Self::Superuser => "postgres",
            Self::Owner => "formwork_owner",
            Self::App => "formwork_app",
            Self::Relay => "formwork_relay",
        }
    }
}

/// Which cluster to start.
#[derive(Clone, Debug)]
pub struct Settings {
    binaries: PgBinaries,
    dir: PathBuf,
    durability: Durability,
}

impl Settings {
    /// The cluster in the folder `dir`, which is made when it is not there, and which holds nothing else.
    pub fn new(binaries: PgBinaries, dir: impl Into<PathBuf>) -> Self {
        Self { binaries, dir: dir.into(), durability: Durability::Durable }
    }

    /// How much a commit is to outlive.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

/// A running private cluster.
///
/// Dropped, it stops the server that it started and waits for its end (a tenth of a second, as a rule, in which
/// the thread is blocked: in asynchronous code rather call [`stop`](Self::stop)).
pub struct LocalPostgres {
    cluster: Cluster,
    supervisor: Supervisor,
    temporary: bool,
}

impl LocalPostgres {
    /// Starts the cluster, or attaches to it when another process serves it. On return it takes connections and
    /// has its roles and the database [`DATABASE`].
    ///
    /// # Errors
    ///
    /// Each variant of [`LocalPostgresError`] but `BinariesNotFound`; what Postgres said is part of the text.
    pub async fn start(settings: Settings) -> Result<Self, LocalPostgresError> {
        Self::launch(settings, false).await
    }

    /// Starts a cluster of this process alone, in memory where there is room, without durability. Its folder is
    /// removed on drop, or by the next such start when this process ends without one.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn temporary(binaries: PgBinaries) -> Result<Self, LocalPostgresError> {
        let dir = temporary::folder()?;
        let started = Self::launch(Settings::new(binaries, &dir).durability(Durability::Fast), true).await;
        if started.is_err() {
            let _ = fs::remove_dir_all(&dir);
        }
        started
    }

    async fn launch(settings: Settings, temporary: bool) -> Result<Self, LocalPostgresError> {
        let prepared = tokio::task::spawn_blocking(move || Prepared::new(settings)).await;
        let Prepared { cluster, supervisor, starting } = prepared.map_err(|error| StartError {
            reason: "the start of the private Postgres was given up".to_owned(),
            log_tail: String::new(),
            source: Some(std::io::Error::other(error)),
        })??;
        let postgres = Self { cluster, supervisor, temporary };
        postgres.wait_until_ready().await?;
        if !postgres.is_attached() {
            setup::roles_and_database(&postgres).await?;
        }
        postgres.supervisor.ready();
        drop(starting);
        Ok(postgres)
    }

    /// Whether another process serves the cluster. When that one ends, this one takes over within a second.
    pub fn is_attached(&self) -> bool {
        self.supervisor.is_attached()
    }

    /// The cluster's folder.
    pub fn dir(&self) -> &Path {
        self.cluster.dir()
    }

    /// What the server writes its messages to.
    pub fn log_file(&self) -> PathBuf {
        self.cluster.log()
    }

    /// How to connect as `role` to `database`.
    pub fn connect_options(&self, role: LocalRole, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.cluster.socket_folder())
            .port(PORT)
            .username(role.name())
            .password(self.cluster.password(role))
            .database(database)
            .ssl_mode(PgSslMode::Disable)
    }

    /// The same as a text that sqlx and libpq read, for [`DATABASE`]. It holds the password.
    pub fn url(&self, role: LocalRole) -> String {
        self.url_of(role, DATABASE)
    }

    /// As [`url`](Self::url), for another database.
    pub fn url_of(&self, role: LocalRole, database: &str) -> String {
        let folder = percent_encoded(self.cluster.socket_folder().to_string_lossy().as_bytes());
        let database = percent_encoded(database.as_bytes());
        let (name, password) = (role.name(), self.cluster.password(role));
        // The socket's folder stands where a host would: an empty host after a name is no URL to many parsers.
        format!("postgres://{name}:{password}@{folder}:{PORT}/{database}?sslmode=disable")
    }

    /// Makes a database that [`LocalRole::Owner`] owns and in which nobody else may create anything; with a
    /// template, a copy of that database, which nobody may be connected to.
    ///
    /// # Errors
    ///
    /// [`LocalPostgresError::Setup`], also when it exists already.
    pub async fn create_database(
        &self,
        name: &str,
        template: Option<&str>,
    ) -> Result<(), LocalPostgresError> {
        Ok(setup::create_database(self, name, template).await?)
    }

    /// Drops a database and closes the connections to it; nothing happens when there is none.
    ///
    /// # Errors
    ///
    /// [`LocalPostgresError::Setup`].
    pub async fn drop_database(&self, name: &str) -> Result<(), LocalPostgresError> {
        Ok(setup::drop_database(self, name).await?)
    }

    /// Stops the server, if this handle started it, and waits for its end.
    pub async fn stop(self) {
        // A task that cannot run drops the handle, which stops the server as well.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    /// Connects until it works, or until the server has ended.
    async fn wait_until_ready(&self) -> Result<(), LocalPostgresError> {
        let options = self.connect_options(LocalRole::Superuser, "postgres").disable_statement_logging();
        let begun = Instant::now();
        let log_offset = self.cluster.log_length();
        let mut last = None;
        while begun.elapsed() < READY_WITHIN {
            if self.supervisor.may_connect()? {
                match PgConnection::connect_with(&options).await {
                    Ok(connection) => {
                        // The server is ready whether or not it hears of this connection's end.
                        let _ = connection.close().await;
                        return Ok(());
                    }
                    Err(error) if is_refused_login(&error) => return Err(self.not_ready(error, log_offset)),
                    Err(error) => last = Some(error),
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let last = last.unwrap_or(sqlx::Error::PoolTimedOut);
        Err(self.not_ready(last, log_offset))
    }

    fn not_ready(&self, error: sqlx::Error, log_offset: u64) -> LocalPostgresError {
        StartError {
            reason: format!("the private Postgres in `{}` takes no connections", self.dir().display()),
            log_tail: self.cluster.log_tail(log_offset),
            source: Some(std::io::Error::other(error)),
        }
        .into()
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        self.supervisor.stop();
        if self.temporary {
            self.cluster.remove();
        }
    }
}

impl fmt::Debug for LocalPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No passwords.
        f.debug_struct("LocalPostgres")
            .field("dir", &self.dir())
            .field("attached", &self.is_attached())
            .finish_non_exhaustive()
    }
}

/// The blocking part of a start: the folder is there, and a supervisor is at work on it.
struct Prepared {
    cluster: Cluster,
    supervisor: Supervisor,
    /// Held until the start is complete.
    starting: File,
}

impl Prepared {
    fn new(mut settings: Settings) -> Result<Self, LocalPostgresError> {
        fs::create_dir_all(&settings.dir).on("create", &settings.dir)?;
        settings.dir = settings.dir.canonicalize().on("find", &settings.dir)?;
        if settings.dir.to_str().is_none() {
            return Err(FolderError::because("use", &settings.dir, ": its name is not UTF-8").into());
        }
        let own_uid = own_uid(&settings.dir)?;
        let starting = lock::starting(&settings.dir)?;
        let (file, is_owner) = lock::owner(&settings.dir)?;
        let cluster = if is_owner {
            Cluster::open_or_create(settings, own_uid)?
        } else {
            Cluster::attach(settings, own_uid)?
        };
        let supervisor = Supervisor::start(cluster.clone(), file, is_owner)?;
        Ok(Self { cluster, supervisor, starting })
    }
}

/// The effective user of this process: the owner of a file that it makes. Std has no call for it.
fn own_uid(dir: &Path) -> Result<u32, FolderError> {
    let path = dir.join(format!(".user-{}", secrets::random_hex::<8>().on("find random bytes for", dir)?));
    let probe =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).on("write to", dir)?;
    let uid = probe.metadata().on("read", &path).map(|metadata| metadata.uid());
    fs::remove_file(&path).on("remove", &path)?;
    uid
}

/// A wrong password does not become right by waiting.
fn is_refused_login(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("28"))
}

fn percent_encoded(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
