//! Finding sealed values by equality.

use std::collections::HashSet;

use formwork_tenancy::{
    Isolation, Session,
    keys::{BlindIndex, IndexedColumn, normalise},
};
use uuid::Uuid;

use super::{Setting, passport_of};

const EMAIL: IndexedColumn = IndexedColumn::new("people", "email").normalised(normalise::ignoring_case);

async fn index(setting: &Setting, session: &Session, column: &IndexedColumn, value: &str) -> BlindIndex {
    let mut tx = setting.begin(session).await;
    let index = setting.keys.blind_index(&mut tx, column, value).await.unwrap();
    tx.commit().await.unwrap();
    index
}

#[tokio::test]
async fn a_value_is_found_by_its_form_in_every_mode() {
    let setting = Setting::new().await;
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Schema)] {
        let session = setting.session(slug, isolation).await;
        let keys = &setting.keys;
        // Nothing has been indexed, and a search makes no key.
        let mut tx = setting.db.tenants().begin_read(&session).await.unwrap();
        assert_eq!(keys.blind_index_to_find(&mut tx, &EMAIL, "anna@example.com").await.unwrap(), None);
        drop(tx);

        let mut tx = setting.begin(&session).await;
        let mut wanted = None;
        for email in ["anna@example.com", "bob@example.com"] {
            let id = Uuid::now_v7();
            let sealed = keys.seal(&mut tx, email, passport_of(id)).await.unwrap();
            let index = keys.blind_index(&mut tx, &EMAIL, email).await.unwrap();
            sqlx::query("insert into people (id, passport, email_index) values ($1, $2, $3)")
                .bind(id)
                .bind(&sealed)
                .bind(&index)
                .execute(&mut *tx)
                .await
                .unwrap();
            wanted = wanted.or(Some(id));
        }
        tx.commit().await.unwrap();

        let (_, other_node) = setting.another_node();
        let mut tx = setting.db.tenants().begin_read(&session).await.unwrap();
        for (email, found) in [("  Anna@Example.COM ", wanted), ("carol@example.com", None)] {
            let index = other_node.blind_index_to_find(&mut tx, &EMAIL, email).await.unwrap();
            let id: Option<Uuid> = sqlx::query_scalar("select id from people where email_index = $1")
                .bind(&index)
                .fetch_optional(&mut *tx)
                .await
                .unwrap();
            assert_eq!(id, found, "{email}");
            assert!(!format!("{index:?}").contains("Anna"));
        }
    }
}

#[tokio::test]
async fn one_value_has_another_index_for_every_tenant_and_column() {
    let setting = Setting::new().await;
    let (a, b) =
        (setting.session("a", Isolation::Shared).await, setting.session("b", Isolation::Shared).await);
    let columns = [
        EMAIL,
        IndexedColumn::new("people", "passport"),
        IndexedColumn::new("patients", "email"),
        IndexedColumn::new("peoplee", "mail"),
    ];
    let mut seen = HashSet::new();
    for session in [&a, &b] {
        for column in &columns {
            assert!(seen.insert(index(&setting, session, column, "x").await));
        }
    }
    assert_eq!(seen.len(), 8);
}

#[tokio::test]
async fn its_length_is_what_the_column_says() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let full = index(&setting, &session, &EMAIL.length(32), "x").await;
    for (asked, length) in [(0, 1), (1, 1), (8, 8), (16, 16), (32, 32), (33, 32)] {
        let short = index(&setting, &session, &EMAIL.length(asked), "x").await;
        assert_eq!(short.as_bytes(), &full.as_bytes()[..length], "{asked}");
    }
}

#[tokio::test]
async fn a_new_data_key_leaves_it_as_it_is() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let before = index(&setting, &session, &EMAIL, "x").await;
    let mut tx = setting.begin(&session).await;
    assert_eq!(setting.keys.rotate(&mut tx).await.unwrap(), 1);
    assert_eq!(setting.keys.rotate(&mut tx).await.unwrap(), 2);
    tx.commit().await.unwrap();
    assert_eq!(index(&setting, &session, &EMAIL, "x").await, before);
}

#[test]
fn forms_are_what_they_say() {
    assert_eq!(normalise::exact(" A b "), " A b ");
    assert_eq!(normalise::ignoring_case(" Ämil@X.org\n"), "ämil@x.org");
    assert_eq!(normalise::letters_and_digits("+965 (2) 22-X"), "965222x");
}
