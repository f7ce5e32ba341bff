//! The registry's tier in a real Redis: believed when a node has just written it, and missed by nobody when it is gone.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use formwork_migrations::TENANCY;
use formwork_tenancy::{Isolation, RegistryOptions, ResolveError, Tenants, testing::TestDatabase};
use redis::{Cmd, cmd};

use crate::{
    limits::Hands,
    redis_server::Server,
    registry::{as_owner, by_name, until},
};

async fn node(db: &TestDatabase, server: &Server) -> (Tenants, Hands) {
    let hands = Hands::default();
    hands.forward(Duration::from_secs(10));
    let (hour, often) = (Duration::from_secs(3_600), Duration::from_millis(10));
    let options = RegistryOptions::new().clock(Arc::new(hands.clone()));
    let options = options.redis_within(&server.url(), hour, often).unwrap();
    let tenants = db.connect(Tenants::builder().registry(options)).await;
    // It hears itself listen, which makes all that was read before suspect.
    until(&tenants, |metrics| metrics.heard == 1).await;
    hands.forward(Duration::from_secs(10));
    (tenants, hands)
}

async fn ask<T: redis::FromRedisValue>(server: &Server, command: &Cmd) -> T {
    redis::from_redis_value(server.ask(command).await.unwrap()).unwrap()
}

async fn value(server: &Server, key: &str) -> Vec<u8> {
    ask(server, cmd("get").arg(key)).await
}

async fn key_of(server: &Server, slug: &str) -> String {
    let begun = Instant::now();
    loop {
        let found = server.keys().await.into_iter().find(|key| key.ends_with(&format!(":slug:{slug}")));
        if let Some(key) = found {
            return key;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_one_node_has_read_another_need_not_ask_for() {
    let Some(server) = Server::start(false).await else { return };
    let db = TestDatabase::new(&[TENANCY]).await;
    let tenant = db.tenant("a", Isolation::Schema).await;
    // Their entries live for a second of the machine's own clock, so it may take more than one try.
    let (one, _) = node(&db, &server).await;
    let begun = Instant::now();
    loop {
        let (other, _) = node(&db, &server).await;
        one.by_id(tenant.id()).await.unwrap();
        by_name(&one, "a").await.unwrap();
        let (mine, theirs) = (by_name(&one, "a").await.unwrap(), by_name(&other, "a").await.unwrap());
        assert_eq!((mine.id(), mine.schema_name()), (theirs.id(), theirs.schema_name()));
        assert_eq!((mine.version(), mine.home_versions()), (theirs.version(), theirs.home_versions()));
        let metrics = other.registry_metrics();
        assert_eq!(metrics.redis_unbelieved, 0);
        if (metrics.redis_hits, metrics.questions) == (1, 0) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{metrics:?}");
        // Another version is another entry, which is read anew.
        one.announce_change().await;
    }
}

#[tokio::test]
async fn an_entry_that_no_node_has_just_written_is_not_believed() {
    let Some(server) = Server::start(false).await else { return };
    let db = TestDatabase::new(&[TENANCY]).await;
    let (a, _b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let (writer, hands) = node(&db, &server).await;
    for slug in ["a", "b"] {
        by_name(&writer, slug).await.unwrap();
    }
    let (key_a, key_b) = (key_of(&server, "a").await, key_of(&server, "b").await);
    let genuine = loop {
        let values = (value(&server, &key_a).await, value(&server, &key_b).await);
        if !values.0.is_empty() && !values.1.is_empty() {
            break values;
        }
        hands.forward(Duration::from_secs(1));
        for slug in ["a", "b"] {
            by_name(&writer, slug).await.unwrap();
        }
    };
    let mut bent = genuine.0.clone();
    let last = bent.len() - 2;
    bent[last] ^= 1;
    let mut younger = genuine.0.clone();
    // Its time, behind the code: a second later.
    younger[34] = younger[34].wrapping_add(16);
    let set = |value: &[u8]| cmd("set").arg(&key_a).arg(value).clone();
    let mut list = redis::Cmd::new();
    list.arg("lpush").arg(&key_a).arg("x");
    for (what, poison) in [
        ("another tenant's", set(&genuine.1)),
        ("a bit changed", set(&bent)),
        ("made younger", set(&younger)),
        ("too short", set(b"{}")),
        ("no code", set(&genuine.0[32..])),
        ("too long", set(&vec![7; 1_000_000])),
        ("a list", list),
    ] {
        let (reader, _) = node(&db, &server).await;
        let _: i64 = ask(&server, cmd("del").arg(&key_a)).await;
        server.ask(&poison).await.unwrap();
        assert_eq!(by_name(&reader, "a").await.unwrap().id(), a.id(), "{what}");
        let metrics = reader.registry_metrics();
        assert_eq!((metrics.redis_unbelieved, metrics.redis_hits, metrics.questions), (1, 0, 1), "{what}");
        assert!(!metrics.redis_is_down, "{what}: the server is as good as before");
    }
    // A true one, kept back: what it says was so once.
    as_owner(&db, "update platform.tenants set status = 'suspended' where slug = 'a'").await;
    let begun = Instant::now();
    let (late, hands) = node(&db, &server).await;
    while begun.elapsed() < Duration::from_secs(1) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.ask(&set(&genuine.0)).await.unwrap();
    let error = by_name(&late, "a").await.unwrap_err();
    assert!(matches!(error, ResolveError::NotActive { .. }), "{error}");
    assert_eq!(late.registry_metrics().redis_hits, 0);
    drop(hands);
}

/// Slower, never wrong: with the server gone, whatever changes is seen, and when it is back it is used again.
#[tokio::test]
async fn a_redis_that_is_killed_is_missed_by_nobody_and_used_again_when_it_is_back() {
    let Some(mut server) = Server::start(false).await else { return };
    let db = TestDatabase::new(&[TENANCY]).await;
    db.tenant("a", Isolation::Shared).await;
    let (one, hands) = node(&db, &server).await;
    let (two, hands_of_two) = node(&db, &server).await;
    let both = async |expected: &str| {
        for (node, hands) in [(&one, &hands), (&two, &hands_of_two)] {
            hands.forward(Duration::from_secs(2));
            let status = node.by_slug("a").await.unwrap().unwrap().status();
            assert_eq!(status.as_str(), expected);
        }
    };
    for round in 0..3 {
        both("active").await;
        server.kill();
        as_owner(&db, "update platform.tenants set status = 'suspended'").await;
        both("suspended").await;
        until(&one, |metrics| metrics.redis_is_down).await;
        both("suspended").await;
        as_owner(&db, "update platform.tenants set status = 'active'").await;
        both("active").await;
        server.up().await;
        let hits = two.registry_metrics().redis_hits;
        let begun = Instant::now();
        while two.registry_metrics().redis_hits == hits {
            both("active").await;
            assert!(begun.elapsed() < Duration::from_secs(30), "round {round}: not used again");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(!one.registry_metrics().redis_is_down && !two.registry_metrics().redis_is_down);
    }
}

#[tokio::test]
async fn a_redis_that_is_not_there_keeps_no_node_from_starting() {
    let Some(mut server) = Server::start(false).await else { return };
    server.kill();
    let db = TestDatabase::new(&[TENANCY]).await;
    db.tenant("a", Isolation::Shared).await;
    let options = RegistryOptions::new().redis(&server.url()).unwrap();
    let tenants = db.connect(Tenants::builder().registry(options)).await;
    by_name(&tenants, "a").await.unwrap();
    assert!(tenants.registry_metrics().redis_is_down);
    server.up().await;
    let begun = Instant::now();
    while tenants.registry_metrics().redis_is_down {
        // Whoever needs it looks after it.
        let _ = by_name(&tenants, &format!("nobody-{}", begun.elapsed().as_nanos())).await;
        assert!(begun.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(RegistryOptions::new().redis("http://nowhere").is_err());
}
