//! What was sealed stays sealed in every copy that was taken before: a real dump, restored into another database.

use std::process::Command;

use formwork_tenancy::{
    HomePlace, Isolation, Session, Status, Tenants,
    keys::{KeyError, Keys},
    lifecycle::{Lifecycle, LifecycleRefusal, Transition},
    local_postgres::{LocalRole, PgBinaries},
    testing::cluster,
};

use super::{change, refusal};
use crate::keys::{Setting, passport_of};

/// As an operator backs a database up and restores it, with the server's own programs.
async fn dumped(db: &str, into: &str) -> bool {
    let cluster = cluster().await;
    let bin = PgBinaries::find(None).unwrap();
    let (dump, psql) = (bin.folder().join("pg_dump"), bin.folder().join("psql"));
    if !dump.exists() || !psql.exists() {
        eprintln!("skipped: no pg_dump and psql beside the server; PG_BIN_DIR names another");
        return false;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new(dump)
        .arg("--file")
        .arg(file.path())
        .arg(cluster.url_of(LocalRole::Superuser, db))
        .status();
    assert!(done.unwrap().success());
    cluster.create_database(into, None).await.unwrap();
    let done = Command::new(psql)
        .args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--output", "/dev/null", "--file"])
        .arg(file.path())
        .arg(cluster.url_of(LocalRole::Superuser, into))
        .status();
    assert!(done.unwrap().success());
    true
}

async fn open_in(copy: &str, keys: &Keys, session: &Session, id: uuid::Uuid) -> Result<String, KeyError> {
    let options = cluster().await.connect_options(LocalRole::App, copy);
    let tenants = Tenants::builder().connect_with(options).await.unwrap();
    let tenant = tenants.by_id(session.tenant_id()).await.unwrap().unwrap();
    assert_eq!(tenant.status(), Status::Active, "as it was when the copy was taken");
    let session = Session::new(&tenant, session.actor().clone());
    let mut tx = tenants.begin_read(&session).await.unwrap();
    let sealed = crate::keys::passport(&mut tx, id).await;
    let opened = keys.open(&mut tx, &sealed, passport_of(id)).await;
    drop(tx);
    tenants.close().await;
    opened
}

#[tokio::test]
async fn a_restored_dump_opens_nothing_of_a_tenant_that_was_deleted() {
    let setting = Setting::new().await;
    let db = &setting.db;
    for (slug, isolation) in [("acme", Isolation::Shared), ("own", Isolation::Schema)] {
        let session = setting.session(slug, isolation).await;
        let stays = setting.session(&format!("{slug}-neighbour"), Isolation::Shared).await;
        let id = setting.write(&setting.keys, &session, "X1234567").await;
        let neighbours = setting.write(&setting.keys, &stays, "Y7654321").await;
        let copy = format!("{}_dump_{slug}", db.name());
        if !dumped(db.name(), &copy).await {
            return;
        }
        let (_, before) = setting.another_node();
        assert_eq!(open_in(&copy, &before, &session, id).await.unwrap(), "X1234567", "before, it opens");

        let life =
            Lifecycle::new(db.control().clone()).shred_with(db.tenants().clone(), setting.keys.clone());
        change(&life, session.tenant_id(), Transition::Delete).await.unwrap();
        change(&life, session.tenant_id(), Transition::Purge).await.unwrap();

        let (_, after) = setting.another_node();
        let answer = open_in(&copy, &after, &session, id).await;
        assert!(matches!(answer, Err(KeyError::Shredded { .. })), "{answer:?}");
        assert_eq!(open_in(&copy, &after, &stays, neighbours).await.unwrap(), "Y7654321");
        // And one that is taken now has nothing of it at all.
        let (_, fresh) = setting.another_node();
        assert_eq!(setting.read(&fresh, &stays, neighbours).await.unwrap(), "Y7654321");
    }
}

#[tokio::test]
async fn a_tenant_with_keys_is_not_removed_by_who_cannot_destroy_them() {
    let setting = Setting::new().await;
    let session = setting.session("acme", Isolation::Shared).await;
    setting.write(&setting.keys, &session, "X1234567").await;
    let blind = Lifecycle::new(setting.db.control().clone());
    let tenant = session.tenant_id();
    change(&blind, tenant, Transition::Delete).await.unwrap();
    assert!(matches!(refusal(change(&blind, tenant, Transition::Purge).await), LifecycleRefusal::NoKeys));
    assert_eq!(change(&blind, tenant, Transition::Undelete).await.unwrap().status(), Status::Active);
    // One that has none can go.
    let plain = setting.db.tenant_at("plain", HomePlace::shared()).await.id();
    change(&blind, plain, Transition::Delete).await.unwrap();
    change(&blind, plain, Transition::Purge).await.unwrap();
}
