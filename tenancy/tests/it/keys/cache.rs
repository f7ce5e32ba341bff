//! What stands in memory, for how long, and what does not.

use std::{future::pending, sync::Arc, time::Duration};

use async_trait::async_trait;
use formwork_tenancy::{
    Isolation, IsolationLevel, TenantId, TxOptions,
    keys::{KeyContext, KeyError, KeyProvider, Keys, MAX_TIME_TO_LIVE, ProviderError, SecretKey, WrappedKey},
};
use uuid::Uuid;

use super::{Setting, later, passport, passport_of};

#[tokio::test]
async fn twenty_first_uses_at_once_make_one_key() {
    let setting = Arc::new(Setting::new().await);
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Schema)] {
        let session = setting.session(slug, isolation).await;
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (setting, session) = (Arc::clone(&setting), session.clone());
                // Half of them on another node.
                let keys = if number % 2 == 0 { setting.keys.clone() } else { setting.another_node().1 };
                tokio::spawn(async move { setting.write(&keys, &session, &format!("X{number}")).await })
            })
            .collect();
        let (_, fresh) = setting.another_node();
        for (number, task) in tasks.into_iter().enumerate() {
            let id = task.await.unwrap();
            assert_eq!(setting.read(&fresh, &session, id).await.unwrap(), format!("X{number}"));
        }
        assert_eq!(setting.lines(&session).await, [("data".to_owned(), 1, true)]);
    }
}

#[tokio::test]
async fn a_key_that_was_rolled_back_is_never_used_again() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (keys, id) = (&setting.keys, Uuid::now_v7());
    let mut tx = setting.begin(&session).await;
    let lost = keys.seal(&mut tx, "lost", passport_of(id)).await.unwrap();
    // In its own transaction it opens.
    assert_eq!(keys.open(&mut tx, &lost, passport_of(id)).await.unwrap(), "lost");
    tx.rollback().await.unwrap();
    assert_eq!(setting.lines(&session).await, []);

    let kept = setting.write(keys, &session, "kept").await;
    let (_, fresh) = setting.another_node();
    assert_eq!(setting.read(&fresh, &session, kept).await.unwrap(), "kept");
    let mut tx = setting.begin(&session).await;
    let error = keys.open(&mut tx, &lost, passport_of(id)).await.unwrap_err();
    assert!(matches!(error, KeyError::NotSealedHere { .. }), "{error}");
}

#[tokio::test]
async fn a_key_of_a_savepoint_that_was_rolled_back_is_never_used_again() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Schema).await;
    let id = Uuid::now_v7();
    let mut tx = setting.begin(&session).await;
    let keys = setting.keys.clone();
    let undone: Result<(), &str> = tx
        .savepoint(|tx| {
            Box::pin(async move {
                keys.seal(tx, "lost", passport_of(id)).await.map_err(|_| "sealing failed")?;
                Err("undone")
            })
        })
        .await
        .unwrap();
    assert_eq!(undone, Err("undone"));
    let sealed = setting.keys.seal(&mut tx, "kept", passport_of(id)).await.unwrap();
    super::insert(&mut tx, id, &sealed).await;
    tx.commit().await.unwrap();
    let (_, fresh) = setting.another_node();
    assert_eq!(setting.read(&fresh, &session, id).await.unwrap(), "kept");
}

#[tokio::test]
async fn two_nodes_share_one_key() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (_, other) = setting.another_node();
    let one = setting.write(&setting.keys, &session, "one").await;
    let two = setting.write(&other, &session, "two").await;
    assert_eq!(setting.read(&other, &session, one).await.unwrap(), "one");
    assert_eq!(setting.read(&setting.keys, &session, two).await.unwrap(), "two");
    assert_eq!(setting.lines(&session).await, [("data".to_owned(), 1, true)]);
}

/// In a transaction that has failed the database answers nothing any more.
#[tokio::test]
async fn with_the_key_in_memory_the_database_is_asked_nothing() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = &setting.keys;
    let id = setting.write(keys, &session, "X1234567").await;
    for _ in 0..2 {
        setting.write(keys, &session, "warm").await;
        setting.read(keys, &session, id).await.unwrap();
    }
    let mut tx = setting.begin(&session).await;
    let sealed = passport(&mut tx, id).await;
    sqlx::query("select 1 / 0").execute(&mut *tx).await.unwrap_err();
    assert_eq!(keys.open(&mut tx, &sealed, passport_of(id)).await.unwrap(), "X1234567");
    keys.seal(&mut tx, "Y", passport_of(id)).await.unwrap();
    let (_, cold) = setting.another_node();
    let error = cold.open(&mut tx, &sealed, passport_of(id)).await.unwrap_err();
    assert!(matches!(error, KeyError::Storage(_)), "{error}");
    assert_eq!(setting.line.unwrapped(), 1);
}

#[tokio::test]
async fn without_its_provider_a_node_goes_on_until_the_time_to_live() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = &setting.keys;
    let id = setting.write(keys, &session, "X1234567").await;
    assert_eq!(setting.read(keys, &session, id).await.unwrap(), "X1234567");
    setting.line.cut(true);
    later(MAX_TIME_TO_LIVE / 2).await;
    assert_eq!(setting.read(keys, &session, id).await.unwrap(), "X1234567");

    later(MAX_TIME_TO_LIVE / 2).await;
    let error = setting.read(keys, &session, id).await.unwrap_err();
    assert!(matches!(error, KeyError::Provider(_)) && error.is_retryable(), "{error}");
    let other = setting.session("b", Isolation::Shared).await;
    let mut tx = setting.begin(&other).await;
    let error = keys.seal(&mut tx, "Y", passport_of(id)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    drop(tx);
    assert_eq!(setting.lines(&other).await, []);

    setting.line.cut(false);
    assert_eq!(setting.read(keys, &session, id).await.unwrap(), "X1234567");
}

#[tokio::test]
async fn the_time_to_live_cannot_be_made_longer_than_a_minute() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let (line, _) = setting.another_node();
    let provider: Arc<dyn KeyProvider> = line.clone();
    let keys = Keys::builder(provider).time_to_live(Duration::from_secs(3600)).build();
    let id = setting.write(&keys, &session, "X1234567").await;
    for (after, unwrapped) in [(0, 1), (59, 1), (1, 2)] {
        later(Duration::from_secs(after)).await;
        setting.read(&keys, &session, id).await.unwrap();
        assert_eq!(line.unwrapped(), unwrapped, "{after} seconds later");
    }
}

/// What an old snapshot shows may have been shredded since: its age counts against the time to live.
#[tokio::test]
async fn a_key_that_an_old_snapshot_shows_is_not_kept() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let id = setting.write(&setting.keys, &session, "X1234567").await;
    let repeatable = TxOptions::new().isolation_level(IsolationLevel::RepeatableRead);
    for (limit, unwrapped) in [(Duration::from_millis(200), 2), (MAX_TIME_TO_LIVE, 1)] {
        let (line, _) = setting.another_node();
        let provider: Arc<dyn KeyProvider> = line.clone();
        let keys = Keys::builder(provider).time_to_live(limit).build();
        let mut tx = setting.db.tenants().begin_with(&session, repeatable).await.unwrap();
        let sealed = passport(&mut tx, id).await;
        sqlx::query("select pg_sleep(0.21)").execute(&mut *tx).await.unwrap();
        for _ in 0..2 {
            assert_eq!(keys.open(&mut tx, &sealed, passport_of(id)).await.unwrap(), "X1234567");
        }
        assert_eq!(line.unwrapped(), unwrapped, "{limit:?}");
    }
}

#[tokio::test]
async fn a_hundred_that_wait_for_one_key_ask_the_provider_once() {
    let setting = Arc::new(Setting::new().await);
    let session = setting.session("a", Isolation::Shared).await;
    let id = setting.write(&setting.keys, &session, "X1234567").await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (setting, session) = (Arc::clone(&setting), session.clone());
            tokio::spawn(async move { setting.read(&setting.keys, &session, id).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "X1234567");
    }
    assert_eq!(setting.line.unwrapped(), 1);
}

#[derive(Debug)]
struct Silent;

#[async_trait]
impl KeyProvider for Silent {
    async fn current(&self, _: TenantId) -> Result<String, ProviderError> {
        pending().await
    }

    async fn wrap(&self, _: &KeyContext, _: &SecretKey) -> Result<WrappedKey, ProviderError> {
        pending().await
    }

    async fn unwrap(&self, _: &KeyContext, _: &WrappedKey) -> Result<SecretKey, ProviderError> {
        pending().await
    }

    async fn destroy(&self, _: TenantId) -> Result<(), ProviderError> {
        pending().await
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_given_up() {
    let setting = Setting::new().await;
    let session = setting.session("a", Isolation::Shared).await;
    let keys = Keys::builder(Arc::new(Silent)).provider_timeout(Duration::from_millis(1)).build();
    let mut tx = setting.begin(&session).await;
    let error = keys.seal(&mut tx, "X", passport_of(Uuid::now_v7())).await.unwrap_err();
    assert!(matches!(error, KeyError::Provider(_)) && error.is_retryable(), "{error}");
    drop(tx);
    assert!(keys.shred(setting.db.tenants(), &session).await.unwrap_err().is_retryable());
}
