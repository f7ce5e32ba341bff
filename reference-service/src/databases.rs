//! Which database: the one that is named, or a private one.

use std::path::{Path, PathBuf};

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    ConnectError, ControlPlane, Relay, StorageError, Tenants, TenantsBuilder,
    local_postgres::{BinarySearch, LocalPostgres, LocalPostgresError, LocalRole, Settings},
};
use sqlx::postgres::PgConnectOptions;

/// Where the service login's database is: `formwork_app`.
pub const APP_URL: &str = "DATABASE_URL";
/// Where the owner's is, for migrations and provisioning: `formwork_owner`.
pub const OWNER_URL: &str = "DATABASE_OWNER_URL";

/// Where the login is that follows the streams of all tenants: `formwork_relay`.
pub const RELAY_URL: &str = "DATABASE_RELAY_URL";

/// Names of other databases in which tenants have their homes, with commas between them. The database `eu` is at
/// `DATABASE_EU_URL` for the service, at `DATABASE_EU_OWNER_URL` for its owner, at `DATABASE_EU_RELAY_URL` for the relay.
pub const OTHERS: &str = "FORMWORK_DATABASES";

/// Names of the databases that have standbys, `main` or others, with commas between them. Those of `eu` are at
/// `DATABASE_EU_REPLICA_URL`, those of `main` at `DATABASE_REPLICA_URL`: several with blanks between them.
pub const REPLICAS: &str = "FORMWORK_REPLICAS";

/// The databases of this program, and the server that was started for it.
#[derive(Debug)]
pub struct Databases {
    app: Option<String>,
    owner: Option<String>,
    relay: Option<String>,
    others: Vec<Other>,
    replicas: Vec<Standbys>,
    local: Option<LocalPostgres>,
}

/// Of which login a variable of another database is.
const APP: &str = "";
const OWNER: &str = "_OWNER";
const RELAY: &str = "_RELAY";

/// The standbys of one database.
#[derive(Debug)]
struct Standbys {
    of: String,
    variable: String,
    urls: Option<String>,
}

/// A database beside the main one.
#[derive(Debug)]
struct Other {
    name: String,
    app: Option<String>,
    owner: Option<String>,
    relay: Option<String>,
}

impl Other {
    /// As in `DATABASE_EU_URL`; for a login of another kind as in `DATABASE_EU_OWNER_URL`.
    fn variable(name: &str, kind: &str) -> String {
        let name = name.to_ascii_uppercase().replace('-', "_");
        format!("DATABASE_{name}{kind}_URL")
    }
}

/// No database can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A variable is needed and not set.
    #[error("`{variable}` is not set: set it to the Postgres URL of the login `{login}`{}", instead(.variable))]
    Unset {
        /// The variable.
        variable: String,
        /// Which login.
        login: &'static str,
    },
    /// There is no private database, and this command makes none.
    #[error("there is no database yet: start `formwork demo`, which makes one, or set `{APP_URL}`")]
    None,
    /// A variable holds something else.
    #[error("`{variable}` is no Postgres URL, such as `postgres://{login}:PASSWORD@localhost:5432/formwork`")]
    NoUrl {
        /// The variable.
        variable: String,
        /// Which login.
        login: &'static str,
    },
    /// It does not answer.
    #[error("database {place} cannot be reached: start Postgres there, or correct `{variable}`")]
    Unreachable {
        /// The database, its host and port.
        place: String,
        /// The variable.
        variable: String,
        /// What the database said.
        source: StorageError,
    },
    /// It answers, and lets nobody in.
    #[error("database {place} refuses the login of `{variable}`: correct the variable")]
    Refused {
        /// The database, its host and port.
        place: String,
        /// The variable.
        variable: String,
        /// What the database said.
        source: StorageError,
    },
    /// It has none of our tables.
    #[error("database {place} is empty: run `formwork migrate` first")]
    Empty {
        /// The database, its host and port.
        place: String,
    },
    /// The private server could not be started.
    #[error(transparent)]
    Local(#[from] LocalPostgresError),
    /// It cannot be used as it is.
    #[error(transparent)]
    Connect(ConnectError),
}

fn instead(variable: &str) -> &'static str {
    if variable == APP_URL { ", or try `formwork demo`, which brings its own database" } else { "" }
}

/// Every migration, in the order of dependencies.
pub fn sets() -> Vec<Set> {
    let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    sets.extend_from_slice(SERVICE);
    sets
}

impl Databases {
    /// The ones that the environment names. Nothing is started.
    pub fn named() -> Self {
        let read = |variable: &str| std::env::var(variable).ok().filter(|url| !url.is_empty());
        let other = |name: &str| Other {
            name: name.to_owned(),
            app: read(&Other::variable(name, APP)),
            owner: read(&Other::variable(name, OWNER)),
            relay: read(&Other::variable(name, RELAY)),
        };
        let names = read(OTHERS).unwrap_or_default();
        let others = list(&names).map(other).collect();
        let standbys = |of: &str| {
            let variable = Standbys::variable(of);
            Standbys { of: of.to_owned(), urls: read(&variable), variable }
        };
        let replicas = list(&read(REPLICAS).unwrap_or_default()).map(standbys).collect();
        let (app, owner, relay) = (read(APP_URL), read(OWNER_URL), read(RELAY_URL));
        Self { app, owner, relay, others, replicas, local: None }
    }

    /// The ones that the environment names; when it names none, a private server in the state folder.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::Local`] says what to do.
    pub async fn named_or_private(state: &Path) -> Result<Self, DatabaseError> {
        let named = Self::named();
        if named.app.is_some() || named.owner.is_some() {
            return Ok(named);
        }
        let dir = private_dir(state);
        let mut search = BinarySearch::new().for_cluster(&dir);
        if let Some(folder) = std::env::var_os("PG_BIN_DIR").filter(|folder| !folder.is_empty()) {
            search = search.only_in(PathBuf::from(folder));
        }
        let binaries = search.find()?;
        let local = LocalPostgres::start(Settings::new(binaries, dir)).await?;
        let url = |role| Some(local.url(role));
        let (others, replicas) = (named.others, named.replicas);
        let (app, owner, relay) = (url(LocalRole::App), url(LocalRole::Owner), url(LocalRole::Relay));
        Ok(Self { app, owner, relay, others, replicas, local: Some(local) })
    }

    /// As [`named_or_private`](Self::named_or_private), for what needs data that are there: no private database
    /// is made.
    ///
    /// # Errors
    ///
    /// [`DatabaseError::None`] besides.
    pub async fn named_or_made_before(state: &Path) -> Result<Self, DatabaseError> {
        let named = Self::named();
        if named.app.is_none() && named.owner.is_none() && !private_dir(state).join("data").exists() {
            return Err(DatabaseError::None);
        }
        Self::named_or_private(state).await
    }

    /// Was a server started for this?
    pub fn is_private(&self) -> bool {
        self.local.is_some()
    }

    /// Connects as the service.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], also for a login that row security would not hold.
    pub async fn tenants(&self, builder: TenantsBuilder) -> Result<Tenants, DatabaseError> {
        let named = Named::new(APP_URL, "formwork_app", self.app.as_deref())?;
        let mut builder = builder;
        let mut others = Vec::new();
        for other in &self.others {
            let variable = Other::variable(&other.name, APP);
            let there = Named::new(&variable, "formwork_app", other.app.as_deref())?;
            builder = builder.database(&other.name, there.options.clone());
            others.push((other.name.clone(), there));
        }
        for standbys in &self.replicas {
            let urls = standbys.urls.as_deref();
            for url in urls.map_or(vec![None], |urls| urls.split_whitespace().map(Some).collect()) {
                let there = Named::new(&standbys.variable, "formwork_app", url)?;
                builder = builder.replica(&standbys.of, there.options);
            }
        }
        builder.connect_with(named.options.clone()).await.map_err(|error| match error {
            ConnectError::Database { name, source } => {
                let there =
                    others.iter().find(|(other, _)| *other == name).map_or(&named, |(_, there)| there);
                there.explain(*source)
            }
            error => named.explain(error),
        })
    }

    /// Connects as the owner.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn control(&self) -> Result<ControlPlane, DatabaseError> {
        let named = Named::new(OWNER_URL, "formwork_owner", self.owner.as_deref())?;
        let connected = ControlPlane::connect_with(named.options.clone(), &sets()).await;
        let mut control = connected.map_err(|error| named.explain(error))?;
        for other in &self.others {
            let variable = Other::variable(&other.name, OWNER);
            let there = Named::new(&variable, "formwork_owner", other.owner.as_deref())?;
            control =
                control.with_database(&other.name, there.options.clone()).await.map_err(
                    |error| match error {
                        ConnectError::Database { source, .. } => there.explain(*source),
                        error => there.explain(error),
                    },
                )?;
        }
        Ok(control)
    }

    /// Is there an owner's login?
    pub fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Connects as who follows the streams of the main database.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], also for a login that may do more than follow.
    pub async fn relay(&self) -> Result<Relay, DatabaseError> {
        Named::new(RELAY_URL, "formwork_relay", self.relay.as_deref())?.relay().await
    }

    /// Connects as who follows the streams, to each database by its name: the streams are one database's each.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], also for a login that may do more than follow.
    pub async fn relays(&self) -> Result<Vec<(String, Relay)>, DatabaseError> {
        let mut relays = vec![("main".to_owned(), self.relay().await?)];
        for other in &self.others {
            let variable = Other::variable(&other.name, RELAY);
            let there = Named::new(&variable, "formwork_relay", other.relay.as_deref())?;
            relays.push((other.name.clone(), there.relay().await?));
        }
        Ok(relays)
    }

    /// Stops what was started.
    pub async fn stop(self) {
        if let Some(local) = self.local {
            local.stop().await;
        }
    }
}

impl Standbys {
    /// As in `DATABASE_EU_REPLICA_URL`.
    fn variable(of: &str) -> String {
        match of {
            "main" => "DATABASE_REPLICA_URL".to_owned(),
            of => format!("DATABASE_{}_REPLICA_URL", of.to_ascii_uppercase().replace('-', "_")),
        }
    }
}

fn list(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty())
}

fn private_dir(state: &Path) -> PathBuf {
    state.join("postgres")
}

/// What a variable says, to connect by and to explain a failure with.
struct Named {
    variable: String,
    options: PgConnectOptions,
}

impl Named {
    fn new(variable: &str, login: &'static str, url: Option<&str>) -> Result<Self, DatabaseError> {
        let variable = variable.to_owned();
        let Some(url) = url else { return Err(DatabaseError::Unset { variable, login }) };
        // The driver takes any scheme, and reads what is no URL as a host.
        let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        let options = is_postgres.then(|| url.parse().ok()).flatten();
        match options {
            Some(options) => Ok(Self { variable, options }),
            None => Err(DatabaseError::NoUrl { variable, login }),
        }
    }

    async fn relay(&self) -> Result<Relay, DatabaseError> {
        let connected = Relay::builder().connect_with(self.options.clone()).await;
        connected.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ConnectError) -> DatabaseError {
        match error {
            ConnectError::Storage(source) if source.is_unavailable() => {
                DatabaseError::Unreachable { place: self.place(), variable: self.variable.clone(), source }
            }
            ConnectError::Storage(source) => {
                DatabaseError::Refused { place: self.place(), variable: self.variable.clone(), source }
            }
            ConnectError::NotMigrated => DatabaseError::Empty { place: self.place() },
            other => DatabaseError::Connect(other),
        }
    }

    /// Without the password.
    fn place(&self) -> String {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(folder) => format!("`{database}` at `{}`", folder.display()),
            None => format!("`{database}` at `{}:{}`", options.get_host(), options.get_port()),
        }
    }
}
