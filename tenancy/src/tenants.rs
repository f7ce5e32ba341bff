//! The handle that a service holds: one pool, the registry, resolution, and `begin`.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    ConnectError, MigrationRange, PlanLimits, Refusal, Session, StorageError, TenantTx, TxOptions,
    conn::TenantConn,
    databases::{Database, Databases, MAIN, is_database_name},
    pooler,
    registry::{Registry, RegistryOptions},
    supported::Supported,
    tx::settings,
};

/// Settings of no tenant: also those are put away that statements have left on the connection.
const NOBODY: &str = "; set local role none; set local app.current_tenant = ''; set local app.current_org_id = ''; \
    set local search_path = pg_catalog, pg_temp";

/// The tenants of one database, or of several, seen by a login that row security holds. Cheap to clone.
///
/// ```no_run
/// # async fn example(session: formwork_tenancy::Session) -> Result<(), Box<dyn std::error::Error>> {
/// use formwork_tenancy::Tenants;
///
/// let tenants = Tenants::builder()
///     .base_domain("example.com")
///     .connect("postgres://formwork_app@localhost/app")
///     .await?;
/// let mut tx = tenants.begin(&session).await?;
/// sqlx::query("update projects set name = $1").bind("Harbour bridge").execute(&mut *tx).await?;
/// let token = tx.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Tenants {
    databases: Databases,
    registry: Registry,
    base_domains: Arc<[String]>,
    max_connections: u32,
    prepared: bool,
    /// How long to ask whether there is a pooler, where none was declared.
    pooler_within: Option<Duration>,
    notifies: bool,
    plans: Arc<Plans>,
    supported: Arc<Supported>,
}

#[derive(Debug, Clone, Default)]
struct Plans {
    named: HashMap<String, PlanLimits>,
    others: PlanLimits,
}

/// How [`Tenants`] connects.
#[derive(Debug)]
pub struct TenantsBuilder {
    base_domains: Vec<String>,
    max_connections: u32,
    acquire_timeout: Duration,
    pooler: Option<Statements>,
    notifies: bool,
    plans: Plans,
    supported: Supported,
    databases: Vec<(String, PgConnectOptions)>,
    registry: RegistryOptions,
}

/// How statements are prepared through a transaction pooler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statements {
    Unnamed,
    Named,
}

impl Tenants {
    /// Starts from: no base domain, 10 connections, 3 seconds to wait for one, no pooler.
    pub fn builder() -> TenantsBuilder {
        TenantsBuilder {
            base_domains: Vec::new(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            pooler: None,
            notifies: false,
            plans: Plans::default(),
            supported: Supported::default(),
            databases: Vec::new(),
            registry: RegistryOptions::new(),
        }
    }

    /// Begins a transaction for the session's tenant, in one round trip.
    ///
    /// It begins in the home that the registry named at most a second ago: what a session holds on to for longer is
    /// asked for again. While the registry does not answer, it begins where the session says.
    ///
    /// # Errors
    ///
    /// When no connection can be had, the database refuses, or is not known here
    /// ([`StorageError::unknown_database`]); [`StorageError::refusal`] tells a tenant that is not in service, an
    /// administrator without leave and a home that this program does not support.
    pub async fn begin(&self, session: &Session) -> Result<TenantTx, StorageError> {
        self.begin_with(session, TxOptions::new()).await
    }

    /// Begins a transaction that may not write.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn begin_read(&self, session: &Session) -> Result<TenantTx, StorageError> {
        self.begin_with(session, TxOptions::new().read_only()).await
    }

    /// Begins a transaction in another way than the default.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn begin_with(&self, session: &Session, options: TxOptions) -> Result<TenantTx, StorageError> {
        let newer = self.newer_entry(session.tenant(), &options).await?.map(|tenant| session.placed(tenant));
        let session = newer.as_ref().unwrap_or(session);
        if !options.serves(session.tenant().status()) {
            return Err(Refusal::NotActive(session.tenant().status()).into());
        }
        if let Some(unsupported) = session.tenant().unsupported() {
            return Err(Refusal::Home(unsupported.clone()).into());
        }
        self.admit(session).await?;
        let plan = self.plans.named.get(session.tenant().plan()).unwrap_or(&self.plans.others);
        let database = self.checked_database(session.tenant().database_name()).await?;
        let conn = self.connection(database, options.within(*plan), settings(session.tenant())).await?;
        Ok(TenantTx::new(conn, session, &options, self.notifies))
    }

    /// Can the database be reached?
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn ping(&self) -> Result<(), StorageError> {
        let conn = self.begin_outside(TxOptions::new().read_only()).await?;
        Ok(conn.rollback().await?)
    }

    /// Keeps a security event that belongs to no tenant's own trail.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn record_security_event(
        &self,
        kind: &str,
        tenant: Option<crate::TenantId>,
        detail: serde_json::Value,
    ) -> Result<(), StorageError> {
        let mut conn = self.begin_outside(TxOptions::new()).await?;
        sqlx::query("select platform.record_security_event($1, $2, $3)")
            .bind(kind)
            .bind(tenant.map(crate::TenantId::as_uuid))
            .bind(detail)
            .execute(&mut conn)
            .await?;
        let answer = conn.commit("select 1".to_owned()).await;
        answer.error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Closes every connection.
    pub async fn close(&self) {
        self.registry.close();
        for database in std::iter::once(self.databases.main()).chain(self.databases.others()) {
            database.connections.turn_off();
            database.connections.pool().close().await;
        }
    }

    /// The main database's pool, on which anybody could run anything: for tests that look for what was left behind.
    /// From then on every connection goes back to it at once.
    #[cfg(feature = "testing")]
    pub fn pool_unguarded(&self) -> &sqlx::PgPool {
        let connections = &self.databases.main().connections;
        connections.turn_off();
        connections.pool()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn supported(&self) -> &Supported {
        &self.supported
    }

    pub(crate) fn base_domains(&self) -> &[String] {
        &self.base_domains
    }

    /// A transaction of no tenant: row security gives it no rows, the functions of `platform` answer.
    pub(crate) async fn begin_outside(&self, options: TxOptions) -> Result<TenantConn, StorageError> {
        self.outside_of(self.databases.main(), options).await
    }

    pub(crate) fn other_databases(&self) -> impl Iterator<Item = &str> {
        self.databases.others().map(|database| &*database.name)
    }

    /// The same in the database of this name.
    pub(crate) async fn begin_outside_in(&self, database: &str) -> Result<TenantConn, StorageError> {
        let database = self.checked_database(database).await?;
        self.outside_of(database, TxOptions::new().read_only()).await
    }

    async fn outside_of(&self, database: &Database, options: TxOptions) -> Result<TenantConn, StorageError> {
        self.connection(database, options, NOBODY.to_owned()).await
    }

    /// The database with this name, once its login has been looked at.
    async fn checked_database(&self, name: &str) -> Result<&Database, StorageError> {
        let database = self.databases.named(name)?;
        if !database.is_checked() {
            match refuse_privileged_login(self, database).await {
                Ok(()) => {}
                Err(ConnectError::Storage(error)) => return Err(error),
                Err(other) => return Err(sqlx::Error::Configuration(other.into()).into()),
            }
        }
        Ok(database)
    }

    /// Connections are not tested before use, which would cost a round trip each time: one that turns
    /// out dead when the transaction is begun is closed, and the next one tried. Nothing has run yet.
    async fn connection(
        &self,
        database: &Database,
        options: TxOptions,
        settings: String,
    ) -> Result<TenantConn, StorageError> {
        let text = options.begin_text() + &settings;
        let mut spare = self.max_connections;
        loop {
            let conn = database.connections.take().await?;
            match TenantConn::begin(&database.connections, conn, text.clone(), self.prepared).await {
                Ok(conn) => return Ok(conn),
                Err(error) => {
                    let error = StorageError::from(error);
                    if !error.is_unavailable() || spare == 0 {
                        return Err(error);
                    }
                    spare -= 1;
                }
            }
        }
    }
}

impl TenantsBuilder {
    /// Hosts `<slug>.<domain>` name tenants. May be given more than once.
    #[must_use]
    pub fn base_domain(mut self, domain: impl AsRef<str>) -> Self {
        self.base_domains.push(domain.as_ref().trim_matches('.').to_ascii_lowercase());
        self
    }

    /// Another database in which tenants have their homes, by the name that the registry has for it; the one that
    /// [`connect`](Self::connect) is given is `main`, which holds the registry. May be given more than once.
    ///
    /// One that cannot be reached when the process starts does not keep it from serving the others: its tenants are
    /// refused until it answers.
    #[must_use]
    pub fn database(mut self, name: impl Into<String>, options: PgConnectOptions) -> Self {
        self.databases.push((name.into(), options));
        self
    }

    /// Upper bound of connections to each database.
    #[must_use]
    pub fn max_connections(mut self, count: u32) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// How long a transaction waits for a connection before it fails as unavailable.
    #[must_use]
    pub fn acquire_timeout(mut self, limit: Duration) -> Self {
        self.acquire_timeout = limit;
        self
    }

    /// The address is a pooler in transaction mode: no statement is prepared by name. Right for every pooler.
    #[must_use]
    pub fn transaction_pooler(mut self) -> Self {
        self.pooler = Some(Statements::Unnamed);
        self
    }

    /// The address is a pooler in transaction mode that keeps its clients' prepared statements apart: PgBouncer 1.21
    /// or newer with `max_prepared_statements` above zero. With an older one, statements fail or meet others'.
    #[must_use]
    pub fn transaction_pooler_with_prepared_statements(mut self) -> Self {
        self.pooler = Some(Statements::Named);
        self
    }

    /// What transactions of tenants with this plan may take; see [`TxOptions::beyond_plan`] for the way round it.
    #[must_use]
    pub fn plan(mut self, name: impl Into<String>, limits: PlanLimits) -> Self {
        self.plans.named.insert(name.into(), limits);
        self
    }

    /// What tenants may whose plan was not given; no limits when this is not given either.
    #[must_use]
    pub fn other_plans(mut self, limits: PlanLimits) -> Self {
        self.plans.others = limits;
        self
    }

    /// The sets that this program was compiled with: a tenant whose home has not come as far as the newest version of
    /// one is refused, by [`resolve`](Tenants::resolve) and at the beginning of a transaction. Without this call
    /// whatever is there is served.
    #[must_use]
    pub fn supports(mut self, sets: &[formwork_migrations::Set]) -> Self {
        self.supported.add_sets(sets);
        self
    }

    /// Other versions of one set than from the newest on, for the time of a rolling deploy.
    #[must_use]
    pub fn supports_range(mut self, range: MigrationRange) -> Self {
        self.supported.add_range(range);
        self
    }

    /// Transactions that publish an event or leave a hint wake whoever follows, by NOTIFY.
    ///
    /// Off by default, and followers look once a second: of the transactions that have notified, Postgres lets one at a
    /// time commit in the whole cluster (they wait for each other's flush to disk), and every login of the database
    /// hears every channel, which is why nothing is said in it.
    #[must_use]
    pub fn notify_followers(mut self) -> Self {
        self.notifies = true;
        self
    }

    /// How the registry remembers, and by whom it is told of changes.
    #[must_use]
    pub fn registry(mut self, options: RegistryOptions) -> Self {
        self.registry = options;
        self
    }

    /// Connects by URL.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]: a privileged login is refused, since row security would not hold it; so is a transaction
    /// pooler that was seen and not declared.
    pub async fn connect(self, url: &str) -> Result<Tenants, ConnectError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| ConnectError::Address { reason: error.to_string() })?;
        self.connect_with(options).await
    }

    /// Connects by options.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(self, options: PgConnectOptions) -> Result<Tenants, ConnectError> {
        let pool = |options: PgConnectOptions| {
            PgPoolOptions::new()
                .max_connections(self.max_connections)
                .acquire_timeout(self.acquire_timeout)
                .test_before_acquire(false)
                .connect_lazy_with(options.application_name("formwork"))
        };
        let mut others = BTreeMap::new();
        for (name, options) in self.databases {
            if name == MAIN || !is_database_name(&name) || others.contains_key(&name) {
                return Err(ConnectError::Name { name });
            }
            others.insert(name, pool(options));
        }
        let registry = Registry::new(self.registry, others.keys().map(String::as_str));
        let tenants = Tenants {
            databases: Databases::new(pool(options), others),
            registry,
            base_domains: self.base_domains.into(),
            max_connections: self.max_connections,
            prepared: self.pooler != Some(Statements::Unnamed),
            pooler_within: self.pooler.is_none().then_some(self.acquire_timeout),
            notifies: self.notifies,
            plans: Arc::new(self.plans),
            supported: Arc::new(self.supported),
        };
        refuse_privileged_login(&tenants, tenants.databases.main()).await?;
        for database in tenants.databases.others() {
            match refuse_privileged_login(&tenants, database).await {
                Ok(()) => {}
                Err(ConnectError::Storage(error)) if error.is_unavailable() => {
                    tracing::warn!(database = %database.name, %error, "a database cannot be reached");
                }
                Err(source) => {
                    let name = database.name.to_string();
                    return Err(ConnectError::Database { name, source: Box::new(source) });
                }
            }
        }
        tenants.hear_of_changes().await;
        Ok(tenants)
    }
}

/// A superuser, a login with BYPASSRLS, a member of one, or an owner of tables is not held by row
/// security (PostgreSQL manual, "Row Security Policies").
async fn refuse_privileged_login(tenants: &Tenants, database: &Database) -> Result<(), ConnectError> {
    if let Some(within) = tenants.pooler_within {
        let options = database.connections.pool().connect_options();
        if pooler::is_seen(&options, within).await? {
            return Err(ConnectError::UndeclaredPooler);
        }
    }
    let begun = tenants.outside_of(database, TxOptions::new().read_only()).await;
    let mut conn = begun.map_err(pooler::explain)?;
    let (login, superuser, bypass, member, owner, migrated): (String, bool, bool, bool, bool, bool) =
        sqlx::query_as(AssertSqlSafe(PRIVILEGES)).fetch_one(&mut conn).await?;
    conn.rollback().await?;
    let why = [
        (superuser, "is a superuser"),
        (bypass, "has BYPASSRLS"),
        (member, "is a member of a role that is a superuser or has BYPASSRLS"),
        (owner, "owns tables of the tenants or of the platform, or is a member of their owner"),
    ];
    if let Some((_, why)) = why.into_iter().find(|(found, _)| *found) {
        return Err(ConnectError::PrivilegedLogin { login, why: why.to_owned() });
    }
    if !migrated {
        return Err(ConnectError::NotMigrated);
    }
    database.set_checked();
    Ok(())
}

const PRIVILEGES: &str = "
  select current_user::text, me.rolsuper, me.rolbypassrls,
         exists (select from pg_roles r where (r.rolsuper or r.rolbypassrls) and r.rolname <> me.rolname
                  and pg_has_role(me.oid, r.oid, 'member')),
         exists (select from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
                  where c.relkind in ('r', 'p') and pg_has_role(me.oid, c.relowner, 'member')
                    and c.relnamespace <> pg_my_temp_schema()),
         to_regnamespace('platform') is not null
    from pg_roles me where me.rolname = current_user";
