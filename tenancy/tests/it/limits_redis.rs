//! Rate limits in a real Redis, which is killed and started again under load.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use formwork_tenancy::{
    TenantId,
    limits::{Call, Limit, MemoryLimiter, RedisLimiter, RedisLimiterBuilder, Scope},
};

use crate::{
    limits::{Hands, refusal, user},
    redis_server::Server,
};

/// As one node's: a test waits for the server for as long as it takes.
fn node(server: &Server) -> RedisLimiterBuilder {
    let hour = Duration::from_secs(3_600);
    RedisLimiter::builder(server.url()).timeout(hour).retry_every(Duration::from_millis(10))
}

async fn passes(limiter: &RedisLimiter, call: &Call<'_>, tries: usize) -> usize {
    let mut passed = 0;
    for _ in 0..tries {
        passed += usize::from(limiter.check(call).await.is_allowed());
    }
    passed
}

/// Asks until the server is asked again, or no more.
async fn until_degraded(limiter: &RedisLimiter, degraded: bool) {
    let call = Call::from_ip(Ipv4Addr::LOCALHOST.into()).overall(Limit::per_second(1)).cost(0);
    let begun = Instant::now();
    while limiter.is_degraded() != degraded {
        limiter.check(&call).await;
        assert!(begun.elapsed() < Duration::from_secs(30), "still the same");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn nodes_count_together_and_no_tenant_for_another() {
    let Some(server) = Server::start(false).await else { return };
    let (one, two) = (node(&server).connect().await.unwrap(), node(&server).connect().await.unwrap());
    let (a, b, ada) = (TenantId::generate(), TenantId::generate(), user(1));
    let ip = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
    let call = |tenant| {
        Call::of_tenant(tenant)
            .overall(Limit::per_day(100))
            .user(&ada, Limit::per_day(50))
            .ip(ip, Limit::per_day(40))
            .endpoint("x", Limit::per_day(30))
    };
    let of_a = call(a);
    let (first, second) = tokio::join!(passes(&one, &of_a, 30), passes(&two, &of_a, 30));
    assert_eq!(first + second, 30);
    let refused = refusal(one.check(&of_a).await);
    assert_eq!((refused.scope(), refused.limit().units()), (Scope::Endpoint, 30));
    let wait = refused.retry_after().unwrap();
    assert!(wait > Duration::from_secs(2_800) && wait <= Duration::from_secs(2_880), "{wait:?}");
    // What the endpoint refused 31 times was taken from nobody.
    let left = one.check(&Call::of_tenant(a).overall(Limit::per_day(100))).await.into_result().unwrap();
    assert_eq!(left.remaining(), Some(69));
    assert_eq!(passes(&two, &call(b), 40).await, 30, "B has all of its own");
    // Each alone, and another prefix is another service.
    let calls = [
        Call::of_tenant(a).overall(Limit::per_day(3)),
        Call::of_tenant(a).user(&ada, Limit::per_day(3)),
        Call::of_tenant(a).ip(ip, Limit::per_day(3)),
        Call::of_tenant(a).user_endpoint(&ada, "x", Limit::per_day(3)),
        Call::from_ip(ip).overall(Limit::per_day(3)),
    ];
    let other = node(&server).prefix("other").connect().await.unwrap();
    for call in &calls {
        assert_eq!(passes(&one, call, 5).await, 3);
        assert_eq!(passes(&two, call, 5).await, 0);
        assert_eq!(passes(&other, call, 5).await, 3);
    }
    assert!(!one.is_degraded() && !two.is_degraded());
}

/// The answers of the script, whose clock cannot be set: with limits that refill in a day nothing moves meanwhile.
#[tokio::test]
async fn the_script_decides_as_the_memory_does() {
    let Some(server) = Server::start(false).await else { return };
    let limiter = node(&server).connect().await.unwrap();
    let memory = MemoryLimiter::builder().clock(Hands::default()).build();
    let tenant = TenantId::generate();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        u32::try_from(random % below).unwrap()
    };
    let users = [user(1), user(2)];
    let mut refusals = 0;
    for _ in 0..500 {
        let name = ["x", "y", "z"][next(3) as usize];
        let call = Call::of_tenant(tenant)
            .overall(Limit::per_day(400).burst(350))
            .user(&users[next(2) as usize], Limit::per_day(250))
            .endpoint(name, Limit::per_day(90).burst(120))
            .cost(next(5));
        let (shared, local) = (limiter.check(&call).await, memory.check(&call));
        assert_eq!(shared.is_allowed(), local.is_allowed());
        let left = |verdict: &formwork_tenancy::limits::Verdict| {
            verdict.standings().iter().map(|standing| standing.remaining()).collect::<Vec<_>>()
        };
        assert_eq!(left(&shared), left(&local));
        refusals += usize::from(!shared.is_allowed());
    }
    assert!(refusals > 20, "{refusals}");
}

#[tokio::test]
async fn keys_go_when_their_limits_are_full_again() {
    let Some(server) = Server::start(false).await else { return };
    let limiter = node(&server).connect().await.unwrap();
    let tenant = TenantId::generate();
    let call = Call::of_tenant(tenant).overall(Limit::per_second(1)).endpoint("x", Limit::per_day(10));
    assert!(limiter.check(&call).await.is_allowed());
    let keys = server.keys().await;
    assert_eq!(keys.len(), 2);
    for key in keys {
        assert!(key.starts_with(&format!("{{{tenant}}}:limits:")), "{key}");
        let answer = server.ask(redis::cmd("pttl").arg(&key)).await.unwrap();
        let left: i64 = redis::from_redis_value(answer).unwrap();
        let most = if key.contains("endpoint") { 8_640_000 } else { 1_000 };
        assert!(left > 0 && left <= most && left > most - 5_000, "{key}: {left} ms of {most}");
    }
}

#[tokio::test]
async fn a_server_whose_clock_was_set_back_holds_nobody_for_longer_than_the_limit() {
    let Some(server) = Server::start(false).await else { return };
    let limiter = node(&server).connect().await.unwrap();
    let call = Call::of_tenant(TenantId::generate()).overall(Limit::per_hour(2));
    assert!(limiter.check(&call).await.is_allowed());
    let key = server.keys().await.remove(0);
    server.ask(redis::cmd("set").arg(&key).arg("4000000000000000")).await.unwrap();
    let refused = refusal(limiter.check(&call).await);
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1_800)));
}

/// A server that was started anew, or whose scripts were flushed, does not know the script.
#[tokio::test]
async fn the_script_is_sent_again_when_the_server_has_lost_it() {
    let Some(server) = Server::start(false).await else { return };
    let limiter = node(&server).connect().await.unwrap();
    let call = Call::of_tenant(TenantId::generate()).overall(Limit::per_day(5));
    assert_eq!(passes(&limiter, &call, 2).await, 2);
    server.ask(redis::cmd("script").arg("flush")).await.unwrap();
    assert_eq!(passes(&limiter, &call, 5).await, 3);
    assert!(!limiter.is_degraded());
}

/// CRC-16/XMODEM of what stands between the first braces, modulo 16384 (Redis cluster specification).
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or(key, |(tag, _)| tag);
    let mut crc = 0_u16;
    for byte in tag.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
    }
    crc % 16_384
}

/// A node of a cluster refuses a script whose keys are of several slots, also when it has all of them.
#[tokio::test]
async fn the_keys_of_a_call_are_of_one_slot() {
    assert_eq!(slot("123456789"), 0x31C3, "the check value of the specification");
    let Some(server) = Server::start(true).await else { return };
    let limiter = node(&server).connect().await.unwrap();
    let ada = user(1);
    for (tenant, ip) in [
        (TenantId::generate(), IpAddr::from(Ipv4Addr::new(192, 0, 2, 1))),
        (TenantId::generate(), "2001:db8::1".parse().unwrap()),
    ] {
        let calls = [Call::of_tenant(tenant), Call::from_ip(ip)].map(|call| {
            call.overall(Limit::per_day(9))
                .user(&ada, Limit::per_day(9))
                .ip(ip, Limit::per_day(8))
                .endpoint("GET /a/{id}", Limit::per_day(9))
                .user_endpoint(&ada, "}{", Limit::per_day(9))
        });
        for call in calls {
            server.ask(&redis::cmd("flushall")).await.unwrap();
            assert!(limiter.check(&call).await.is_allowed());
            assert!(!limiter.is_degraded());
            let keys = server.keys().await;
            assert_eq!(keys.len(), 5);
            let slots: std::collections::BTreeSet<_> = keys.iter().map(|key| slot(key)).collect();
            assert_eq!(slots.len(), 1, "{keys:?}");
        }
    }
    // The node does refuse what is of several.
    let two = redis::cmd("mget").arg("a").arg("b").clone();
    assert_eq!(server.ask(&two).await.unwrap_err().code(), Some("CROSSSLOT"));
}

/// Load from eight tasks on each of two nodes, while the server is killed and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_is_neither_an_outage_nor_without_limits() {
    const LIMIT: u32 = 1_000;
    let Some(mut server) = Server::start(false).await else { return };
    // Local clocks that stand: what passes in one place is a bucket, to the unit.
    let node = || node(&server).nodes(2).local(MemoryLimiter::builder().clock(Hands::default()).build());
    let nodes = [node().connect().await.unwrap(), node().connect().await.unwrap()];
    let tenant = TenantId::generate();
    let (stop, passed, asked) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for task in 0..16 {
        let (node, stop) = (nodes[task % 2].clone(), Arc::clone(&stop));
        let (passed, asked) = (Arc::clone(&passed), Arc::clone(&asked));
        tasks.push(tokio::spawn(async move {
            let call = Call::of_tenant(tenant).overall(Limit::per_day(LIMIT));
            while !stop.load(Ordering::SeqCst) {
                let allowed = node.check(&call).await.is_allowed();
                passed.fetch_add(usize::from(allowed), Ordering::SeqCst);
                asked.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }));
    }
    let reaches = async |count: usize| {
        let begun = Instant::now();
        while passed.load(Ordering::SeqCst) < count {
            let stand = (passed.load(Ordering::SeqCst), asked.load(Ordering::SeqCst));
            assert!(begun.elapsed() < Duration::from_secs(30), "(passed, asked) = {stand:?} of {count}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let limit = LIMIT as usize;
    // Together.
    reaches(limit).await;
    assert!(nodes.iter().all(|node| !node.is_degraded()));
    // Each its half, and not one more, however often it is asked.
    server.kill();
    reaches(2 * limit).await;
    assert!(nodes.iter().all(RedisLimiter::is_degraded));
    let before = asked.load(Ordering::SeqCst);
    while asked.load(Ordering::SeqCst) < before + 20 * limit {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(passed.load(Ordering::SeqCst), 2 * limit);
    // Together again, by itself. The server has forgotten everything, the script too.
    server.up().await;
    reaches(3 * limit).await;
    for node in &nodes {
        until_degraded(node, false).await;
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(passed.load(Ordering::SeqCst), 3 * limit);
}

/// A server that hangs costs its time-out once, and then only those who look after it in the background.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_costs_one_timeout() {
    let Some(server) = Server::start(false).await else { return };
    let timeout = Duration::from_millis(500);
    let limiter = node(&server).timeout(timeout).connect().await.unwrap();
    let call = Call::of_tenant(TenantId::generate()).overall(Limit::per_second(1_000_000));
    until_degraded(&limiter, false).await;
    server.signal("-STOP");
    let begun = Instant::now();
    assert!(limiter.check(&call).await.is_allowed());
    assert!(begun.elapsed() >= timeout && limiter.is_degraded());
    // Looked after in the background: none of these is asked of the server, which would not answer.
    assert_eq!(passes(&limiter, &call, 1_000).await, 1_000);
    assert!(limiter.is_degraded());
    server.signal("-CONT");
    until_degraded(&limiter, false).await;
}

#[tokio::test]
async fn a_redis_that_is_not_there_yet_is_found_later() {
    let Some(mut server) = Server::start(false).await else { return };
    server.kill();
    let limiter = node(&server).nodes(4).connect().await.unwrap();
    assert!(limiter.is_degraded());
    let call = Call::of_tenant(TenantId::generate()).overall(Limit::per_day(8));
    assert_eq!(passes(&limiter, &call, 20).await, 2, "its share");
    server.up().await;
    until_degraded(&limiter, false).await;
    assert_eq!(passes(&limiter, &call, 20).await, 8);
    assert!(RedisLimiter::builder("http://nowhere").connect().await.is_err());
    assert!(Path::new(&server.socket()).exists());
}
