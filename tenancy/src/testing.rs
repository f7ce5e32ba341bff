//! The test kit: a real Postgres a process, a database a test.
//!
//! The cluster is started by the first test that asks, from binaries found as in
//! [`local_postgres`](crate::local_postgres) (`PG_BIN_DIR` names others), and ends with the process. A database is
//! cloned from a template that has been migrated once. Everything panics with a clear message: it is for
//! tests only.
//!
//! ```no_run
//! # async fn example() {
//! use formwork_tenancy::{Actor, Isolation, testing::TestDatabase};
//!
//! let db = TestDatabase::new(&[formwork_migrations::TENANCY]).await;
//! let acme = db.tenant("acme", Isolation::Shared).await;
//! let session = db.session(&acme, Actor::system("test"));
//! let tx = db.tenants().begin(&session).await;
//! # drop(tx);
//! # }
//! ```

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use formwork_migrations::Set;
use sqlx::{Connection, postgres::PgConnectOptions};
use tokio::sync::{Mutex, OnceCell};

use crate::{
    Actor, ControlPlane, Isolation, NewTenant, Relay, RelayBuilder, Session, Tenant, Tenants, TenantsBuilder,
    local_postgres::{LocalPostgres, LocalRole, PgBinaries},
};

static CLUSTER: OnceCell<LocalPostgres> = OnceCell::const_new();
static TEMPLATES: Mutex<Option<HashMap<Vec<&'static str>, String>>> = Mutex::const_new(None);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The base domain that tenants of a test answer under.
pub const BASE_DOMAIN: &str = "formwork.test";

/// This process's cluster, started when first asked for.
pub async fn cluster() -> &'static LocalPostgres {
    CLUSTER
        .get_or_init(|| async {
            let named = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
            let binaries = PgBinaries::find(named.as_deref()).expect("Postgres binaries are installed");
            LocalPostgres::temporary(binaries).await.expect("a private Postgres starts")
        })
        .await
}

/// A database of one test, migrated, with a control plane and a service's handle on it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    control: ControlPlane,
    tenants: Tenants,
}

impl TestDatabase {
    /// A new database with these sets applied.
    pub async fn new(sets: &[Set]) -> Self {
        let cluster = cluster().await;
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        // A template may have no connection while it is copied, so one test copies at a time.
        let mut templates = TEMPLATES.lock().await;
        let templates = templates.get_or_insert_default();
        let key: Vec<&'static str> = sets.iter().map(|set| set.name).collect();
        if !templates.contains_key(&key) {
            let template = format!("template_{}", templates.len());
            cluster.create_database(&template, None).await.expect("a template database is made");
            let control = control_of(&template, sets).await;
            control.migrate().await.expect("the migrations run");
            control.close().await;
            templates.insert(key.clone(), template);
        }
        let template = templates.get(&key).map(String::as_str);
        cluster.create_database(&name, template).await.expect("a database is cloned");
        let control = control_of(&name, sets).await;
        let tenants = Tenants::builder()
            .base_domain(BASE_DOMAIN)
            .connect_with(cluster.connect_options(LocalRole::App, &name))
            .await
            .expect("the service login connects");
        Self { name, control, tenants }
    }

    /// The service's handle.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Another handle on the same database, as another process would have.
    pub async fn connect(&self, builder: TenantsBuilder) -> Tenants {
        let options = self.options(LocalRole::App).await;
        builder.base_domain(BASE_DOMAIN).connect_with(options).await.expect("the service login connects")
    }

    /// A relay on it, looking often.
    pub async fn relay(&self) -> Relay {
        self.relay_by(Relay::builder().pause(std::time::Duration::from_millis(20))).await
    }

    /// A relay on it, of the test's own kind.
    pub async fn relay_by(&self, builder: RelayBuilder) -> Relay {
        builder.connect_with(self.options(LocalRole::Relay).await).await.expect("the relay login connects")
    }

    /// The owner's side.
    pub fn control(&self) -> &ControlPlane {
        &self.control
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect to it as `role`.
    pub async fn options(&self, role: LocalRole) -> PgConnectOptions {
        cluster().await.connect_options(role, &self.name)
    }

    /// Provisions a tenant.
    pub async fn tenant(&self, slug: &str, isolation: Isolation) -> Tenant {
        let new = NewTenant::new(slug, slug, isolation);
        self.control.provision(&new).await.expect("the tenant is provisioned");
        self.tenants.by_slug(slug).await.expect("the registry answers").expect("the tenant is known")
    }

    /// `actor`'s work for `tenant`.
    pub fn session(&self, tenant: &Tenant, actor: Actor) -> Session {
        Session::new(tenant, actor)
    }
}

static REPLICAS: AtomicUsize = AtomicUsize::new(0);

/// A streaming standby of this process's cluster, which can be read, and promoted.
///
/// It ends with the process, or with [`stop`](Self::stop); dropped without it, the primary goes on keeping its log for
/// a standby that does not come.
#[derive(Debug)]
pub struct Replica {
    standby: LocalPostgres,
    slot: String,
}

impl Replica {
    /// Copies the cluster as it is now, and follows it; `None` where `pg_basebackup` is not installed.
    pub async fn start() -> Option<Self> {
        let primary = cluster().await;
        if !primary.can_replicate() {
            return None;
        }
        let slot = format!("replica_{}", REPLICAS.fetch_add(1, Ordering::Relaxed));
        let standby = primary.standby(&slot).await.expect("a standby starts");
        Some(Self { standby, slot })
    }

    /// How to connect to `db` on the standby.
    pub fn options(&self, role: LocalRole, db: &TestDatabase) -> PgConnectOptions {
        self.standby.connect_options(role, &db.name)
    }

    /// Waits until the standby shows what the primary's log held at `position`, as
    /// [`CommitToken::wal`](crate::CommitToken::wal) says it.
    pub async fn has_replayed(&self, position: &str) {
        let options = self.standby.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the standby answers");
        loop {
            let replayed: bool = sqlx::query_scalar("select pg_last_wal_replay_lsn() >= $1::text::pg_lsn")
                .bind(position)
                .fetch_one(&mut conn)
                .await
                .expect("the standby says how far it is");
            if replayed {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Makes a primary of it, on a history of its own, and waits until it is one.
    pub async fn promote(&self) {
        let options = self.standby.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the standby answers");
        let promoted: bool = sqlx::query_scalar("select pg_promote(true, 60)")
            .fetch_one(&mut conn)
            .await
            .expect("the standby can be promoted");
        assert!(promoted, "the standby was promoted within a minute");
    }

    /// Stops it, and has the primary forget it.
    pub async fn stop(self) {
        self.standby.stop().await;
        let options = cluster().await.connect_options(LocalRole::Superuser, "postgres");
        let mut conn = sqlx::PgConnection::connect_with(&options).await.expect("the primary answers");
        // Its sender may not have noticed yet.
        let dropped = "select pg_drop_replication_slot(slot_name) from pg_replication_slots
                        where slot_name = $1 and not active";
        while sqlx::query(dropped)
            .bind(&self.slot)
            .execute(&mut conn)
            .await
            .expect("a slot is dropped")
            .rows_affected()
            == 0
        {
            tokio::task::yield_now().await;
        }
    }
}

async fn control_of(database: &str, sets: &[Set]) -> ControlPlane {
    let options = cluster().await.connect_options(LocalRole::Owner, database);
    ControlPlane::connect_with(options, sets).await.expect("the owner connects")
}
