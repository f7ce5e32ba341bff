//! Rate limits in memory, against a model that counts each unit.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use formwork_tenancy::{
    Actor, TenantId,
    limits::{Call, Clock, Limit, MemoryLimiter, Refused, Scope, Verdict},
};
use proptest::prelude::*;
use uuid::Uuid;

/// A clock that stands until it is moved.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn forward(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

pub(crate) fn with_hands() -> (MemoryLimiter, Hands) {
    let hands = Hands::default();
    (MemoryLimiter::builder().clock(hands.clone()).build(), hands)
}

pub(crate) fn refusal(verdict: Verdict) -> Refused {
    verdict.into_result().unwrap_err()
}

pub(crate) fn user(number: u128) -> Actor {
    Actor::user(Uuid::from_u128(number))
}

/// Calls that pass before the first that does not.
fn passes(limiter: &MemoryLimiter, call: &Call<'_>) -> usize {
    (0..1_000).take_while(|_| limiter.check(call).is_allowed()).count()
}

#[test]
fn each_thing_has_its_own_limit() {
    let (limiter, _hands) = with_hands();
    let (a, b) = (TenantId::generate(), TenantId::generate());
    let (ada, bob) = (user(1), user(2));
    let (here, there): (IpAddr, IpAddr) =
        (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into());
    let limit = |n| Limit::per_hour(n);
    let cases = [
        // What uses a limit up, what the same limit holds, what it does not.
        (Scope::Tenant, Call::of_tenant(a).overall(limit(3)), Call::of_tenant(b).overall(limit(3))),
        (Scope::User, Call::of_tenant(a).user(&ada, limit(4)), Call::of_tenant(a).user(&bob, limit(4))),
        (Scope::Ip, Call::of_tenant(a).ip(here, limit(5)), Call::of_tenant(a).ip(there, limit(5))),
        (
            Scope::Endpoint,
            Call::of_tenant(a).endpoint("x", limit(6)),
            Call::of_tenant(a).endpoint("y", limit(6)),
        ),
        (
            Scope::UserEndpoint,
            Call::of_tenant(a).user_endpoint(&ada, "x", limit(7)),
            Call::of_tenant(a).user_endpoint(&bob, "x", limit(7)),
        ),
        (Scope::Ip, Call::from_ip(here).overall(limit(8)), Call::from_ip(there).overall(limit(8))),
        (
            Scope::Endpoint,
            Call::from_ip(here).endpoint("x", limit(9)),
            Call::from_ip(there).endpoint("x", limit(9)),
        ),
    ];
    for (number, (scope, call, other)) in cases.into_iter().enumerate() {
        assert_eq!(passes(&limiter, &call), number + 3, "{scope}");
        let refused = refusal(limiter.check(&call));
        assert_eq!((refused.scope(), refused.limit().units() as usize), (scope, number + 3));
        assert_eq!(passes(&limiter, &other), number + 3, "{scope}: another one");
    }
}

/// The same user, address and endpoint: what tenant A uses up, tenant B still has.
#[test]
fn one_tenants_calls_never_count_against_anothers() {
    let (limiter, _hands) = with_hands();
    let (ada, ip) = (user(1), IpAddr::from(Ipv6Addr::LOCALHOST));
    let of = |tenant| {
        Call::of_tenant(tenant)
            .overall(Limit::per_day(10))
            .user(&ada, Limit::per_day(10))
            .ip(ip, Limit::per_day(10))
            .endpoint("POST /tasks", Limit::per_day(10))
    };
    let (a, b) = (TenantId::generate(), TenantId::generate());
    assert_eq!(passes(&limiter, &of(a)), 10);
    let fresh = with_hands().0.check(&of(b));
    assert_eq!(limiter.check(&of(b)), fresh, "B stands as if there were no A");
}

#[test]
fn what_one_limit_refuses_no_other_loses() {
    let (limiter, hands) = with_hands();
    let tenant = TenantId::generate();
    let (wide, narrow) = (Limit::per_second(100), Limit::per_second(1));
    let both = Call::of_tenant(tenant).overall(wide).endpoint("x", narrow);
    assert!(limiter.check(&both).is_allowed());
    for _ in 0..500 {
        assert_eq!(refusal(limiter.check(&both)).scope(), Scope::Endpoint);
    }
    let left = limiter.check(&Call::of_tenant(tenant).overall(wide)).into_result().unwrap();
    assert_eq!(left.remaining(), Some(98));
    hands.forward(Duration::from_secs(1));
    assert!(limiter.check(&both).is_allowed());
}

#[test]
fn a_refusal_names_the_moment_at_which_the_call_will_pass() {
    let (limiter, hands) = with_hands();
    let call = Call::of_tenant(TenantId::generate())
        .overall(Limit::per_second(10).burst(5))
        .endpoint("x", Limit::per_minute(6).burst(2))
        .cost(2);
    assert!(limiter.check(&call).is_allowed());
    let refused = refusal(limiter.check(&call));
    assert_eq!((refused.scope(), refused.retry_after()), (Scope::Endpoint, Some(Duration::from_secs(20))));
    hands.forward(Duration::from_secs(20) - Duration::from_nanos(1));
    assert_eq!(refusal(limiter.check(&call)).retry_after(), Some(Duration::from_nanos(1)));
    hands.forward(Duration::from_nanos(1));
    assert!(limiter.check(&call).is_allowed());
}

#[test]
fn what_can_never_pass_says_so() {
    let (limiter, _hands) = with_hands();
    let tenant = TenantId::generate();
    let too_much = Call::of_tenant(tenant).overall(Limit::per_second(1_000).burst(3)).cost(4);
    let refused = refusal(limiter.check(&too_much));
    assert_eq!(refused.retry_after(), None);
    assert!(refused.to_string().contains("lets through 3 at once"), "{refused}");
    let nothing = Call::of_tenant(tenant).overall(Limit::per_second(0).burst(10));
    assert_eq!(refusal(limiter.check(&nothing)).retry_after(), None);
    assert!(limiter.check(&Call::of_tenant(tenant)).is_allowed(), "no limit is no limit");
}

#[test]
fn the_header_fields_tell_all_limits_and_when_to_come_back() {
    let (limiter, hands) = with_hands();
    let call = Call::of_tenant(TenantId::generate())
        .overall(Limit::per_second(10).burst(20))
        .overall(Limit::per_day(1_000))
        .endpoint("x", Limit::per_minute(2));
    limiter.check(&call);
    limiter.check(&call);
    hands.forward(Duration::from_millis(500));
    let headers = limiter.check(&call).headers();
    let expected = [
        ("ratelimit-policy", r#""tenant";q=20;w=2, "tenant-2";q=1000;w=86400, "endpoint";q=2;w=60"#),
        ("ratelimit", r#""tenant";r=20;t=0, "tenant-2";r=998;t=173, "endpoint";r=0;t=60"#),
        ("retry-after", "30"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name, value.to_owned())));
}

/// A million addresses at one moment, each under a limit that it stays in for a while.
#[test]
fn a_flood_of_addresses_does_not_grow_the_memory() {
    const KEYS: usize = 20_000;
    let hands = Hands::default();
    let limiter = MemoryLimiter::builder().clock(hands.clone()).max_keys(KEYS).build();
    let tenant = TenantId::generate();
    let used = Call::of_tenant(tenant).overall(Limit::per_hour(2));
    assert!(limiter.check(&used).is_allowed());
    let limit = Limit::per_minute(60).burst(3);
    let address = |n: u32| IpAddr::from(Ipv6Addr::from_bits(u128::from(n) << 64));
    let flood = 0..1_000_000;
    let mut passed = 0;
    for n in flood {
        passed += usize::from(limiter.check(&Call::from_ip(address(n)).overall(limit)).is_allowed());
    }
    // One more a shard, shared by those that found no place.
    assert!((KEYS..=KEYS + 1 + 16).contains(&limiter.keys()), "{}", limiter.keys());
    assert!(limiter.bytes() < 57 * (2 * KEYS), "{}", limiter.bytes());
    assert!((KEYS..=KEYS + 16 * 3).contains(&passed), "newcomers without a place share one limit: {passed}");
    // Nobody's count was forgotten: neither the first address's nor the tenant's.
    let first = limiter.check(&Call::from_ip(address(0)).overall(limit)).into_result().unwrap();
    assert_eq!(first.remaining(), Some(1));
    let tenants = limiter.check(&used).into_result().unwrap();
    assert_eq!(tenants.remaining(), Some(0));
    // When their limits are full again, they make room.
    hands.forward(Duration::from_secs(3));
    let newcomers = 2_000_000..2_002_000;
    let passed =
        newcomers.filter(|&n| limiter.check(&Call::from_ip(address(n)).overall(limit)).is_allowed()).count();
    assert_eq!(passed, 2_000);
    assert!(limiter.keys() < KEYS / 2, "{}", limiter.keys());
}

/// Two threads, one limit: what passes is exactly the limit.
#[test]
fn threads_count_together() {
    let (limiter, _hands) = with_hands();
    let tenant = TenantId::generate();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let limiter = limiter.clone();
            std::thread::spawn(move || {
                let call = Call::of_tenant(tenant)
                    .overall(Limit::per_hour(1_000))
                    .endpoint("x", Limit::per_hour(900));
                (0..1_000).filter(|_| limiter.check(&call).is_allowed()).count()
            })
        })
        .collect();
    let passed: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(passed, 900);
}

/// A bucket that refills by one unit an interval, in nanoseconds: the other way to say what a limit is.
#[derive(Clone, Copy)]
struct Bucket {
    /// Room, in nanoseconds' worth.
    room: u64,
    at: u64,
}

/// Takes from all or none.
fn model(
    buckets: &mut HashMap<(u8, usize), Bucket>,
    now: u64,
    keys: &[((u8, usize), u64, u64)],
    cost: u64,
) -> bool {
    for &(key, interval, burst) in keys {
        let bucket = buckets.entry(key).or_insert(Bucket { room: interval * burst, at: now });
        bucket.room = (bucket.room + (now - bucket.at)).min(interval * burst);
        bucket.at = now;
    }
    let room = keys.iter().all(|(key, interval, _)| buckets[key].room >= interval * cost);
    if room {
        for (key, interval, _) in keys {
            buckets.get_mut(key).unwrap().room -= interval * cost;
        }
    }
    room
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("FORMWORK_LONG").is_some() { 5_000 } else { 200 }))]

    /// Random calls of several tenants, users and endpoints at random moments.
    #[test]
    fn every_answer_is_that_of_a_model_that_counts(
        calls in prop::collection::vec((0u8..3, 0u8..3, 0u8..3, 0u32..4, 0u64..1_500_000_000), 1..200),
        rates in prop::array::uniform3((1u32..20, 1u32..20)),
    ) {
        let (limiter, hands) = with_hands();
        let tenants = [TenantId::generate(), TenantId::generate(), TenantId::generate()];
        let users = [user(1), user(2), user(3)];
        let limits = rates.map(|(units, burst)| Limit::per_second(units).burst(burst));
        let interval = |n: usize| 1_000_000_000u64.div_ceil(u64::from(rates[n].0));
        let (mut buckets, mut now) = (HashMap::new(), 0);
        for (tenant, who, endpoint, cost, pause) in calls {
            now += pause;
            hands.forward(Duration::from_nanos(pause));
            let name = ["x", "y", "z"][usize::from(endpoint)];
            let call = Call::of_tenant(tenants[usize::from(tenant)])
                .overall(limits[0])
                .user(&users[usize::from(who)], limits[1])
                .endpoint(name, limits[2])
                .cost(cost);
            let keys: Vec<_> = [0, 10 + usize::from(who), 20 + usize::from(endpoint)]
                .into_iter()
                .enumerate()
                .map(|(n, key)| ((tenant, key), interval(n), u64::from(rates[n].1)))
                .collect();
            let expected = model(&mut buckets, now, &keys, u64::from(cost));
            let verdict = limiter.check(&call);
            prop_assert_eq!(verdict.is_allowed(), expected);
            for (standing, (key, interval, burst)) in verdict.standings().iter().zip(&keys) {
                let room = buckets[key].room;
                prop_assert_eq!(u64::from(standing.remaining()), room / interval);
                prop_assert_eq!(standing.reset(), Duration::from_nanos(interval * burst - room));
            }
        }
    }
}
