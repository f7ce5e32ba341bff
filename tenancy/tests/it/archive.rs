//! One tenant in one file: out of any home and into any other, byte for byte.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use formwork_tenancy::{
    Actor, HomePlace, Status, Tenant, TenantId,
    archive::{
        self, ExportError, ExportOptions, ImportError, ImportOptions, ImportRefusal, Manifest, Section,
    },
    doctor::DoctorConfig,
    local_postgres::LocalRole,
    moves::MoveStep,
    testing::TestDatabase,
};
use sqlx::AssertSqlSafe;
use tokio::io::AsyncWrite;

use crate::{
    database_mode::connect,
    move_tenant::{Writers, add_one, database, entries, now},
};

pub(crate) async fn export(db: &TestDatabase, tenant: TenantId) -> (Vec<u8>, Manifest) {
    let mut bytes = Vec::new();
    let exported = db.control().export_tenant(tenant, ExportOptions::new(), &mut bytes, |_| ()).await;
    (bytes, exported.unwrap())
}

/// Rows of a section, as they stand there.
pub(crate) fn rows_of<'a>(archive: &'a [u8], section: &str) -> Vec<&'a str> {
    let text = std::str::from_utf8(archive).unwrap();
    let begin = format!("{}\n", serde_json::json!({ "section": section }));
    let rows = text.split_once(&begin).unwrap().1;
    rows.lines().take_while(|line| *line != "\\.").collect()
}

fn section<'a>(manifest: &'a Manifest, name: &str) -> &'a Section {
    manifest.sections().iter().find(|section| section.name() == name).unwrap()
}

async fn is_healthy(db: &TestDatabase) {
    let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
    assert!(doctor.is_healthy(), "{doctor}");
}

#[tokio::test]
async fn exported_from_shared_and_restored_into_every_mode_the_bytes_are_the_same() {
    let first = database().await;
    let tenant = first.tenant_at("acme", HomePlace::shared()).await;
    let neighbour = first.tenant_at("near", HomePlace::shared()).await;
    for site in ["b", "a\tb\nc\\.", "\\N", "ä€😀"] {
        add_one(&first, &tenant, site).await;
        add_one(&first, &tenant, site).await;
    }
    add_one(&first, &neighbour, "theirs").await;
    let expected = entries(&first, &tenant).await;
    let (mut archive, original) = export(&first, tenant.id()).await;
    assert_eq!(section(&original, "\"Entries\"").rows(), 8);
    assert_eq!(original.sections().len(), 18, "{original:?}");
    assert_eq!(original.rows(), 4 + 3 * 8);
    assert!(!String::from_utf8(archive.clone()).unwrap().contains("theirs"));

    let mut epoch = 1;
    for place in
        [HomePlace::schema(), HomePlace::database("eu"), HomePlace::shared_in("eu"), HomePlace::shared()]
    {
        let db = database().await;
        let near = db.tenant_at("near", HomePlace::shared()).await;
        add_one(&db, &near, "theirs").await;
        let options = ImportOptions::new().place(place.clone());
        let report = db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap();
        epoch += 1;
        assert_eq!((report.tenant(), report.slug(), report.place()), (tenant.id(), "acme", &place));
        assert_eq!((report.epoch(), report.manifest().sections()), (epoch, original.sections()));
        let restored = now(&db, &tenant).await;
        assert_eq!((restored.status(), restored.epoch()), (Status::Active, epoch));
        assert_eq!(
            (restored.isolation(), restored.database_name()),
            (place.isolation(), place.database_name())
        );
        assert_eq!(restored.schema_name() != "shared", place.has_own_schema());
        assert_eq!(entries(&db, &restored).await, expected, "{place}");
        let again = export(&db, tenant.id()).await;
        assert_eq!(again.1.sections(), original.sections(), "{place}");
        assert_eq!(rows_of(&again.0, "\"Entries\""), rows_of(&archive, "\"Entries\""));
        assert_eq!(again.1.tenant().place(), place);
        // It is written as before, behind the numbers that were given out.
        assert_eq!(add_one(&db, &restored, "b").await, 3);
        assert_eq!(entries(&db, &near).await.len(), 1);
        is_healthy(&db).await;
        archive = again.0;
    }
}

#[tokio::test]
async fn the_log_of_permissions_is_written_anew() {
    let (from, to) = (database().await, database().await);
    let tenant = from.tenant_at("acme", HomePlace::schema()).await;
    for _ in 0..3 {
        add_one(&from, &tenant, "site").await;
    }
    let (archive, _) = export(&from, tenant.id()).await;
    to.control().import_tenant(archive.as_slice(), &ImportOptions::new(), |_| ()).await.unwrap();
    let mut relay = connect(&to, "main", LocalRole::Relay).await;
    let logged: Vec<(String, i64)> =
        sqlx::query_as("select op, count(*) from platform.permission_changes group by op")
            .fetch_all(&mut relay)
            .await
            .unwrap();
    assert_eq!(logged, [("touch".to_owned(), 3)]);
}

/// A writer that stops taking bytes after the first few, until it is told to go on.
#[derive(Clone, Default)]
struct Valve(Arc<ValveState>);

#[derive(Default)]
struct ValveState {
    open: AtomicBool,
    taken: AtomicU64,
    waiting: Mutex<Option<Waker>>,
}

impl Valve {
    const UNTIL: u64 = 100_000;

    fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        if let Some(waker) = self.0.waiting.lock().unwrap().take() {
            waker.wake();
        }
    }

    fn taken(&self) -> u64 {
        self.0.taken.load(Ordering::SeqCst)
    }
}

impl AsyncWrite for Valve {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.taken() >= Self::UNTIL && !self.0.open.load(Ordering::SeqCst) {
            *self.0.waiting.lock().unwrap() = Some(context.waker().clone());
            return Poll::Pending;
        }
        self.0.taken.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn add_many(db: &TestDatabase, tenant: &Tenant, rows: i64) {
    let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("insert into sites (id, n) select 's' || n, 0 from generate_series(1, $1) n")
        .bind(rows)
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query(
        "insert into \"Entries\" (site, seq, note) select 's' || n, 1, repeat('x', 500) from generate_series(1, $1) n",
    )
    .bind(rows)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

/// Who takes slowly slows the database down, and nothing is gathered in between: the server waits to be read from.
#[tokio::test]
async fn a_slow_reader_holds_the_database_back_and_is_not_held_in_memory() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    add_many(&db, &tenant, 20_000).await;
    let valve = Valve::default();
    let exporting = {
        let (control, valve, id) = (db.control().clone(), valve.clone(), tenant.id());
        tokio::spawn(async move { control.export_tenant(id, ExportOptions::new(), valve, |_| ()).await })
    };
    let mut superuser = connect(&db, "main", LocalRole::Superuser).await;
    let waits = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event = 'ClientWrite' and query like 'copy (select%'";
    loop {
        let waiting: i64 = sqlx::query_scalar(waits).fetch_one(&mut superuser).await.unwrap();
        if waiting > 0 {
            break;
        }
        assert!(!exporting.is_finished(), "it was not held back");
    }
    assert!(valve.taken() < 2 * Valve::UNTIL, "{}", valve.taken());
    valve.open();
    let manifest = exporting.await.unwrap().unwrap();
    assert_eq!(section(&manifest, "\"Entries\"").rows(), 20_000);
    assert!(manifest.bytes() > 10_000_000, "{manifest}");
}

/// While the export stands still in the middle, writers go on; and what it holds is one moment: of each entry there is a
/// site that counts it, a tuple and an event, which stand in four tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_blocks_no_writer_and_is_one_moment_of_all_tables() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let mut writers = Writers::start(&db, &tenant, 0);
    writers.stored(20).await;
    let (begun, mut has_begun) = tokio::sync::watch::channel(0);
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let may_go_on = Mutex::new(may_go_on);
    let exporting = {
        let (control, id) = (db.control().clone(), tenant.id());
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            let progress = |event: archive::ArchiveEvent<'_>| {
                if let archive::ArchiveEvent::Section { done, .. } = event {
                    begun.send_replace(done + 1);
                    // It fails once nobody holds it up any more.
                    let _ = tokio::task::block_in_place(|| may_go_on.lock().unwrap().recv());
                }
            };
            let exported = control.export_tenant(id, ExportOptions::new(), &mut bytes, progress).await;
            exported.map(|manifest| (bytes, manifest))
        })
    };
    // Before each of the first sections, all tables among them, more is written; none of it may show in one table and
    // lack in another.
    for nr in 1..=10 {
        has_begun.wait_for(|begun| *begun >= nr).await.unwrap();
        writers.stored(4).await;
        go_on.send(()).unwrap();
    }
    drop(go_on);
    let (bytes, manifest) = exporting.await.unwrap().unwrap();
    writers.stop().await;
    let count = |name| section(&manifest, name).rows();
    let entries = count("\"Entries\"");
    assert!(entries >= 20, "{entries}");
    assert_eq!((count("permission_tuples"), count("audit_events")), (entries, entries));
    let columns = archive_columns(&bytes, "sites");
    let n = columns.iter().position(|column| column == "n").unwrap();
    let counted: u64 = rows_of(&bytes, "sites")
        .iter()
        .map(|row| row.split('\t').nth(n).unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(counted, entries);
    archive::verify(bytes.as_slice(), |_| ()).await.unwrap();
}

fn archive_columns(archive: &[u8], section: &str) -> Vec<String> {
    let header: serde_json::Value =
        serde_json::from_slice(archive.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    let sections = header["sections"].as_array().unwrap();
    let found = sections.iter().find(|head| head["name"] == section).unwrap();
    let names = found["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

/// A copy beside the original: its own identity in every column, also where a tuple names the tenant.
#[tokio::test]
async fn a_copy_has_an_identity_of_its_own() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let own = format!(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
         values ('organization', '{0}', 'owner', 'user', 'anna'), ('note', 'x-{0}', 'owner', 'user', 'anna')",
        tenant.id()
    );
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query(AssertSqlSafe(own)).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let (archive, original) = export(&db, tenant.id()).await;

    for place in [HomePlace::shared(), HomePlace::schema(), HomePlace::shared_in("eu")] {
        let slug = format!("copy-{}", place.to_string().replace(':', "-"));
        let options = ImportOptions::new().copy_named(&slug).place(place);
        let report = db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap();
        assert_ne!(report.tenant(), tenant.id());
        assert_eq!((report.slug(), report.epoch()), (slug.as_str(), 1));
        let copy = db.tenants().by_slug(&slug).await.unwrap().unwrap();
        let mut tx = db.tenants().begin_read(&db.session(&copy, Actor::system("test"))).await.unwrap();
        let mut named: Vec<String> =
            sqlx::query_scalar("select object_id from permission_tuples where relation = 'owner'")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        named.sort_by_key(String::len);
        assert_eq!(named, [copy.id().to_string(), format!("x-{}", tenant.id())]);
        tx.rollback().await.unwrap();
        assert_eq!(add_one(&db, &copy, "site").await, 2);
    }
    assert_eq!(export(&db, tenant.id()).await.1.sections(), original.sections(), "the original is as it was");
    is_healthy(&db).await;

    let taken = ImportOptions::new().copy_named("copy-schema");
    let error = db.control().import_tenant(archive.as_slice(), &taken, |_| ()).await.unwrap_err();
    assert!(
        matches!(&error, ImportError::Refused(ImportRefusal::SlugTaken { slug }) if slug == "copy-schema")
    );

    // Keys are their tenant's: they can be restored, and not copied.
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query(
        "insert into tenant_keys (purpose, version, provider_key, wrapped) values ('data', 1, 'k', '\\x00')",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let (archive, _) = export(&db, tenant.id()).await;
    let options = ImportOptions::new().copy_named("sealed");
    let error = db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap_err();
    assert!(matches!(error, ImportError::Refused(ImportRefusal::Sealed)), "{error}");
    assert!(db.tenants().by_slug("sealed").await.unwrap().is_none());
}

/// Its schema gone, its row a tombstone: as a deletion leaves it.
async fn delete(db: &TestDatabase, tenant: &Tenant) {
    let mut superuser = connect(db, "main", LocalRole::Superuser).await;
    let gone = format!(
        "drop schema {0} cascade; delete from platform.homes where schema_name = '{0}';
         delete from platform.migration_ledger where home = '{0}';
         update platform.tenants set status = 'deleted', slug = 'gone', version = version + 1 where schema_name = '{0}'",
        tenant.schema_name()
    );
    sqlx::raw_sql(AssertSqlSafe(gone)).execute(&mut superuser).await.unwrap();
}

#[tokio::test]
async fn only_a_tenant_that_is_gone_is_restored_and_its_epoch_is_raised() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    let session = db.session(&tenant, Actor::system("test"));
    add_one(&db, &tenant, "site").await;
    let old = db.tenants().begin(&session).await.unwrap().commit().await.unwrap();
    let (archive, original) = export(&db, tenant.id()).await;
    let options = ImportOptions::new();
    let error = db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap_err();
    let ImportError::Refused(ImportRefusal::Exists { status: Status::Active, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(entries(&db, &tenant).await.len(), 1);

    delete(&db, &tenant).await;
    let error = db.control().export_tenant(tenant.id(), ExportOptions::new(), Vec::new(), |_| ()).await;
    assert!(matches!(error, Err(ExportError::NotExportable { status: Status::Deleted })), "{error:?}");
    let nobody = TenantId::generate();
    let error = db.control().export_tenant(nobody, ExportOptions::new(), Vec::new(), |_| ()).await;
    assert!(matches!(error, Err(ExportError::UnknownTenant { tenant }) if tenant == nobody));

    let options = ImportOptions::new().slug("again");
    let report = db.control().import_tenant(archive.as_slice(), &options, |_| ()).await.unwrap();
    let restored = now(&db, &tenant).await;
    assert_eq!((restored.slug(), restored.status()), ("again", Status::Active));
    assert_eq!((report.epoch(), restored.epoch(), old.epoch()), (2, 2, 1));
    assert_eq!(export(&db, tenant.id()).await.1.sections(), original.sections());
    assert_eq!(add_one(&db, &restored, "site").await, 2);
    is_healthy(&db).await;
}

/// Read while it is frozen, and not while it is between two homes.
#[tokio::test]
async fn a_tenant_is_exported_in_the_middle_of_a_move() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let before = export(&db, tenant.id()).await.1;
    let place = HomePlace::database("eu");
    crate::move_failures::cut_off(db.control().clone(), &tenant, &place, MoveStep::Copied).await;
    assert_eq!(export(&db, tenant.id()).await.1.sections(), before.sections());
    db.control().resume_move(tenant.id(), |_| ()).await.unwrap();
    let after = export(&db, tenant.id()).await.1;
    assert_eq!(after.sections(), before.sections());
    assert_eq!((after.tenant().place(), after.tenant().epoch()), (place, 2));
}

#[tokio::test]
async fn people_come_along_without_their_passwords_and_domains_unverified() {
    let (from, to) = (database().await, database().await);
    let tenant = from.tenant_at("acme", HomePlace::shared()).await;
    let anna = from.control().ensure_user("anna@a.example", "Anna", Some("hash-of-anna")).await.unwrap().id;
    let known = to.control().ensure_user("zoe@a.example", "Zoe", Some("their own")).await.unwrap().id;
    from.control().index_membership(tenant.id(), anna).await.unwrap();
    let mut main = connect(&from, "main", LocalRole::Owner).await;
    sqlx::raw_sql(
        "insert into platform.tenant_domains values ('a.example', (select id from platform.tenants), now())",
    )
    .execute(&mut main)
    .await
    .unwrap();
    sqlx::query(
        "with u as (insert into platform.users (id, email, display_name, password_hash)
                   values ($1, 'zoe@a.example', 'Zoe', 'hash-of-zoe') returning id)
                 insert into platform.memberships (tenant_id, user_id)
                 select t.id, u.id from u cross join platform.tenants t",
    )
    .bind(known)
    .execute(&mut main)
    .await
    .unwrap();
    let (archive, _) = export(&from, tenant.id()).await;
    assert!(!String::from_utf8(archive.clone()).unwrap().contains("hash-of"));
    let mut with_hashes = Vec::new();
    let options = ExportOptions::new().with_password_hashes();
    from.control().export_tenant(tenant.id(), options, &mut with_hashes, |_| ()).await.unwrap();
    assert_eq!(rows_of(&with_hashes, "platform.members").len(), 2);

    let people = "select email, password_hash from platform.users u
                    join platform.memberships m on m.user_id = u.id where m.tenant_id = $1 order by email";
    let of = |hash: Option<&str>, zoe: Option<&str>| {
        vec![
            ("anna@a.example".to_owned(), hash.map(str::to_owned)),
            ("zoe@a.example".to_owned(), zoe.map(str::to_owned)),
        ]
    };
    let empty = database().await;
    for (db, options, expected) in [
        // Asked for on one side only is not asked for.
        (&to, ImportOptions::new(), of(None, Some("their own"))),
        (&empty, ImportOptions::new().with_password_hashes(), of(Some("hash-of-anna"), Some("hash-of-zoe"))),
    ] {
        db.control().import_tenant(with_hashes.as_slice(), &options, |_| ()).await.unwrap();
        let mut main = connect(db, "main", LocalRole::Owner).await;
        let found: Vec<(String, Option<String>)> =
            sqlx::query_as(people).bind(tenant.id().as_uuid()).fetch_all(&mut main).await.unwrap();
        assert_eq!(found, expected);
        let verified: Vec<bool> =
            sqlx::query_scalar("select verified_at is not null from platform.tenant_domains")
                .fetch_all(&mut main)
                .await
                .unwrap();
        assert_eq!(verified, [false]);
    }

    // Somebody else with Anna's address; another tenant with the domain.
    let third = database().await;
    third.control().ensure_user("anna@a.example", "Another", None).await.unwrap();
    let import = async |options: ImportOptions| {
        third.control().import_tenant(archive.as_slice(), &options, |_| ()).await
    };
    let error = import(ImportOptions::new()).await.unwrap_err();
    assert!(
        matches!(&error, ImportError::Refused(ImportRefusal::Identity { email }) if email == "anna@a.example"),
        "{error}"
    );
    let other = third.tenant_at("other", HomePlace::shared()).await;
    let mut main = connect(&third, "main", LocalRole::Owner).await;
    sqlx::query("insert into platform.tenant_domains values ('a.example', $1, now())")
        .bind(other.id().as_uuid())
        .execute(&mut main)
        .await
        .unwrap();
    let error = import(ImportOptions::new()).await.unwrap_err();
    assert!(matches!(&error, ImportError::Refused(ImportRefusal::Domain { host }) if host == "a.example"));
    assert!(third.tenants().by_slug("acme").await.unwrap().is_none());
    import(ImportOptions::new().without_people()).await.unwrap();
    let members: i64 =
        sqlx::query_scalar("select count(*) from platform.memberships").fetch_one(&mut main).await.unwrap();
    assert_eq!(members, 0);

    // Anna's identity with another address; another tenant that only claims the domain.
    let fourth = database().await;
    let other = fourth.tenant_at("other", HomePlace::shared()).await;
    let mut main = connect(&fourth, "main", LocalRole::Owner).await;
    sqlx::query(
        "with u as (insert into platform.users (id, email, display_name) values ($1, 'eve@a.example', 'Eve'))
         insert into platform.tenant_domains (host, tenant_id) values ('a.example', $2)",
    )
    .bind(anna)
    .bind(other.id().as_uuid())
    .execute(&mut main)
    .await
    .unwrap();
    let import =
        async || fourth.control().import_tenant(archive.as_slice(), &ImportOptions::new(), |_| ()).await;
    let error = import().await.unwrap_err();
    assert!(
        matches!(&error, ImportError::Refused(ImportRefusal::Identity { email }) if email == "anna@a.example"),
        "{error}"
    );
    sqlx::query("delete from platform.users where id = $1").bind(anna).execute(&mut main).await.unwrap();
    import().await.unwrap();
    let claims: i64 =
        sqlx::query_scalar("select count(*) from platform.tenant_domains where host = 'a.example'")
            .fetch_one(&mut main)
            .await
            .unwrap();
    assert_eq!(claims, 2);
}
