//! Sealed fields: what opens, what is refused, and what is gone.

mod cache;
mod file;
mod index;
mod place;
mod rotation;
mod shredding;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, Isolation, Session, Tenant, TenantId, TenantTx,
    keys::{
        Field, KeyContext, KeyError, KeyProvider, Keys, LocalKeyFile, ProviderError, Sealed, SecretKey,
        WrappedKey,
    },
    testing::TestDatabase,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Tables of the test's own, as an application adds them.
fn people() -> Set {
    let columns =
        "tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
                   id uuid not null, passport bytea, diagnosis bytea, email_index bytea,
                   primary key (tenant_id, id)";
    let sql = format!(
        "create table people ({columns}); {} create table patients ({columns}); {}",
        TenantTable::new("people").sql().unwrap(),
        TenantTable::new("patients").sql().unwrap()
    );
    let home = vec![Migration { version: 1, name: "people", sql: sql.leak() }];
    Set { name: "test/people", platform: &[], database: &[], home: home.leak() }
}

/// A provider that can be cut off, and that counts what it is asked.
#[derive(Debug)]
pub(crate) struct Line {
    to: LocalKeyFile,
    cut: AtomicBool,
    wrapped: AtomicUsize,
    unwrapped: AtomicUsize,
}

impl Line {
    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    fn unwrapped(&self) -> usize {
        self.unwrapped.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), ProviderError> {
        match self.cut.load(Ordering::SeqCst) {
            true => Err(ProviderError::unavailable("the line is cut")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl KeyProvider for Line {
    async fn current(&self, tenant: TenantId) -> Result<String, ProviderError> {
        self.check()?;
        self.to.current(tenant).await
    }

    async fn wrap(&self, context: &KeyContext, key: &SecretKey) -> Result<WrappedKey, ProviderError> {
        self.check()?;
        self.wrapped.fetch_add(1, Ordering::SeqCst);
        self.to.wrap(context, key).await
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &WrappedKey) -> Result<SecretKey, ProviderError> {
        self.check()?;
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        self.to.unwrap(context, wrapped).await
    }

    async fn destroy(&self, tenant: TenantId) -> Result<(), ProviderError> {
        self.check()?;
        self.to.destroy(tenant).await
    }
}

/// A database, a key file and two nodes' handles.
pub(crate) struct Setting {
    pub(crate) db: TestDatabase,
    folder: TempDir,
    line: Arc<Line>,
    pub(crate) keys: Keys,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY, people()]).await;
        let folder = tempfile::tempdir().unwrap();
        let (line, keys) = node(&folder);
        Self { db, folder, line, keys }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    /// A handle as another process would have it.
    pub(crate) fn another_node(&self) -> (Arc<Line>, Keys) {
        node(&self.folder)
    }

    pub(crate) async fn session(&self, slug: &str, isolation: Isolation) -> Session {
        session(&self.db.tenant(slug, isolation).await)
    }

    async fn begin(&self, session: &Session) -> TenantTx {
        self.db.tenants().begin(session).await.unwrap()
    }

    /// Stores a person whose passport is sealed.
    pub(crate) async fn write(&self, keys: &Keys, session: &Session, passport: &str) -> Uuid {
        let id = Uuid::now_v7();
        let mut tx = self.begin(session).await;
        let sealed = keys.seal(&mut tx, passport, passport_of(id)).await.unwrap();
        insert(&mut tx, id, &sealed).await;
        tx.commit().await.unwrap();
        id
    }

    pub(crate) async fn read(&self, keys: &Keys, session: &Session, id: Uuid) -> Result<String, KeyError> {
        let mut tx = self.db.tenants().begin_read(session).await.unwrap();
        let sealed = passport(&mut tx, id).await;
        let opened = keys.open(&mut tx, &sealed, passport_of(id)).await;
        tx.commit().await.unwrap();
        opened
    }

    /// (purpose, version, is wrapped) of every line of the tenant.
    async fn lines(&self, session: &Session) -> Vec<(String, i32, bool)> {
        let mut tx = self.begin(session).await;
        sqlx::query_as(
            "select purpose, version, wrapped is not null from tenant_keys order by purpose, version",
        )
        .fetch_all(&mut *tx)
        .await
        .unwrap()
    }
}

fn node(folder: &TempDir) -> (Arc<Line>, Keys) {
    let line = Arc::new(Line {
        to: LocalKeyFile::open_or_create(folder.path().join("keys.json")).unwrap(),
        cut: AtomicBool::new(false),
        wrapped: AtomicUsize::new(0),
        unwrapped: AtomicUsize::new(0),
    });
    let provider: Arc<dyn KeyProvider> = line.clone();
    (line, Keys::builder(provider).build())
}

fn session(tenant: &Tenant) -> Session {
    Session::new(tenant, Actor::system("test"))
}

pub(crate) fn passport_of(id: Uuid) -> Field<'static> {
    formwork_tenancy::field!("people", "passport", id)
}

async fn insert(tx: &mut TenantTx, id: Uuid, passport: &Sealed<String>) {
    sqlx::query("insert into people (id, passport) values ($1, $2)")
        .bind(id)
        .bind(passport)
        .execute(&mut **tx)
        .await
        .unwrap();
}

pub(crate) async fn passport(tx: &mut TenantTx, id: Uuid) -> Sealed<String> {
    sqlx::query_scalar("select passport from people where id = $1")
        .bind(id)
        .fetch_one(&mut **tx)
        .await
        .unwrap()
}

/// Lets the clock of the caches go on, and nobody wait.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
