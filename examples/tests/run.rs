//! Every example runs to its end and says what its text promises.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::process::Command;

#[path = "../add-to-an-existing-app/test.rs"]
mod add_to_an_existing_app;

#[test]
fn one_transaction() {
    let output = Command::new(env!("CARGO_BIN_EXE_one_transaction")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("acme: 2 notes, may view: true, 3 audit events"), "{text}");
    assert!(text.contains("bolt: 0 notes, may view: false, 0 audit events"), "{text}");
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
