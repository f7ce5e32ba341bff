//! A database of one test, cloned from a template that has been migrated once.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use formwork_migrations::Set;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Mutex;

use super::cluster;
use crate::{
    Actor, ControlPlane, Isolation, NewTenant, Relay, RelayBuilder, Session, Tenant, Tenants, TenantsBuilder,
    local_postgres::LocalRole,
};

static TEMPLATES: Mutex<Option<HashMap<Vec<&'static str>, String>>> = Mutex::const_new(None);
static DATABASES: AtomicUsize = AtomicUsize::new(0);

/// The base domain that tenants of a test answer under.
pub const BASE_DOMAIN: &str = "formwork.test";

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

async fn control_of(database: &str, sets: &[Set]) -> ControlPlane {
    let options = cluster().await.connect_options(LocalRole::Owner, database);
    ControlPlane::connect_with(options, sets).await.expect("the owner connects")
}
