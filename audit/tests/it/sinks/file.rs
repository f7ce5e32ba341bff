//! The file of lines.

use std::{fs, os::unix::fs::PermissionsExt};

use formwork_audit::sink::{Deliverer, FileSink};
use formwork_tenancy::Isolation;
use serde_json::Value;

use super::kit::{Kept, followed, recorded};
use crate::database;

fn ids(path: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    text.lines().map(id).collect()
}

#[tokio::test]
async fn each_event_is_a_line_and_a_torn_end_is_written_again() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    followed(&db, &relay, "file", &Kept::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ndjson");
    let mut expected: Vec<String> =
        recorded(&db, &tenant, &["step.one", "step.two"]).await.iter().map(ToString::to_string).collect();
    let deliverer = Deliverer::new(db.tenants(), &relay, "file", FileSink::open(&path).unwrap());
    deliverer.run_once().await.unwrap();
    assert_eq!(ids(&path), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(FileSink::open(&path).unwrap_err().to_string(), "another process writes this file");
    drop(deliverer);

    // A crash in the middle of the third: its beginning is on the disk.
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.clone() + &text[..20]).unwrap();
    expected.extend(recorded(&db, &tenant, &["step.three"]).await.iter().map(ToString::to_string));
    let deliverer = Deliverer::new(db.tenants(), &relay, "file", FileSink::open(&path).unwrap());
    deliverer.run_once().await.unwrap();
    assert_eq!(ids(&path), expected);
}

#[tokio::test]
async fn a_file_that_has_grown_is_ended_and_the_oldest_go() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    followed(&db, &relay, "file", &Kept::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.ndjson");
    let sink = FileSink::open(&path).unwrap().rotate_at(350).keep(2);
    let deliverer = Deliverer::new(db.tenants(), &relay, "file", sink).page(1);
    let mut expected = Vec::new();
    for _ in 0..4 {
        expected.extend(recorded(&db, &tenant, &["step.one", "step.two"]).await);
    }
    deliverer.run_once().await.unwrap();
    let mut names: Vec<String> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!((names[0].as_str(), names.last().unwrap().as_str()), ("audit.ndjson", "audit.ndjson.lock"));
    let numbers: Vec<u64> =
        names[1..3].iter().map(|name| name.rsplit_once('.').unwrap().1.parse().unwrap()).collect();
    assert!(numbers[0] > 1 && numbers[1] == numbers[0] + 1, "{numbers:?}");
    // What is left is the end, in order and without a gap.
    let kept: Vec<String> =
        [&names[1], &names[2], &names[0]].iter().flat_map(|name| ids(&folder.path().join(name))).collect();
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    assert_eq!(kept, expected[expected.len() - kept.len()..]);
    assert!(kept.len() > 2, "{kept:?}");
}

#[test]
fn a_file_of_somebody_else_is_refused_and_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hosts");
    fs::write(&path, "127.0.0.1 localhost\n::1").unwrap();
    let error = FileSink::open(&path).unwrap_err();
    assert_eq!(error.to_string(), "its lines are no JSON: name another file");
    assert_eq!(fs::read_to_string(&path).unwrap(), "127.0.0.1 localhost\n::1");
    assert!(FileSink::open(folder.path().join("none/audit.ndjson")).is_err());
}
