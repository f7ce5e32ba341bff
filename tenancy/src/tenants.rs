//! The handle that a service holds: one pool, the registry, resolution, and `begin`.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    ConnectError, Host, MigrationRange, PlanLimits, Refusal, ReservedNames, ServedBy, Session, StorageError,
    Tenant, TenantId, TenantTx, TxOptions,
    admission::{Admission, Budget, FairQueue, Fairness},
    conn::TenantConn,
    databases::{Database, Databases, MAIN, is_database_name},
    pooler,
    region::Regions,
    registry::{Registry, RegistryOptions},
    replica::{Needs, WalPosition},
    resolve::Lookups,
    supported::Supported,
    tx::settings,
    warm::Warm,
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
    base_domains: Arc<[Host]>,
    reserved_names: Arc<ReservedNames>,
    lookups: Lookups,
    pub(crate) max_connections: u32,
    pub(crate) prepared: bool,
    /// How long to ask whether there is a pooler, where none was declared.
    pub(crate) pooler_within: Option<Duration>,
    pub(crate) regions: Regions,
    /// How long a replica may take before the primary is asked.
    pub(crate) replica_patience: Duration,
    read_staleness: Option<Duration>,
    #[cfg(feature = "testing")]
    budget: Option<Arc<Budget>>,
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
    reserved_names: ReservedNames,
    max_connections: u32,
    acquire_timeout: Duration,
    pooler: Option<Statements>,
    notifies: bool,
    plans: Plans,
    supported: Supported,
    databases: Vec<(String, PgConnectOptions)>,
    replicas: Vec<(String, PgConnectOptions)>,
    replica_patience: Duration,
    read_staleness: Option<Duration>,
    region: Option<String>,
    fairness: Fairness,
    max_connections_total: Option<u32>,
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
            reserved_names: ReservedNames::default(),
            max_connections: 10,
            acquire_timeout: Duration::from_secs(3),
            pooler: None,
            notifies: false,
            plans: Plans::default(),
            supported: Supported::default(),
            databases: Vec::new(),
            replicas: Vec::new(),
            replica_patience: Duration::from_millis(500),
            read_staleness: None,
            region: None,
            fairness: Fairness::new(),
            max_connections_total: None,
            registry: RegistryOptions::new(),
        }
    }

    /// Begins a transaction for the session's tenant, in one round trip.
    ///
    /// It begins in the home that the registry named at most a second ago: what a session holds on to for longer is
    /// asked for again. While the registry does not answer, no transaction that may write begins on an older answer;
    /// one that only reads does, for half a minute.
    ///
    /// # Errors
    ///
    /// When no connection can be had, the database refuses, or is not known here
    /// ([`StorageError::unknown_database`]); [`StorageError::refusal`] tells a tenant that is not in service, an
    /// administrator without leave and a home that this program does not support.
    pub async fn begin(&self, session: &Session) -> Result<TenantTx, StorageError> {
        self.begin_with(session, TxOptions::new()).await
    }

    /// Begins a transaction that may not write: on a replica ([`TenantsBuilder::replica`]) that is known to have come as
    /// far as the session's token asks, or that is no older than was allowed; else on the primary.
    /// [`TenantTx::served_by`] tells which.
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
        let newer = self.standing(session, &options).await?;
        let session = newer.as_ref().unwrap_or(session);
        let plan = self.plans.named.get(session.tenant().plan()).unwrap_or(&self.plans.others);
        let database = self.checked_database(session.tenant().database_name()).await?;
        let bounded = options.within(*plan);
        let needs = database.replicas.needs(session, &bounded, self.read_staleness);
        let there = match needs {
            Needs::Position(position) => self.begin_on_replica(database, session, &bounded, position).await,
            Needs::Primary | Needs::Mark => None,
        };
        let (conn, by) = match there {
            Some(there) => there,
            None => {
                let text = bounded.begin_text() + &settings(session.tenant());
                let conn = self.connection(database, session.tenant_id(), text, needs == Needs::Mark).await?;
                (conn, ServedBy::Primary)
            }
        };
        Ok(TenantTx::new(conn, session, &options, self.notifies).served(by, database.replicas.marks()))
    }

    /// Whether a read for the session may begin, for whoever answers it without a transaction: its tenant is in service,
    /// here, and an administrator's leave is in force and noted in the tenant's trail. With a session of its own when the
    /// registry has a newer entry, whose home is the one to read.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub async fn admit_read(&self, session: &Session) -> Result<Option<Session>, StorageError> {
        self.standing(session, &TxOptions::new().read_only()).await
    }

    /// May a transaction begin? With a session of its own when the registry has a newer entry.
    async fn standing(
        &self,
        session: &Session,
        options: &TxOptions,
    ) -> Result<Option<Session>, StorageError> {
        let newer = self.newer_entry(session.tenant(), options).await?.map(|tenant| session.placed(tenant));
        let session = newer.as_ref().unwrap_or(session);
        if !options.serves(session.tenant().status()) {
            return Err(Refusal::NotActive(session.tenant().status()).into());
        }
        if let Some(unsupported) = session.tenant().unsupported() {
            return Err(Refusal::Home(unsupported.clone()).into());
        }
        if let Some(wrong) = self.wrong_region(session.tenant()).await {
            return Err(Refusal::WrongRegion(wrong).into());
        }
        self.admit(session).await?;
        Ok(newer)
    }

    /// A transaction for what comes before the session's first: nobody is asked whether it may be begun.
    pub(crate) async fn begin_unasked(&self, session: &Session) -> Result<TenantTx, StorageError> {
        let (options, tenant) = (TxOptions::new(), session.tenant());
        let database = self.checked_database(tenant.database_name()).await?;
        let text = options.begin_text() + &settings(tenant);
        let conn = self.connection(database, tenant.id(), text, false).await?;
        Ok(TenantTx::new(conn, session, &options, false))
    }

    /// Can the database be reached? The registry hears the answer: once this says yes, nothing is refused any more for
    /// an outage that is over.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub async fn ping(&self) -> Result<(), StorageError> {
        let answer = match self.begin_outside(TxOptions::new().read_only()).await {
            Ok(conn) => conn.rollback().await.map_err(StorageError::from),
            Err(error) => Err(error),
        };
        self.registry.heard(&answer);
        answer
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
        let databases = std::iter::once(self.databases.main()).chain(self.databases.others());
        for server in databases.flat_map(|database| database.replicas.servers().chain([database])) {
            server.connections.turn_off();
            server.connections.pool().close().await;
        }
    }

    /// How many of the tenant's transactions wait for a connection to the primary of its database now.
    pub fn waiting(&self, tenant: &Tenant) -> usize {
        let database = self.databases.named(tenant.database_name());
        database.map_or(0, |database| database.admission.waiting(tenant.id()))
    }

    /// How many connections are open, where there is a limit over all databases.
    #[cfg(feature = "testing")]
    pub fn open_connections(&self) -> Option<u32> {
        self.budget.as_ref().map(|budget| budget.open())
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

    pub(crate) fn base_domains(&self) -> &[Host] {
        &self.base_domains
    }

    pub(crate) fn reserved_names(&self) -> &ReservedNames {
        &self.reserved_names
    }

    pub(crate) fn lookups(&self) -> &Lookups {
        &self.lookups
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

    pub(crate) async fn outside_of(
        &self,
        database: &Database,
        options: TxOptions,
    ) -> Result<TenantConn, StorageError> {
        // What is nobody's takes its turn as one tenant more.
        let nobody = TenantId::from(uuid::Uuid::nil());
        self.connection(database, nobody, options.begin_text() + NOBODY, false).await
    }

    /// The registry's own question. It takes its turn as a tenant more again, so that no number of logins or security
    /// events keeps all tenants from being looked up.
    pub(crate) async fn begin_for_registry(&self, database: &str) -> Result<TenantConn, StorageError> {
        let database = match database {
            MAIN => self.databases.main(),
            other => self.checked_database(other).await?,
        };
        let registry = TenantId::from(uuid::Uuid::max());
        let text = TxOptions::new().read_only().begin_text() + NOBODY;
        self.connection(database, registry, text, false).await
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
        who: TenantId,
        mut text: String,
        marks: bool,
    ) -> Result<TenantConn, StorageError> {
        if marks {
            text.push_str("; select pg_catalog.pg_current_wal_insert_lsn()::text");
        }
        let admitted = database.admission.enter(who).await?;
        let mut spare = self.max_connections;
        loop {
            let conn = database.connections.take().await?;
            let sent = Instant::now();
            match TenantConn::begin(&database.connections, conn, text.clone(), self.prepared).await {
                Ok((conn, answer)) => {
                    if let (Some(row), Some(marks)) = (answer, database.replicas.marks()) {
                        marks.set(sent, WalPosition::parse(row.try_get(0)?).unwrap_or_default());
                    }
                    return Ok(conn.keep(admitted));
                }
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
        self.base_domains.push(domain.as_ref().trim_matches('.').to_owned());
        self
    }

    /// Names that no tenant may have, whatever the registry says. Without this call
    /// [the default list](ReservedNames::default).
    #[must_use]
    pub fn reserved_names(mut self, names: ReservedNames) -> Self {
        self.reserved_names = names;
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

    /// A standby of the database with this name, `main` or one of the [others](Self::database). May be given more than
    /// once. [`begin_read`](Tenants::begin_read) goes there when the session has a token, or when a replica of some age
    /// is [good enough](Self::read_staleness); whatever is wrong with a replica, the primary answers.
    ///
    /// It is looked at before it is used: that it is a standby of this database, and that its login is one that row
    /// security holds.
    ///
    /// ```no_run
    /// # async fn example(standby: sqlx::postgres::PgConnectOptions) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use formwork_tenancy::Tenants;
    ///
    /// let tenants = Tenants::builder()
    ///     .replica("main", standby)
    ///     .read_staleness(Duration::from_secs(1))
    ///     .connect("postgres://formwork_app@localhost/app")
    ///     .await?;
    /// # drop(tenants);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn replica(mut self, database: impl Into<String>, options: PgConnectOptions) -> Self {
        self.replicas.push((database.into(), options));
        self
    }

    /// Reads without a token may be answered by a replica that shows what had been committed this long ago. Without
    /// this call they go to the primary, unless they say so themselves ([`TxOptions::at_most_stale`]).
    #[must_use]
    pub fn read_staleness(mut self, age: Duration) -> Self {
        self.read_staleness = Some(age);
        self
    }

    /// How long a replica may take to begin a transaction before the primary is asked: half a second, unless it is
    /// said otherwise. Waiting for its turn there is not more than this either.
    #[must_use]
    pub fn replica_patience(mut self, limit: Duration) -> Self {
        self.replica_patience = limit;
        self
    }

    /// The region that this process serves, as the registry calls it: a tenant of another is refused with the place to
    /// go. Without this call whatever can be reached is served.
    #[must_use]
    pub fn region(mut self, name: impl Into<String>) -> Self {
        self.region = Some(name.into());
        self
    }

    /// How the connections to each database are shared between its tenants.
    #[must_use]
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.fairness = fairness;
        self
    }

    /// Upper bound of connections to all databases and replicas together: to open one more, the one that has rested
    /// longest is closed. A database that is looked at for the first time may have two more for that moment.
    #[must_use]
    pub fn max_connections_total(mut self, count: u32) -> Self {
        self.max_connections_total = Some(count.max(1));
        self
    }

    /// Upper bound of connections to each database, and to each replica.
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
        let base_domain = |text: &String| match text.parse::<Host>() {
            Ok(host) if host.is_name() => Ok(host),
            _ => Err(ConnectError::BaseDomain { domain: text.clone() }),
        };
        let base_domains = self.base_domains.iter().map(base_domain).collect::<Result<_, _>>()?;
        let budget = self.max_connections_total.map(|total| Budget::new(total, self.fairness));
        let databases = self.databases_by(options, budget.as_ref())?;
        let registry = Registry::new(self.registry, databases.others().map(|database| &*database.name));
        let tenants = Tenants {
            registry,
            databases,
            base_domains,
            reserved_names: Arc::new(self.reserved_names),
            lookups: Lookups::new(),
            max_connections: self.max_connections,
            prepared: self.pooler != Some(Statements::Unnamed),
            pooler_within: self.pooler.is_none().then_some(self.acquire_timeout),
            regions: Regions::new(self.region),
            replica_patience: self.replica_patience,
            read_staleness: self.read_staleness,
            #[cfg(feature = "testing")]
            budget,
            notifies: self.notifies,
            plans: Arc::new(self.plans),
            supported: Arc::new(self.supported),
        };
        refuse_privileged_login(&tenants, tenants.databases.main()).await?;
        tenants.verify_replicas(tenants.databases.main()).await?;
        for database in tenants.databases.others() {
            match refuse_privileged_login(&tenants, database).await {
                Ok(()) => tenants.verify_replicas(database).await?,
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

    /// Nothing is connected yet.
    fn databases_by(
        &self,
        main: PgConnectOptions,
        budget: Option<&Arc<Budget>>,
    ) -> Result<Databases, ConnectError> {
        let server = |name: &str, options: PgConnectOptions| {
            let pool = PgPoolOptions::new()
                .max_connections(self.max_connections)
                .acquire_timeout(self.acquire_timeout)
                .test_before_acquire(false)
                .connect_lazy_with(options.application_name("formwork"));
            let queue = FairQueue::new(self.max_connections, self.fairness);
            let admission = Admission::new(queue, budget.cloned(), self.acquire_timeout);
            Database::new(name, Warm::new(pool, budget.cloned()), admission)
        };
        let database = |name: &str, options: PgConnectOptions| {
            let replicas = self.replicas.iter().filter(|(of, _)| of == name);
            server(name, options).with_replicas(replicas.map(|(of, options)| server(of, options.clone())))
        };
        let mut others = BTreeMap::new();
        for (name, options) in &self.databases {
            if name == MAIN || !is_database_name(name) || others.contains_key(name) {
                return Err(ConnectError::Name { name: name.clone() });
            }
            others.insert(name.clone(), database(name, options.clone()));
        }
        if let Some((name, _)) = self.replicas.iter().find(|(of, _)| of != MAIN && !others.contains_key(of)) {
            return Err(ConnectError::ReplicaOfNone { name: name.clone() });
        }
        Ok(Databases::new(database(MAIN, main), others))
    }
}

/// A superuser, a login with BYPASSRLS, a member of one, or an owner of tables is not held by row
/// security (PostgreSQL manual, "Row Security Policies").
pub(crate) async fn refuse_privileged_login(
    tenants: &Tenants,
    database: &Database,
) -> Result<(), ConnectError> {
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
