//! Checks in a transaction that a standby answers: as fresh as it, and nothing is lost for those that come after.

use std::time::Duration;

use formwork_authz::{Authz, Decision, Object, Schema, Subject, rel};
use formwork_tenancy::{
    Actor, Isolation, TenantTx, Tenants,
    local_postgres::LocalRole,
    testing::{Replica, TestDatabase},
};

const SCHEMA: &str = "
    definition user {}
    definition rfi {
        relation viewer: user
        permission view = viewer
    }";

async fn views(authz: &Authz, tx: &mut TenantTx, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    authz.check(tx, &subject, "view", &Object::new("rfi", 7)).await.unwrap() == Decision::Allowed
}

/// A standby's snapshot says of a revocation that still runs that it is over. Kept as it is, the revocation would never
/// be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_runs_while_a_standby_is_read_is_seen_when_it_commits() {
    let Some(replica) = Replica::start().await else {
        eprintln!("pg_basebackup is not installed beside the server: not tested");
        return;
    };
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    let tenant = db.tenant("acme", Isolation::Shared).await;
    let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
    let session = db.session(&tenant, Actor::system("test"));
    let (anna, ben) = (rel!("rfi:7#viewer@user:anna"), rel!("rfi:7#viewer@user:ben"));
    let mut tx = db.tenants().begin(&session).await.unwrap();
    authz.touch(&mut tx, &anna).await.unwrap();
    replica.has_replayed(tx.commit().await.unwrap().wal()).await;
    let builder = Tenants::builder().replica("main", replica.options(LocalRole::App, &db));
    let tenants = db.connect(builder.replica_patience(Duration::from_secs(60))).await;

    let mut revocation = tenants.begin(&session).await.unwrap();
    authz.delete(&mut revocation, &anna).await.unwrap();
    let mut tx = tenants.begin(&session).await.unwrap();
    authz.touch(&mut tx, &ben).await.unwrap();
    let token = tx.commit().await.unwrap();
    replica.has_replayed(token.wal()).await;
    let after = session.clone().at_least(&token);
    // One that has a graph from the primary, and one that loads it on the standby.
    let other = Authz::new(Schema::parse(SCHEMA).unwrap());
    for authz in [&authz, &other] {
        let mut read = tenants.begin_read(&after).await.unwrap();
        while !read.served_by().is_replica() {
            read = tenants.begin_read(&after).await.unwrap();
        }
        assert!(views(authz, &mut read, "anna").await && views(authz, &mut read, "ben").await);
    }
    let committed = revocation.commit().await.unwrap();
    for authz in [&authz, &other] {
        let mut tx = tenants.begin(&session).await.unwrap();
        assert!(!views(authz, &mut tx, "anna").await, "revoked");
        assert!(views(authz, &mut tx, "ben").await);
    }
    replica.has_replayed(committed.wal()).await;
    let after = session.at_least(&committed);
    let mut read = tenants.begin_read(&after).await.unwrap();
    assert!(!views(&other, &mut read, "anna").await, "wherever it is read");
    drop(read);
    replica.stop().await;
}
