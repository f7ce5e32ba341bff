//! Who acts in a test: a person, a part of the service, or nobody at all.

use std::ops::Deref;

use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::TestDatabase;
use crate::{Actor, Session, Tenant, TenantTx, Tenants, local_postgres::LocalRole};

/// An actor at work for one tenant: what a test calls the code under test as.
#[derive(Debug, Clone)]
pub struct TestActor {
    tenants: Tenants,
    session: Session,
}

impl TestActor {
    pub(super) fn new(tenants: &Tenants, session: Session) -> Self {
        Self { tenants: tenants.clone(), session }
    }

    /// Their work.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whom they work for.
    pub fn tenant(&self) -> &Tenant {
        self.session.tenant()
    }

    /// A transaction of theirs.
    pub async fn begin(&self) -> TenantTx {
        self.tenants.begin(&self.session).await.expect("a transaction begins")
    }

    /// A transaction of theirs that may not write.
    pub async fn begin_read(&self) -> TenantTx {
        self.tenants.begin_read(&self.session).await.expect("a transaction begins")
    }
}

/// A person who is a member of a tenant.
#[derive(Debug, Clone)]
pub struct TestUser {
    actor: TestActor,
    id: Uuid,
    email: String,
}

impl TestUser {
    /// Their identity, global to the platform.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Their address: `<name>@formwork.test`.
    pub fn email(&self) -> &str {
        &self.email
    }
}

impl Deref for TestUser {
    type Target = TestActor;

    fn deref(&self) -> &TestActor {
        &self.actor
    }
}

impl TestDatabase {
    /// A member of the tenant. The same name at two tenants is one person.
    pub async fn user(&self, tenant: &Tenant, name: &str) -> TestUser {
        let email = format!("{name}@{}", super::BASE_DOMAIN);
        let user = self.control().ensure_user(&email, name, None).await.expect("the identity is made");
        let indexed = self.control().index_membership(tenant.id(), user.id).await;
        indexed.expect("the membership is indexed");
        let session = Session::new(tenant, Actor::user(user.id));
        TestUser { actor: TestActor::new(self.tenants(), session), id: user.id, email }
    }

    /// The service itself, at work for the tenant.
    pub fn service(&self, tenant: &Tenant) -> TestActor {
        TestActor::new(self.tenants(), Session::new(tenant, Actor::system("test")))
    }

    /// A connection of the service's login with no tenant: what code has that goes round [`Tenants`].
    pub async fn nobody(&self) -> PgConnection {
        let options = self.options(LocalRole::App).await;
        PgConnection::connect_with(&options).await.expect("the service login connects")
    }
}
