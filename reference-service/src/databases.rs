//! Which database: the one that is named, or a private one.

use std::path::{Path, PathBuf};

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    ConnectError, ControlPlane, Tenants, TenantsBuilder,
    local_postgres::{BinarySearch, LocalPostgres, LocalPostgresError, LocalRole, Settings},
};

/// Where the service login's database is: `formwork_app`.
pub const APP_URL: &str = "DATABASE_URL";
/// Where the owner's is, for migrations and provisioning: `formwork_owner`.
pub const OWNER_URL: &str = "DATABASE_OWNER_URL";

/// The database of this program, and the server that was started for it.
#[derive(Debug)]
pub struct Databases {
    app: Option<String>,
    owner: Option<String>,
    local: Option<LocalPostgres>,
}

/// No database can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A variable is needed and not set.
    #[error("set `{variable}` to the Postgres URL of the login `{login}`")]
    Unset {
        /// The variable.
        variable: &'static str,
        /// Which login.
        login: &'static str,
    },
    /// The private server could not be started.
    #[error(transparent)]
    Local(#[from] LocalPostgresError),
    /// It cannot be used as it is.
    #[error(transparent)]
    Connect(#[from] ConnectError),
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
        let read = |variable| std::env::var(variable).ok().filter(|url| !url.is_empty());
        Self { app: read(APP_URL), owner: read(OWNER_URL), local: None }
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
        let dir = state.join("postgres");
        let mut search = BinarySearch::new().for_cluster(&dir);
        if let Some(folder) = std::env::var_os("PG_BIN_DIR").map(PathBuf::from) {
            search = search.only_in(folder);
        }
        let binaries = search.find()?;
        let local = LocalPostgres::start(Settings::new(binaries, dir)).await?;
        let url = |role| Some(local.url(role));
        Ok(Self { app: url(LocalRole::App), owner: url(LocalRole::Owner), local: Some(local) })
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
        let url =
            self.app.as_deref().ok_or(DatabaseError::Unset { variable: APP_URL, login: "formwork_app" })?;
        Ok(builder.connect(url).await?)
    }

    /// Connects as the owner.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`].
    pub async fn control(&self) -> Result<ControlPlane, DatabaseError> {
        let url =
            self.owner.as_deref().ok_or(DatabaseError::Unset { variable: OWNER_URL, login: "formwork_owner" })?;
        Ok(ControlPlane::connect(url, &sets()).await?)
    }

    /// Stops what was started.
    pub async fn stop(self) {
        if let Some(local) = self.local {
            local.stop().await;
        }
    }
}
