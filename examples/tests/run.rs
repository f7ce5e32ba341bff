//! Every example runs to its end and says what its text promises.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[path = "../add-to-an-existing-app/test.rs"]
mod add_to_an_existing_app;
mod pages;

/// What they print stands in `expected`, word by word; `BLESS=1` writes it anew.
macro_rules! examples {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            prints(env!(concat!("CARGO_BIN_EXE_", stringify!($name))), stringify!($name));
        })*
    };
}

examples! {
    attribute_conditions
    check_in_transaction
    custom_store
    explain_to_support
    list_as_sql
    nested_teams
    roles_in_a_table
    share_a_document
    temporary_access
    ten_minutes
    test_a_model
    watch_changes
}

fn prints(program: &str, name: &str) {
    let output = Command::new(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected").join(name).with_extension("txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &*text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{}", file.display());
}

#[test]
fn one_transaction() {
    let output = Command::new(env!("CARGO_BIN_EXE_one_transaction")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("acme: 2 notes, may view: true, 3 audit events"), "{text}");
    assert!(text.contains("bolt: 0 notes, may view: false, 0 audit events"), "{text}");
}

#[test]
fn linked_entities() {
    let output = Command::new(env!("CARGO_BIN_EXE_linked_entities")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "`task` leads to `task` as `blocks` already",
        "merged: 1 link moved",
        "part_of folder",
        "built_by task",
        "the farthest 3 links away",
        "1 links hold `folder`",
        "removed with the folder: 1 entity, 2 links",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn audit_alone() {
    let output = Command::new(env!("CARGO_BIN_EXE_audit_alone")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let expected = r#"refused: true
invoice.paid by user: {"iban":null,"is_paid":false} -> {"iban":"***","is_paid":true}
exported: 1 event in 2 lines
sealed: 2 events, intact: true
"#;
    assert_eq!(text, expected);
}

#[test]
fn offline_trail() {
    let output = Command::new(env!("CARGO_BIN_EXE_offline_trail")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let expected = "removed: 3
holds: 5 events under 3 checkpoints of tenant acme, 3 of them removed
does not hold: the events are not those of checkpoint 3
does not hold: 4 events are there, and 5 are signed
does not hold: the checkpoint is of `the key`, which is not trusted
";
    assert_eq!(text, expected);
}

#[test]
fn encrypted_fields() {
    let output = Command::new(env!("CARGO_BIN_EXE_encrypted_fields")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("acme: in the database Sealed(53 bytes), opened X1234567"), "{text}");
    assert!(text.contains("acme: found by email: Anna"), "{text}");
    assert!(text.contains("bolt: found by email: nobody"), "{text}");
    assert!(
        text.contains("in another row: `people.passport` holds bytes that were not sealed for this place"),
        "{text}"
    );
    assert!(text.contains("under a new key: X1234567, version 2"), "{text}");
    assert!(text.contains("shredded: the keys of tenant"), "{text}");
}

#[test]
fn tower_service() {
    let output = Command::new(env!("CARGO_BIN_EXE_tower_service")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in [
        "acme.example.com/boards -> 200 Acme (subdomain): /boards, 1 note",
        "build.acme.example/boards -> 200 Acme (domain): /boards, 1 note",
        "api.example.com/t/bolt/boards?page=2 -> 200 Bolt (path): /boards?page=2, 0 notes",
        "api.example.com/boards with a key -> 200 Acme (api key): /boards, 1 note",
        "api.example.com/boards from our gateway -> 200 Bolt (header): /boards, 0 notes",
        "acme.example.com/boards with a header of a stranger's -> 403 untrusted-header",
        "bolt.example.com/boards with acme's key -> 403 tenant-mismatch",
        "nobody.example.com/boards -> 404 unknown-tenant",
        "api.example.com/boards with a revoked key -> 401 invalid-api-key",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn tenant_job() {
    let output = Command::new(env!("CARGO_BIN_EXE_tenant_job")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "acme sees 3 of 4 events",
            "acme: `pour the slab` printed for user:00000000-0000-0000-0000-00000000000a, asked in request-1",
            "acme: there is no such note, asked in request-1",
            "bolt sees 1 of 4 events",
            "bolt: `paint the door` printed for user:00000000-0000-0000-0000-00000000000b, asked in request-2",
            "dropped: the envelope is another tenant's",
        ]
    );
}
