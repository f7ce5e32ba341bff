//! Archives that are not whole, or lie; imports that are cut off: a typed error, and nothing is there.

use std::{
    fmt::Write,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use formwork_migrations::{AUDIT, AUTHZ, TENANCY};
use formwork_tenancy::{
    Actor, ControlError, HomePlace, NewAdministratorGrant, NewApiKey, Status,
    archive::{self, ArchiveError, ArchiveEvent, ImportError, ImportOptions, ImportRefusal, ImportStep},
    doctor::DoctorConfig,
    lifecycle::{Lifecycle, LifecycleError, LifecycleRefusal, Order},
    local_postgres::LocalRole,
    testing::TestDatabase,
};
use futures::FutureExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;

use crate::{
    archive::export,
    database_mode::connect,
    move_tenant::{add_one, database, entries, now},
};

async fn archive_of_acme() -> String {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    for site in ["a", "b"] {
        add_one(&db, &tenant, site).await;
        add_one(&db, &tenant, site).await;
    }
    String::from_utf8(export(&db, tenant.id()).await.0).unwrap()
}

/// No trace of any tenant in any table, home or registry.
async fn is_untouched(db: &TestDatabase, what: &str) {
    for database in ["main", "eu"] {
        let mut superuser = connect(db, database, LocalRole::Superuser).await;
        let mut tables = vec!["platform.homes".to_owned()];
        if database == "main" {
            tables.extend(["platform.tenants", "platform.memberships", "platform.users"].map(str::to_owned));
            tables.push("(select from platform.tenant_imports where outcome = 'open') open".to_owned());
        }
        let homes = "select format('%I.%I', schemaname, tablename) from pg_tables
                      where schemaname ~ '^(shared|t_)' order by 1";
        tables.extend(sqlx::query_scalar::<_, String>(homes).fetch_all(&mut superuser).await.unwrap());
        for table in tables {
            assert!(!table.starts_with("t_"), "{what}: {table} is left over in {database}");
            let count = format!("select count(*) from {table}");
            let count: i64 =
                sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut superuser).await.unwrap();
            assert_eq!(count, 0, "{what}: {table} in {database}");
        }
    }
}

async fn import(db: &TestDatabase, archive: &str, place: &HomePlace) -> Result<(), ImportError> {
    let options = ImportOptions::new().place(place.clone());
    db.control().import_tenant(archive.as_bytes(), &options, |_| ()).await.map(drop)
}

/// The same archive with its counts and checksums made right again, as somebody who forges one would.
fn forged(archive: &str) -> String {
    let mut out = String::new();
    let (mut sections, mut rows) = (Vec::new(), None::<String>);
    for line in archive.lines() {
        let value: Option<Value> = match (&rows, line) {
            (Some(_), line) if line != "\\." => None,
            _ => serde_json::from_str(line).ok(),
        };
        match (value, &mut rows) {
            (None, Some(rows)) if line != "\\." => {
                rows.push_str(line);
                rows.push('\n');
            }
            (Some(value), None) if value.get("rows").is_some() => {
                let section = sections.last_mut().unwrap();
                let line: &Value = section;
                let _ = writeln!(out, "{line}");
                continue;
            }
            (Some(value), None) if value.get("bytes").is_some() => {
                let sum = hex(out.as_bytes());
                let end = json!({ "sections": sections, "bytes": out.len(), "sha256": sum });
                let _ = writeln!(out, "{end}");
                return out;
            }
            (Some(value), None) if value.get("section").is_some() => {
                sections.push(value.clone());
                rows = Some(String::new());
            }
            (None, Some(_)) => {
                let text = rows.take().unwrap();
                let section = sections.last_mut().unwrap();
                let name = section["section"].clone();
                *section = json!({ "section": name, "rows": text.lines().count(),
                                   "bytes": text.len(), "sha256": hex(text.as_bytes()) });
            }
            _ => {}
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header changed.
fn with_header(archive: &str, change: impl FnOnce(&mut Value)) -> String {
    let (header, rest) = archive.split_once('\n').unwrap();
    let mut header: Value = serde_json::from_str(header).unwrap();
    change(&mut header);
    forged(&format!("{header}\n{rest}"))
}

/// The rows of one section changed.
fn with_rows(archive: &str, section: &str, change: impl FnOnce(&str) -> String) -> String {
    let begin = format!("{}\n", json!({ "section": section }));
    let (before, rest) = archive.split_once(&begin).unwrap();
    let (rows, after) = rest.split_once("\\.\n").unwrap();
    forged(&format!("{before}{begin}{}\\.\n{after}", change(rows)))
}

#[tokio::test]
async fn every_change_of_every_line_shows() {
    let archive = archive_of_acme().await;
    archive::verify(archive.as_bytes(), |_| ()).await.unwrap();
    archive::verify(forged(&archive).as_bytes(), |_| ()).await.unwrap();
    let lines: Vec<&str> = archive.lines().collect();
    let whole = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let mut changed = Vec::new();
    for nr in 0..lines.len() {
        let with = |change: &dyn Fn(&mut Vec<String>)| {
            let mut lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            change(&mut lines);
            whole(lines)
        };
        changed.push(("removed", nr, with(&|lines| drop(lines.remove(nr)))));
        changed.push(("doubled", nr, with(&|lines| lines.insert(nr, lines[nr].clone()))));
        changed.push(("cut", nr, with(&|lines| lines.truncate(nr))));
        if nr + 1 < lines.len() {
            changed.push(("swapped", nr, with(&|lines| lines.swap(nr, nr + 1))));
        }
        for (from, to) in [('a', 'b'), ('0', '1'), ('1', '2'), ('\\', '/'), ('t', 'u')] {
            if lines[nr].contains(from) {
                changed.push((
                    "altered",
                    nr,
                    with(&|lines| {
                        lines[nr] = lines[nr].replacen(from, &to.to_string(), 1);
                    }),
                ));
            }
        }
    }
    assert!(changed.len() > 200, "{}", changed.len());
    for (how, nr, text) in &changed {
        let read = archive::verify(text.as_bytes(), |_| ()).await;
        assert!(read.is_err(), "line {} {how}: {}", nr + 1, lines[*nr]);
    }
    // Cut off within a line, at any byte.
    for size in (0..archive.len()).step_by(7) {
        let read = archive::verify(&archive.as_bytes()[..size], |_| ()).await;
        assert!(matches!(read, Err(ArchiveError::Truncated { .. })), "{size}: {read:?}");
    }
    let behind = archive::verify(format!("{archive}\n").as_bytes(), |_| ()).await;
    assert!(matches!(behind, Err(ArchiveError::Malformed { .. })), "{behind:?}");
}

#[tokio::test]
async fn of_a_damaged_archive_nothing_is_imported() {
    let archive = archive_of_acme().await;
    let db = database().await;
    let headed: Value = serde_json::from_str(archive.lines().next().unwrap()).unwrap();
    let places =
        [HomePlace::shared(), HomePlace::schema(), HomePlace::database("eu"), HomePlace::shared_in("eu")];
    let sections = headed["sections"].as_array().unwrap();
    for (nr, section) in sections.iter().enumerate() {
        let (name, place) = (section["name"].as_str().unwrap(), &places[nr % 4]);
        let begin = format!("{}\n", json!({ "section": name }));
        let at = archive.find(&begin).unwrap() + begin.len();
        // The rows, or the sum of an empty section.
        let mut bytes = archive.clone().into_bytes();
        let digit = bytes[at..].iter().position(|byte| matches!(byte, b'0'..=b'8')).unwrap();
        bytes[at + digit] += 1;
        let error = import(&db, &String::from_utf8(bytes).unwrap(), place).await.unwrap_err();
        let ImportError::Archive(
            ArchiveError::Checksum { .. } | ArchiveError::ForeignRow { .. } | ArchiveError::Malformed { .. },
        ) = &error
        else {
            panic!("{name}: {error:?}")
        };
        assert!(error.to_string().contains(name), "{name}: {error}");
        is_untouched(&db, name).await;
        let error = import(&db, &archive[..at + 3], place).await.unwrap_err();
        assert!(matches!(error, ImportError::Archive(ArchiveError::Truncated { .. })), "{name}: {error:?}");
        is_untouched(&db, name).await;
    }
    let last = archive.trim_end().rfind('\n').unwrap();
    let error = import(&db, &archive[..=last], &places[2]).await.unwrap_err();
    assert!(matches!(error, ImportError::Archive(ArchiveError::Truncated { .. })), "{error:?}");
    is_untouched(&db, "without a last line").await;
    import(&db, &archive, &places[2]).await.unwrap();
}

/// With checksums that are right: what it says is looked at, and none of it is believed.
#[tokio::test]
async fn of_a_forged_archive_nothing_is_imported() {
    let archive = archive_of_acme().await;
    let db = database().await;
    let other = uuid::Uuid::now_v7().to_string();
    let id = serde_json::from_str::<Value>(archive.lines().next().unwrap()).unwrap()["tenant"]["id"].clone();
    let id = id.as_str().unwrap();
    let header = |change: &dyn Fn(&mut Value)| with_header(&archive, change);
    let rows = |section: &str, change: &dyn Fn(&str) -> String| with_rows(&archive, section, change);
    let swap = |value: &mut Value| {
        let sections = value["sections"].as_array_mut().unwrap();
        sections.swap(0, 1);
    };
    let at_none = format!("`x` at version {}, and here it is at none", AUDIT.home.len());
    let cases = [
        ("another tenant's row", rows("sites", &|rows| rows.replacen(id, &other, 1)), "`sites`, line"),
        (
            "every row another's",
            rows("sites", &|rows| rows.replace(id, &other)),
            "not of the archive's tenant",
        ),
        ("a column too many", rows("sites", &|rows| rows.replacen('\n', "\tx\n", 1)), "more than"),
        ("a column too few", rows("sites", &|rows| rows.replacen('\t', "", 1)), "columns of"),
        ("a value of no type", rows("sites", &|rows| rows.replacen("\t2\t", "\ttwo\t", 1)), "`sites`, line"),
        ("a row twice", rows("sites", &|rows| format!("{rows}{rows}")), "the rows are refused"),
        ("a row that is not there", rows("sites", &|_| String::new()), "the rows are refused"),
        (
            "a number at the end of its sequence",
            rows("\"Entries\"", &|rows| beyond(&archive, rows)),
            "beyond half of what its sequence can count",
        ),
        (
            "a value in another form",
            rows("\"Entries\"", &|rows| rows.replace("1.50", "1.500")),
            "not the same after",
        ),
        ("another table", header(&|h| h["sections"][0]["name"] = "pg_class".into()), "`pg_class`"),
        (
            "SQL for a table",
            header(&|h| h["sections"][0]["name"] = "x; drop schema shared cascade".into()),
            "none here",
        ),
        ("another column", header(&|h| h["sections"][0]["columns"][0]["name"] = "x".into()), "lacks column"),
        (
            "SQL for a type",
            header(&|h| h["sections"][0]["columns"][0]["type"] = "text); --".into()),
            "of type",
        ),
        (
            "a column twice",
            header(&|h| {
                let columns = h["sections"][0]["columns"].as_array_mut().unwrap();
                columns.push(columns[0].clone());
            }),
            "twice",
        ),
        (
            "a table missing",
            header(&|h| drop(h["sections"].as_array_mut().unwrap().remove(0))),
            "the archive has none",
        ),
        ("tables in another order", header(&swap), "belongs"),
        ("another slug", header(&|h| h["tenant"]["slug"] = "A'; --".into()), "is no slug"),
        ("no name", header(&|h| h["tenant"]["name"] = "".into()), "cannot be entered"),
        ("no currency", header(&|h| h["tenant"]["default_currency"] = "x".into()), "cannot be entered"),
        ("no time zone", header(&|h| h["tenant"]["time_zone"] = "Mars/Olympus".into()), "is no time zone"),
        ("an epoch of no move", header(&|h| h["tenant"]["epoch"] = i64::MAX.into()), "is no epoch"),
        ("a status of no home", header(&|h| h["tenant"]["status"] = "deleted".into()), "it was deleted"),
        ("a field too many", header(&|h| h["tenant"]["x"] = 1.into()), "unknown field"),
        (
            "a newer version of a set",
            header(&|h| h["migrations"][0]["version"] = 7.into()),
            "`audit` at version 7",
        ),
        (
            "another text of a step",
            header(&|h| h["migrations"][0]["sha256"] = "00".into()),
            "with another text",
        ),
        (
            "a set too many",
            header(&|h| {
                let steps = h["migrations"].as_array_mut().unwrap();
                steps
                    .iter_mut()
                    .filter(|step| step["set"] == "audit")
                    .for_each(|step| step["set"] = "x".into());
            }),
            &at_none,
        ),
        ("another format", header(&|h| h["version"] = 2.into()), "has version 2 of the format"),
        ("something else", header(&|h| h["format"] = "tar".into()), "no export"),
    ];
    let places = [HomePlace::schema(), HomePlace::shared(), HomePlace::database("eu")];
    for (nr, (what, text, says)) in cases.iter().enumerate() {
        assert_ne!(*text, forged(&archive), "{what}");
        let error = import(&db, text, &places[nr % 3]).await.expect_err(what);
        assert!(error.to_string().contains(says), "{what}: {error}");
        assert!(
            !matches!(error, ImportError::Storage(_) | ImportError::Interrupted { .. }),
            "{what}: {error:?}"
        );
        is_untouched(&db, what).await;
    }
    import(&db, &forged(&archive), &HomePlace::shared()).await.unwrap();
}

/// The entries with numbers close to where their sequence ends, the same in `before`, which refers to them.
fn beyond(archive: &str, rows: &str) -> String {
    let header: Value = serde_json::from_str(archive.lines().next().unwrap()).unwrap();
    let sections = header["sections"].as_array().unwrap();
    let entries = sections.iter().find(|head| head["name"] == "\"Entries\"").unwrap();
    let names: Vec<_> = entries["columns"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    let raise = |(name, value): (&&Value, &str)| match (**name == "nr" || **name == "before", value) {
        (true, "1" | "2" | "3" | "4") => format!("922337203685477580{value}"),
        _ => value.to_owned(),
    };
    let row = |row: &str| names.iter().zip(row.split('\t')).map(raise).collect::<Vec<_>>().join("\t") + "\n";
    rows.lines().map(row).collect()
}

#[tokio::test]
async fn a_home_at_another_version_is_refused_by_the_sets_name() {
    let archive = archive_of_acme().await;
    let older = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT]).await;
    let error = import(&older, &archive, &HomePlace::shared()).await.unwrap_err();
    let ImportError::Refused(ImportRefusal::Migrations { set, archive: Some(1), here: None }) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(set, "test/site");
    assert!(error.to_string().contains("`test/site` at version 1, and here it is at none"), "{error}");
}

/// Begins an import and kills it when it has come to `step`: nothing that it would do next is done.
async fn cut_off(db: &TestDatabase, archive: &str, options: &ImportOptions, step: ImportStep) {
    let importing = db.control().import_tenant(archive.as_bytes(), options, move |event| {
        if matches!(event, ArchiveEvent::Reached { step: now } if now == step) {
            std::panic::resume_unwind(Box::new("cut off"));
        }
    });
    assert!(AssertUnwindSafe(importing).catch_unwind().await.is_err(), "it was not cut off");
}

#[tokio::test]
async fn cut_off_at_any_step_an_import_is_unreachable_and_is_aborted_or_begun_again() {
    let archive = archive_of_acme().await;
    let places =
        [HomePlace::shared(), HomePlace::schema(), HomePlace::database("eu"), HomePlace::shared_in("eu")];
    for (nr, step) in ImportStep::ALL.into_iter().take(5).enumerate() {
        let db = database().await;
        for place in [&places[nr % 4], &places[(nr + 1) % 4]] {
            let options = ImportOptions::new().place(place.clone());
            cut_off(&db, &archive, &options, step).await;
            let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
            let there = fresh.by_slug("acme").await.unwrap().unwrap();
            assert_eq!(there.status(), Status::Provisioning, "{step:?}");
            let session = db.session(&there, formwork_tenancy::Actor::system("test"));
            let refused = fresh.begin(&session).await.unwrap_err();
            assert!(refused.refusal().is_some(), "{step:?}: {refused:?}");
            db.control().abort_import(there.id()).await.unwrap();
            is_untouched(&db, &format!("{step:?} at {place}")).await;
            let nothing = db.control().abort_import(there.id()).await.unwrap_err();
            assert!(matches!(nothing, ImportError::Refused(ImportRefusal::NotOpen)));
        }
        // Begun again, also at another place.
        cut_off(&db, &archive, &ImportOptions::new().place(places[nr % 4].clone()), step).await;
        let options = ImportOptions::new().place(places[(nr + 2) % 4].clone());
        let report = db.control().import_tenant(archive.as_bytes(), &options, |_| ()).await.unwrap();
        let tenant = db.tenants().by_id(report.tenant()).await.unwrap().unwrap();
        let tenant = now(&db, &tenant).await;
        assert_eq!(entries(&db, &tenant).await.len(), 4);
        assert_eq!(add_one(&db, &tenant, "a").await, 3);
        // A copy that is begun again has the identity that it was begun with.
        let options = ImportOptions::new().copy_named("copy").place(HomePlace::shared());
        cut_off(&db, &archive, &options, step).await;
        let begun = db.tenants().by_slug("copy").await.unwrap().unwrap().id();
        let report = db.control().import_tenant(archive.as_bytes(), &options, |_| ()).await.unwrap();
        assert_eq!(report.tenant(), begun, "{step:?}");
        let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
        assert!(doctor.is_healthy(), "{doctor}");
    }
}

/// Bytes, and then none for ever: not even an end.
struct Stalled<'a> {
    left: &'a [u8],
    has_stalled: &'a std::sync::atomic::AtomicBool,
}

impl tokio::io::AsyncRead for Stalled<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.left.is_empty() {
            self.has_stalled.store(true, Ordering::SeqCst);
            return Poll::Pending;
        }
        let (now, later) = self.left.split_at(self.left.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(()))
    }
}

/// Dropped while it waits for bytes that do not come: nothing is visible, and the next import goes through.
#[tokio::test]
async fn an_import_that_is_dropped_between_two_bytes_leaves_nothing_visible() {
    let archive = archive_of_acme().await;
    let db = database().await;
    let options = ImportOptions::new().place(HomePlace::shared());
    for part in 1..6 {
        let has_stalled = AtomicBool::new(false);
        let left = &archive.as_bytes()[..archive.len() * part / 6];
        let from = Stalled { left, has_stalled: &has_stalled };
        let mut importing = Box::pin(db.control().import_tenant(from, &options, |_| ()));
        std::future::poll_fn(|context| {
            assert!(importing.poll_unpin(context).is_pending(), "{part}");
            if has_stalled.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(importing);
        let mut superuser = connect(&db, "main", LocalRole::Superuser).await;
        let seen: i64 =
            sqlx::query_scalar("select count(*) from shared.sites").fetch_one(&mut superuser).await.unwrap();
        assert_eq!(seen, 0, "{part}");
    }
    import(&db, &archive, &HomePlace::schema()).await.unwrap();
}

/// Nobody has looked at its home yet, and what refers to it would keep the import from being undone.
#[tokio::test]
async fn while_an_import_is_open_nothing_else_changes_its_tenant_and_it_can_be_undone() {
    let archive = archive_of_acme().await;
    let db = database().await;
    let control = db.control();
    let administrator = control.ensure_user("ada@a.example", "Ada", None).await.unwrap().id;
    cut_off(&db, &archive, &ImportOptions::new().place(HomePlace::schema()), ImportStep::Stored).await;
    let tenant = db.tenants().by_slug("acme").await.unwrap().unwrap().id();
    let (life, somebody) = (Lifecycle::new(control.clone()), Actor::system("test"));
    let order = Order::new(&somebody, "ticket 4711");
    for refused in [
        life.activate(tenant, &order).await.map(drop),
        life.delete(tenant, Duration::ZERO, &order).await.map(drop),
        life.hold(tenant, "court", &order).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, LifecycleError::Refused(LifecycleRefusal::Importing)), "{error}");
    }
    let grant =
        NewAdministratorGrant::new(administrator, tenant, "a look", &somebody, Duration::from_secs(60));
    for refused in [
        control.create_api_key(tenant, &NewApiKey::new("key", &somebody)).await.map(drop),
        control.grant_administrator(&grant).await.map(drop),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, ControlError::Importing), "{error}");
    }
    let error = control.index_membership(tenant, administrator).await.unwrap_err();
    assert_eq!(error.constraint(), Some("refuse_while_imported"));
    let error = control.raise_epochs("main").await.unwrap_err();
    assert!(matches!(error, ControlError::Busy), "{error}");
    let mut root = connect(&db, "main", LocalRole::Superuser).await;
    let by_hand = sqlx::query("update platform.tenants set status = 'active'").execute(&mut root).await;
    assert!(by_hand.unwrap_err().to_string().contains("is being imported"));
    control.abort_import(tenant).await.unwrap();
    let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
    assert!(fresh.by_slug("acme").await.unwrap().is_none());
    import(&db, &archive, &HomePlace::schema()).await.unwrap();
    control.create_api_key(tenant, &NewApiKey::new("key", &somebody)).await.unwrap();
}
