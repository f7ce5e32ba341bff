//! API keys: shown once, compared as hashes, refused when their time is over.

use std::{task::Poll, time::Duration};

use formwork_tenancy::{
    Actor, ApiKeyRefusal, ControlError, Isolation, NewApiKey, ResolveError, Resolver, Source, Tenants,
    local_postgres::LocalRole,
};
use futures::{StreamExt, stream::FuturesUnordered};
use http::HeaderName;
use sqlx::Connection;

use super::kit::{Head, ask};
use crate::isolation::database;

fn resolver(tenants: &Tenants) -> Resolver {
    Resolver::builder(tenants).api_key(HeaderName::from_static("x-api-key")).host().build().unwrap()
}

fn us() -> Actor {
    Actor::system("test")
}

fn shown(text: &str) -> Head {
    Head::to("/").header("x-api-key", text)
}

async fn why(resolver: &Resolver, head: &Head) -> ApiKeyRefusal {
    let error = ask(resolver, head).await.unwrap_err();
    assert_eq!(error.status(), 401, "{error}");
    match error {
        ResolveError::ApiKey { why } => why,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_key_names_its_tenant_and_itself() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let (key, secret) =
        db.control().create_api_key(a.id(), &NewApiKey::new(" export ", &us())).await.unwrap();
    let resolver = resolver(db.tenants());
    let found = ask(&resolver, &shown(secret.reveal())).await.unwrap();
    assert_eq!((found.tenant().id(), found.named_by()), (a.id(), &[Source::ApiKey][..]));
    assert_eq!((found.api_key(), found.actor()), (Some(key.id()), Some(Actor::ApiKey(key.id()))));
    assert_eq!(found.actor().unwrap().to_string(), format!("api_key:{}", key.id()));
    let elsewhere =
        ask(&resolver, &shown(secret.reveal()).header("host", "b.formwork.test")).await.unwrap_err();
    assert!(matches!(elsewhere, ResolveError::Mismatch { .. }), "{elsewhere}");

    assert_eq!((key.name(), key.created_by(), key.expires_at()), ("export", "system:test", None));
    assert_eq!(db.control().api_keys(a.id()).await.unwrap(), std::slice::from_ref(&key));
    assert!(db.control().api_keys(b.id()).await.unwrap().is_empty());
    let (start, end) = key.hint().split_once("..").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(secret.reveal().starts_with(&start) && secret.reveal().ends_with(&end), "{}", key.hint());
    assert!(!format!("{key:?} {secret:?}").contains(secret.reveal()));
    // In the database there is nothing that could be shown.
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    let stored: String = sqlx::query_scalar("select row_to_json(k)::text from platform.api_keys k")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let tail = &secret.reveal()[17..];
    assert!(!stored.contains(tail) && !stored.contains(&tail[..16]), "{stored}");
    let mut app = db.nobody().await;
    let refused = sqlx::query("select hash from platform.api_keys").execute(&mut app).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
}

#[tokio::test]
async fn a_key_that_does_not_hold_says_why_to_its_holder_alone() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let control = db.control();
    let brief = NewApiKey::new("brief", &us()).lifetime(Duration::from_millis(1));
    let (expired, expired_secret) = control.create_api_key(a.id(), &brief).await.unwrap();
    assert!(expired.expires_at().unwrap() > expired.created_at());
    let (revoked, revoked_secret) =
        control.create_api_key(a.id(), &NewApiKey::new("b", &us())).await.unwrap();
    assert!(control.revoke_api_key(a.id(), revoked.id(), &us()).await.unwrap());
    assert!(!control.revoke_api_key(a.id(), revoked.id(), &us()).await.unwrap());
    let resolver = resolver(db.tenants());
    // One lookup takes longer than a millisecond's life only most of the time.
    while ask(&resolver, &shown(expired_secret.reveal())).await.is_ok() {}
    assert_eq!(why(&resolver, &shown(expired_secret.reveal())).await, ApiKeyRefusal::Expired);
    assert_eq!(why(&resolver, &shown(revoked_secret.reveal())).await, ApiKeyRefusal::Revoked);
    // Its prefix is known, its secret is not.
    let mut forged = revoked_secret.reveal().to_owned();
    let last = if forged.ends_with('0') { '1' } else { '0' };
    forged.pop();
    forged.push(last);
    assert_eq!(why(&resolver, &shown(&forged)).await, ApiKeyRefusal::Unknown);
    let twice = shown(revoked_secret.reveal()).header("x-api-key", revoked_secret.reveal());
    for head in [twice, shown(""), shown("fwk_"), shown("Bearer x"), shown(&"f".repeat(10_000))] {
        assert_eq!(why(&resolver, &head).await, ApiKeyRefusal::Unknown);
    }
    let other = db.tenant("b", Isolation::Shared).await;
    assert!(!control.revoke_api_key(other.id(), expired.id(), &us()).await.unwrap(), "another tenant's key");
    for (new, wrong) in
        [(NewApiKey::new(" ", &us()), "a name"), (brief.lifetime(Duration::ZERO), "a lifetime")]
    {
        let error = control.create_api_key(a.id(), &new).await.unwrap_err();
        assert!(
            matches!(error, ControlError::InvalidApiKey { .. }) && error.to_string().contains(wrong),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_was_remembered() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let (key, secret) = db.control().create_api_key(a.id(), &NewApiKey::new("b", &us())).await.unwrap();
    let resolver = resolver(db.tenants());
    ask(&resolver, &shown(secret.reveal())).await.unwrap();
    db.control().revoke_api_key(a.id(), key.id(), &us()).await.unwrap();
    while ask(&resolver, &shown(secret.reveal())).await.is_ok() {}
    assert_eq!(why(&resolver, &shown(secret.reveal())).await, ApiKeyRefusal::Revoked);
}

/// Whoever asks for a key waits until this is let go.
async fn hold_keys(owner: &mut sqlx::PgConnection) -> sqlx::Transaction<'_, sqlx::Postgres> {
    let mut lock = owner.begin().await.unwrap();
    sqlx::query("lock table platform.api_keys in access exclusive mode").execute(&mut *lock).await.unwrap();
    lock
}

/// Strangers wait among themselves: with all of their turns taken, and more of them than may wait, whoever has a key
/// that was good before is not told that there is no room.
#[tokio::test]
async fn a_flood_of_unknown_keys_keeps_room_for_others() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let (_, secret) = db.control().create_api_key(a.id(), &NewApiKey::new("b", &us())).await.unwrap();
    let resolver = resolver(db.tenants());
    let good = shown(secret.reveal());
    ask(&resolver, &good).await.unwrap();
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    let lock = hold_keys(&mut owner).await;
    let mut strangers: FuturesUnordered<_> = (0..500)
        .map(|n: u32| {
            let resolver = resolver.clone();
            let head = shown(&format!("fwk_{n:012x}_{n:064x}"));
            tokio::spawn(async move { ask(&resolver, &head).await.unwrap_err() })
        })
        .collect();
    for _ in 66..500 {
        let error = strangers.next().await.unwrap().unwrap();
        assert_eq!((error.status().as_u16(), error.code()), (503, "unavailable"), "{error}");
    }
    db.tenants().ping().await.unwrap();
    // Remembered for a second; then it is asked for, waits for the lock, and is not turned away.
    let held = loop {
        let mut asking = Box::pin(ask(&resolver, &good));
        match futures::poll!(&mut asking) {
            Poll::Ready(answer) => assert_eq!(answer.unwrap().tenant().id(), a.id()),
            Poll::Pending => break asking,
        }
        tokio::task::yield_now().await;
    };
    lock.rollback().await.unwrap();
    assert_eq!(held.await.unwrap().tenant().id(), a.id());
    let mut waited = 0;
    while let Some(answer) = strangers.next().await {
        let error = answer.unwrap();
        assert!(matches!(error, ResolveError::ApiKey { why: ApiKeyRefusal::Unknown }), "{error}");
        waited += 1;
    }
    assert_eq!(waited, 66);
}

#[tokio::test]
async fn of_many_who_show_one_key_one_asks() {
    let db = database().await;
    let resolver = resolver(db.tenants());
    let mut owner = sqlx::PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap();
    let lock = hold_keys(&mut owner).await;
    let text = format!("fwk_{:012x}_{:064x}", 1, 1);
    let mut same: Vec<_> = (0..500).map(|_| Box::pin(why_of(resolver.clone(), text.clone()))).collect();
    for asking in &mut same {
        assert!(futures::poll!(asking).is_pending());
    }
    lock.rollback().await.unwrap();
    // More than may wait: had each asked, most would have been told that there is no room.
    for answer in futures::future::join_all(same).await {
        assert_eq!(answer, ApiKeyRefusal::Unknown);
    }
}

async fn why_of(resolver: Resolver, text: String) -> ApiKeyRefusal {
    why(&resolver, &shown(&text)).await
}
