//! A database of one test, cloned from a template that has been migrated once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use formwork_migrations::Set;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::Mutex;

use super::cluster;
use crate::{
    Actor, ControlPlane, HomePlace, Isolation, NewTenant, Relay, RelayBuilder, Session, Tenant, Tenants,
    TenantsBuilder, local_postgres::LocalRole,
};

/// What a template was made of: the names of its sets, and all their statements.
type Steps = Vec<&'static str>;

static TEMPLATES: Mutex<Option<HashMap<Steps, String>>> = Mutex::const_new(None);
static HOME_TEMPLATES: Mutex<BTreeMap<Steps, String>> = Mutex::const_new(BTreeMap::new());
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// How long another test may keep a transaction open.
const PATIENCE: Duration = Duration::from_secs(120);

/// The base domain that tenants of a test answer under.
pub const BASE_DOMAIN: &str = "formwork.test";

/// A database of one test, migrated, with a control plane and a service's handle on it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    control: ControlPlane,
    tenants: Tenants,
    others: Vec<(String, String)>,
}

impl TestDatabase {
    /// A new database with these sets applied.
    pub async fn new(sets: &[Set]) -> Self {
        Self::with_databases(sets, &[]).await
    }

    /// As [`new`](Self::new), with other databases beside it for homes, known by these names to the service and to the
    /// control plane.
    pub async fn with_databases(sets: &[Set], others: &[&str]) -> Self {
        let cluster = cluster().await;
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        // A template may have no connection while it is copied, so one test copies at a time.
        let mut templates = TEMPLATES.lock().await;
        let templates = templates.get_or_insert_default();
        let key = steps_of(sets);
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
        let mut control = control_of(&name, sets).await;
        let mut builder = Tenants::builder().base_domain(BASE_DOMAIN);
        let mut made = Vec::new();
        let mut home_templates = HOME_TEMPLATES.lock().await;
        for other in others {
            let physical = format!("{name}_{other}");
            let template = homes_template(&mut home_templates, &key, sets).await;
            cluster
                .create_database(&physical, Some(&template))
                .await
                .expect("a database for homes is cloned");
            let owner = cluster.connect_options(LocalRole::Owner, &physical);
            control = control.with_database(other, owner).await.expect("the owner connects");
            builder = builder.database(*other, cluster.connect_options(LocalRole::App, &physical));
            made.push(((*other).to_owned(), physical));
        }
        let main = cluster.connect_options(LocalRole::App, &name);
        let tenants = builder.connect_with(main).await.expect("the service login connects");
        Self { name, control, tenants, others: made }
    }

    /// The service's handle.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Another handle on the same database, as another process would have.
    pub async fn connect(&self, builder: TenantsBuilder) -> Tenants {
        let mut builder = builder;
        for (name, _) in &self.others {
            builder = builder.database(name.as_str(), self.options_of(name, LocalRole::App).await);
        }
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

    /// The name of one of the other databases for homes.
    pub fn other_database(&self) -> Option<&str> {
        self.others.first().map(|(name, _)| name.as_str())
    }

    /// How to connect to it as `role`.
    pub async fn options(&self, role: LocalRole) -> PgConnectOptions {
        cluster().await.connect_options(role, &self.name)
    }

    /// How to connect as `role` to another of its databases; `main` is the first.
    pub async fn options_of(&self, database: &str, role: LocalRole) -> PgConnectOptions {
        let other = self.others.iter().find(|(name, _)| name == database);
        let physical = other.map_or(&self.name, |(_, physical)| physical);
        cluster().await.connect_options(role, physical)
    }

    /// Waits for every transaction that has begun by now to end: those in the databases of other tests too, since they
    /// stand in the same cluster and hold back what may be pruned from a stream.
    pub async fn older_transactions_end(&self) {
        const ENDED: &str = "select pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8";
        let options = self.options(LocalRole::Superuser).await;
        let mut conn = PgConnection::connect_with(&options).await.expect("the cluster answers");
        let now: String = sqlx::query_scalar("select pg_current_xact_id()::text")
            .fetch_one(&mut conn)
            .await
            .expect("a transaction has a number");
        let begun = Instant::now();
        while !sqlx::query_scalar::<_, bool>(ENDED)
            .bind(&now)
            .fetch_one(&mut conn)
            .await
            .expect("the cluster answers")
        {
            assert!(begun.elapsed() < PATIENCE, "a transaction that another test has begun does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Provisions a tenant with its home at `place`.
    pub async fn tenant_at(&self, slug: &str, place: HomePlace) -> Tenant {
        let new = NewTenant::placed(slug, slug, place);
        self.control.provision(&new).await.expect("the tenant is provisioned");
        self.tenants.by_slug(slug).await.expect("the registry answers").expect("the tenant is known")
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

/// A database for homes, migrated beside a control plane's that is not kept.
async fn homes_template(
    templates: &mut BTreeMap<Vec<&'static str>, String>,
    key: &[&'static str],
    sets: &[Set],
) -> String {
    if let Some(template) = templates.get(key) {
        return template.clone();
    }
    let cluster = cluster().await;
    let template = format!("template_homes_{}", templates.len());
    let beside = format!("{template}_main");
    for name in [&template, &beside] {
        cluster.create_database(name, None).await.expect("a template database is made");
    }
    let homes = cluster.connect_options(LocalRole::Owner, &template);
    let control = control_of(&beside, sets).await.with_database("homes", homes).await;
    let control = control.expect("the owner connects");
    control.migrate().await.expect("the migrations run");
    control.close().await;
    templates.insert(key.to_vec(), template.clone());
    template
}

async fn control_of(database: &str, sets: &[Set]) -> ControlPlane {
    let options = cluster().await.connect_options(LocalRole::Owner, database);
    ControlPlane::connect_with(options, sets).await.expect("the owner connects")
}

fn steps_of(sets: &[Set]) -> Steps {
    let steps = |set: &Set| [set.platform, set.database, set.home].concat().into_iter().map(|step| step.sql);
    sets.iter().flat_map(|set| std::iter::once(set.name).chain(steps(set))).collect()
}
