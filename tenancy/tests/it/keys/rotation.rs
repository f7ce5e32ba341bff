//! New data keys and new master keys, under reading and writing.

use std::{collections::HashMap, sync::Arc};

use formwork_tenancy::{
    Isolation, Session,
    keys::{KeyError, SealedColumn},
};
use uuid::Uuid;

use super::{Setting, passport, passport_of};

const PASSPORT: SealedColumn = SealedColumn::new("people", "passport");

async fn rotate(setting: &Setting, session: &Session) -> u32 {
    let mut tx = setting.begin(session).await;
    let version = setting.keys.rotate(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    version
}

async fn versions(setting: &Setting, session: &Session) -> HashMap<Option<u32>, usize> {
    let mut tx = setting.begin(session).await;
    let all: Vec<formwork_tenancy::keys::Sealed<String>> =
        sqlx::query_scalar("select passport from people where passport is not null")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let mut counts = HashMap::new();
    for sealed in all {
        *counts.entry(sealed.key_version()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn new_writes_take_the_new_key_and_old_values_stay_readable() {
    let setting = Setting::new().await;
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Schema)] {
        let session = setting.session(slug, isolation).await;
        let old = setting.write(&setting.keys, &session, "old").await;
        assert_eq!(rotate(&setting, &session).await, 2);
        let new = setting.write(&setting.keys, &session, "new").await;
        assert_eq!(versions(&setting, &session).await, HashMap::from([(Some(1), 1), (Some(2), 1)]));
        let (_, other) = setting.another_node();
        for keys in [&setting.keys, &other] {
            assert_eq!(setting.read(keys, &session, old).await.unwrap(), "old");
            assert_eq!(setting.read(keys, &session, new).await.unwrap(), "new");
        }
        let mut tx = setting.begin(&session).await;
        let retired: Vec<i32> =
            sqlx::query_scalar("select version from tenant_keys where retired_at is not null")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        assert_eq!(retired, [1]);
    }
}

#[tokio::test]
async fn a_rotation_that_was_rolled_back_never_was() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = &setting.keys;
    setting.write(keys, &session, "one").await;
    let mut tx = setting.begin(&session).await;
    assert_eq!(keys.rotate(&mut tx).await.unwrap(), 2);
    let lost = keys.seal(&mut tx, "lost", passport_of(Uuid::now_v7())).await.unwrap();
    assert_eq!(lost.key_version(), Some(2));
    tx.rollback().await.unwrap();
    setting.write(keys, &session, "two").await;
    assert_eq!(versions(&setting, &session).await, HashMap::from([(Some(1), 2)]));
    let mut tx = setting.begin(&session).await;
    let error = keys.open(&mut tx, &lost, passport_of(Uuid::now_v7())).await.unwrap_err();
    assert!(matches!(error, KeyError::UnknownVersion { version: 2, .. }), "{error}");
}

#[tokio::test]
async fn a_column_is_sealed_anew_page_by_page_and_places_hold() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let other = setting.session("b", Isolation::Shared).await;
    let keys = &setting.keys;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(setting.write(keys, &session, &format!("X{number}")).await);
        setting.write(keys, &other, "other").await;
    }
    let mut tx = setting.begin(&session).await;
    sqlx::query("insert into people (id) values ($1)").bind(Uuid::now_v7()).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    rotate(&setting, &session).await;

    let (mut after, mut pages, mut resealed) = (None, 0, 0);
    loop {
        let mut tx = setting.begin(&session).await;
        let page = keys.reseal(&mut tx, &PASSPORT, after, 10).await.unwrap();
        // The second page is lost on its way, and done again.
        if pages == 1 {
            pages += 1;
            tx.rollback().await.unwrap();
            continue;
        }
        tx.commit().await.unwrap();
        (after, pages, resealed) = (page.next(), pages + 1, resealed + page.resealed());
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, resealed), (4, 25));
    assert_eq!(versions(&setting, &session).await, HashMap::from([(Some(2), 25)]));
    assert_eq!(versions(&setting, &other).await, HashMap::from([(Some(1), 25)]));
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(setting.read(keys, &session, id).await.unwrap(), format!("X{number}"));
    }
    let mut tx = setting.begin(&session).await;
    let again = keys.reseal(&mut tx, &PASSPORT, None, 10).await.unwrap();
    assert_eq!((again.next(), again.resealed()), (None, 0));
}

/// One node has a new key, and another one that still knows the old one as the newest seals the column anew.
#[tokio::test]
async fn a_node_that_knows_only_the_old_key_does_not_go_back_to_it() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (_, behind) = setting.another_node();
    for text in ["one", "two"] {
        setting.write(&behind, &session, text).await;
    }
    rotate(&setting, &session).await;
    setting.write(&setting.keys, &session, "three").await;
    setting.write(&behind, &session, "four").await;
    assert_eq!(versions(&setting, &session).await, HashMap::from([(Some(1), 3), (Some(2), 1)]));
    let mut tx = setting.begin(&session).await;
    assert_eq!(behind.reseal(&mut tx, &PASSPORT, None, 10).await.unwrap().resealed(), 3);
    tx.commit().await.unwrap();
    assert_eq!(versions(&setting, &session).await, HashMap::from([(Some(2), 4)]));
}

#[tokio::test]
async fn a_value_that_was_not_sealed_here_stops_its_page_and_changes_nothing() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = &setting.keys;
    let (good, bad) =
        (setting.write(keys, &session, "good").await, setting.write(keys, &session, "bad").await);
    rotate(&setting, &session).await;
    let mut tx = setting.begin(&session).await;
    sqlx::query("update people set passport = (select passport from people where id = $1) where id = $2")
        .bind(good)
        .bind(bad)
        .execute(&mut *tx)
        .await
        .unwrap();
    let error = keys.reseal(&mut tx, &PASSPORT, None, 10).await.unwrap_err();
    assert!(matches!(error, KeyError::NotSealedHere { .. }), "{error}");
    assert_eq!(passport(&mut tx, good).await.key_version(), Some(1));
}

/// Writers, readers, new data keys, new master keys and resealing at once: nothing becomes unreadable.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_change_under_readers_and_writers() {
    let rounds = if std::env::var_os("FORMWORK_LONG").is_some() { 60 } else { 6 };
    let setting = Arc::new(Setting::new().await);
    let session = setting.session("a", Isolation::Shared).await;
    setting.write(&setting.keys, &session, "first").await;
    let changing = {
        let (setting, session) = (Arc::clone(&setting), session.clone());
        tokio::spawn(async move {
            for _ in 0..rounds {
                rotate(&setting, &session).await;
                setting.line.to.rotate().unwrap();
                let mut tx = setting.begin(&session).await;
                assert!(setting.keys.rewrap(&mut tx).await.unwrap() > 0);
                tx.commit().await.unwrap();
                let mut tx = setting.begin(&session).await;
                setting.keys.reseal(&mut tx, &PASSPORT, None, 1000).await.unwrap();
                tx.commit().await.unwrap();
            }
        })
    };
    let working: Vec<_> = (0..4)
        .map(|worker| {
            let (setting, session) = (Arc::clone(&setting), session.clone());
            // Each on a node of its own.
            let (_, keys) = setting.another_node();
            tokio::spawn(async move {
                for round in 0..rounds * 5 {
                    let text = format!("{worker}-{round}");
                    let id = setting.write(&keys, &session, &text).await;
                    assert_eq!(setting.read(&keys, &session, id).await.unwrap(), text);
                }
            })
        })
        .collect();
    changing.await.unwrap();
    for worker in working {
        worker.await.unwrap();
    }
    let (_, fresh) = setting.another_node();
    let mut tx = setting.begin(&session).await;
    let all: Vec<(Uuid, formwork_tenancy::keys::Sealed<String>)> =
        sqlx::query_as("select id, passport from people").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(all.len(), 1 + 4 * 5 * rounds);
    let opened =
        fresh.open_many(&mut tx, all.iter().map(|(id, sealed)| (sealed, passport_of(*id)))).await.unwrap();
    assert_eq!(opened.len(), all.len());
}

#[tokio::test]
async fn wrapping_anew_touches_only_what_the_old_master_key_wrapped() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Schema).await;
    let keys = &setting.keys;
    let id = setting.write(keys, &session, "X1234567").await;
    rotate(&setting, &session).await;
    let rewrap = async || {
        let mut tx = setting.begin(&session).await;
        let count = keys.rewrap(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        count
    };
    assert_eq!(rewrap().await, 0);
    assert_eq!(setting.line.to.rotate().unwrap(), 2);
    assert_eq!(rewrap().await, 2);
    assert_eq!(rewrap().await, 0);
    let (_, fresh) = setting.another_node();
    assert_eq!(setting.read(&fresh, &session, id).await.unwrap(), "X1234567");
}
