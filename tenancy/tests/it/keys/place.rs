//! A value opens in its own place and in no other.

use formwork_tenancy::{
    Isolation,
    keys::{Field, KeyError, RowId, Sealed},
};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use uuid::Uuid;

use super::{Setting, insert, passport_of};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Diagnosis {
    code: String,
    since: i32,
}

#[tokio::test]
async fn values_of_every_kind_come_back_in_every_mode() {
    let setting = Setting::new().await;
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Schema)] {
        let session = setting.session(slug, isolation).await;
        let (id, keys) = (Uuid::now_v7(), &setting.keys);
        let diagnosis = Json(Diagnosis { code: "J45".to_owned(), since: 2019 });
        let mut tx = setting.begin(&session).await;
        let passport = keys.seal(&mut tx, "X1234567", passport_of(id)).await.unwrap();
        let place = Field::new("people", "diagnosis", id);
        let sealed = keys.seal(&mut tx, &diagnosis, place).await.unwrap();
        sqlx::query("insert into people (id, passport, diagnosis) values ($1, $2, $3)")
            .bind(id)
            .bind(&passport)
            .bind(&sealed)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();

        let mut tx = setting.db.tenants().begin_read(&session).await.unwrap();
        let (passport, sealed, none): (Sealed<String>, Sealed<Json<Diagnosis>>, Option<Sealed<String>>) =
            sqlx::query_as("select passport, diagnosis, email_index from people")
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        assert_eq!(keys.open(&mut tx, &passport, passport_of(id)).await.unwrap(), "X1234567");
        assert_eq!(keys.open(&mut tx, &sealed, place).await.unwrap().0, diagnosis.0);
        assert_eq!(none, None);
        let stored: bool =
            sqlx::query_scalar("select position('X1234567'::bytea in passport) > 0 from people")
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        assert!(!stored);
    }
}

#[tokio::test]
async fn many_are_sealed_and_opened_in_their_order_also_empty_ones() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (keys, mut tx) = (&setting.keys, setting.begin(&session).await);
    let values: [&[u8]; 4] = [b"", b"one", &[0; 5000], b"four"];
    let places: Vec<Field<'_>> = (0..4_i64).map(|row| Field::new("people", "passport", row)).collect();
    let sealed = keys.seal_many(&mut tx, values.into_iter().zip(places.iter().copied())).await.unwrap();
    let lengths: Vec<usize> = sealed.iter().map(|sealed| sealed.as_bytes().len() - 45).collect();
    assert_eq!(lengths, [0, 3, 5000, 4]);
    let opened = keys.open_many(&mut tx, sealed.iter().zip(places.iter().copied())).await.unwrap();
    assert_eq!(opened, values);
    let swapped = keys.open_many(&mut tx, sealed.iter().zip(places.into_iter().rev())).await.unwrap_err();
    assert!(matches!(swapped, KeyError::NotSealedHere { .. }), "{swapped}");
}

#[tokio::test]
async fn bytes_of_another_row_column_or_table_are_refused() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (keys, mut tx) = (&setting.keys, setting.begin(&session).await);
    let id = Uuid::now_v7();
    let text = id.to_string();
    let sealed = keys.seal(&mut tx, "X1234567", passport_of(id)).await.unwrap();
    let others = [
        Field::new("people", "passport", Uuid::now_v7()),
        Field::new("people", "diagnosis", id),
        Field::new("patients", "passport", id),
        // Lengths are part of the place: the border between two names cannot be moved.
        Field::new("peoplep", "assport", id),
        // The same identity as a text is another row.
        Field::new("people", "passport", RowId::Text(&text)),
    ];
    for other in others {
        let error = keys.open(&mut tx, &sealed, other).await.unwrap_err();
        assert!(matches!(error, KeyError::NotSealedHere { .. }), "{error}");
        assert!(error.to_string().contains(&other.to_string()), "{error} names {other}");
        assert!(!error.is_retryable());
    }
    assert_eq!(keys.open(&mut tx, &sealed, passport_of(id)).await.unwrap(), "X1234567");
}

#[tokio::test]
async fn bytes_of_another_tenant_are_refused_also_in_ones_own_row() {
    let setting = Setting::new().await;
    let pairs = [(Isolation::Shared, Isolation::Shared), (Isolation::Schema, Isolation::Shared)];
    for (number, (one, other)) in pairs.into_iter().enumerate() {
        let a = setting.session(&format!("a{number}"), one).await;
        let b = setting.session(&format!("b{number}"), other).await;
        // Both tenants' newest key is version 1, so nothing but the keys and the place can tell.
        let (id, keys) = (setting.write(&setting.keys, &b, "X1234567").await, &setting.keys);
        setting.write(keys, &a, "Y7654321").await;
        let mut tx = setting.begin(&b).await;
        let stolen = super::passport(&mut tx, id).await;
        drop(tx);
        assert_eq!(stolen.key_version(), Some(1));

        let mut tx = setting.begin(&a).await;
        insert(&mut tx, id, &stolen).await;
        let error = keys.open(&mut tx, &stolen, passport_of(id)).await.unwrap_err();
        assert!(matches!(error, KeyError::NotSealedHere { .. }), "{error}");

        // The other's line of `tenant_keys` in one's own home does not help either.
        let mut tx = setting.begin(&b).await;
        let (provider_key, wrapped): (String, Vec<u8>) =
            sqlx::query_as("select provider_key, wrapped from tenant_keys")
                .fetch_one(&mut *tx)
                .await
                .unwrap();
        drop(tx);
        let mut tx = setting.begin(&a).await;
        sqlx::query("update tenant_keys set provider_key = $1, wrapped = $2")
            .bind(provider_key)
            .bind(wrapped)
            .execute(&mut *tx)
            .await
            .unwrap();
        let (_, fresh) = setting.another_node();
        let error = fresh.open(&mut tx, &stolen, passport_of(id)).await.unwrap_err();
        assert!(matches!(error, KeyError::Provider(_)) && !error.is_retryable(), "{error}");
    }
}

#[tokio::test]
async fn every_changed_bit_and_every_cut_is_refused() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (keys, mut tx) = (&setting.keys, setting.begin(&session).await);
    let id = Uuid::now_v7();
    let sealed = keys.seal(&mut tx, "X", passport_of(id)).await.unwrap();
    for index in 0..sealed.as_bytes().len() {
        let mut bytes = sealed.as_bytes().to_vec();
        bytes[index] ^= 1;
        let changed = Sealed::<String>::from_bytes(bytes);
        let error = keys.open(&mut tx, &changed, passport_of(id)).await.unwrap_err();
        let versions = 1..5;
        match error {
            KeyError::UnknownVersion { .. } if versions.contains(&index) => {}
            KeyError::NotSealedHere { .. } if !versions.contains(&index) => {}
            error => panic!("byte {index}: {error}"),
        }
        let cut = Sealed::<String>::from_bytes(sealed.as_bytes()[..index].to_vec());
        let error = keys.open(&mut tx, &cut, passport_of(id)).await.unwrap_err();
        assert!(matches!(error, KeyError::NotSealedHere { .. }), "cut to {index}: {error}");
    }
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_value() {
    const VALUE: &str = "Xsecret7";
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (keys, mut tx) = (&setting.keys, setting.begin(&session).await);
    let place = passport_of(Uuid::now_v7());
    let sealed = keys.seal(&mut tx, VALUE, place).await.unwrap();
    assert_eq!(format!("{sealed:?}"), format!("Sealed({} bytes)", 45 + VALUE.len()));

    let json = serde_json::to_string(&sealed).unwrap();
    assert!(json.starts_with("\"sealed:") && !json.contains(VALUE), "{json}");
    let back: Sealed<String> = serde_json::from_str(&json).unwrap();
    assert_eq!(keys.open(&mut tx, &back, place).await.unwrap(), VALUE);
    let refused = serde_json::from_value::<Sealed<String>>(VALUE.into()).unwrap_err();
    assert!(!refused.to_string().contains(VALUE), "{refused}");

    // serde's own error would repeat the value: it expected a number and has found this text.
    let other: Sealed<Json<u32>> = Sealed::from_bytes(
        keys.seal(&mut tx, &Json(VALUE.to_owned()), place).await.unwrap().as_bytes().to_vec(),
    );
    let error = keys.open(&mut tx, &other, place).await.unwrap_err();
    assert!(matches!(error, KeyError::NotOfType { .. }));
    let all = format!("{error} {error:?} {keys:?} {tx:?}");
    assert!(!all.contains(VALUE) && !all.contains("Xsecret"), "{all}");
}
