//! Many transactions at once, each on a connection of its own.

use formwork_entity_links::{End, Link, LinkError, StoredLink};
use formwork_tenancy::{Actor, Isolation, IsolationLevel, Session, Tenant, TxOptions};
use futures::future::join_all;
use uuid::Uuid;

use crate::kit::{World, end};

/// All at once; a deadlock or a failed serialization is tried again, as `Tenants::run` would.
async fn all(
    world: &World,
    tenant: &Tenant,
    user: Uuid,
    links: Vec<Link>,
) -> Vec<Result<StoredLink, LinkError>> {
    join_all(links.into_iter().map(async |link| {
        loop {
            match world.link(tenant, user, link.clone()).await {
                Err(LinkError::Storage(error)) if error.is_retryable() => {}
                answer => return answer,
            }
        }
    }))
    .await
}

#[tokio::test]
async fn the_same_link_is_stored_once_even_in_a_race() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let one = world.thing(&tenant, "rfi", user, "editor").await;
    let other = world.thing(&tenant, "drawing", user, "editor").await;
    let both = [Link::new(one, "relates", other), Link::new(other, "relates", one)];
    let answers = all(&world, &tenant, user, both.iter().cycle().take(12).cloned().collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .flat_map(|answer| answer.as_ref().err())
            .all(|e| matches!(e, LinkError::Exists { .. }))
    );
    assert_eq!(world.count(&tenant, "relates").await, 1);
}

#[tokio::test]
async fn cardinality_of_one_holds_under_concurrency() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 13).await;
    let leads = r[1..].iter().map(|other| Link::new(r[0], "leads", *other)).collect();
    let answers = all(&world, &tenant, user, leads).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let full = |e: &LinkError| matches!(e, LinkError::Full { end: at, most: 1, name } if *at == end(r[0]) && name == "leads");
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(full), "{answers:?}");
    // From the other side, where the one target is wanted by many.
    let taken = answers.into_iter().flatten().next().unwrap().target;
    let free = r.iter().find(|thing| end(**thing) != taken && thing.1 != r[0].1).copied().unwrap();
    let led =
        r[1..].iter().filter(|thing| **thing != free).map(|other| Link::new(*other, "leads", free)).collect();
    let answers = all(&world, &tenant, user, led).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(world.count(&tenant, "leads").await, 2);
}

#[tokio::test]
async fn cardinality_of_several_holds_under_concurrency() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 17).await;
    let cites = r[1..].iter().map(|other| Link::new(r[0], "cites", *other)).collect();
    let answers = all(&world, &tenant, user, cites).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!(world.count(&tenant, "cites").await, 3);
    // Of a symmetric type an end is counted whichever side it stands on.
    let pairs = r[1..].iter().enumerate().map(|(n, other)| {
        if n % 2 == 0 { Link::new(r[0], "pairs", *other) } else { Link::new(*other, "pairs", r[0]) }
    });
    let answers = all(&world, &tenant, user, pairs.collect()).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(world.count(&tenant, "pairs").await, 1);
}

/// Every pair of a ring and both ways round: whichever come first, what is stored has no cycle.
#[tokio::test]
async fn acyclic_holds_under_concurrency() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 6).await;
    let ring = (0..6).map(|n| Link::new(r[n], "blocks", r[(n + 1) % 6]));
    let back = (0..6).map(|n| Link::new(r[(n + 1) % 6], "blocks", r[n]));
    let answers = all(&world, &tenant, user, ring.chain(back).collect()).await;
    let refused = answers.iter().filter(|answer| matches!(answer, Err(LinkError::Cycle { .. }))).count();
    assert_eq!(answers.iter().flatten().count() + refused, 12, "{answers:?}");
    let stored: Vec<(End, End)> =
        answers.into_iter().flatten().map(|link| (link.source, link.target)).collect();
    assert!(stored.len() >= 5, "a chain at least: {}", stored.len());
    assert_no_cycle(&stored);
}

/// Takes away whatever nothing leads to, until nothing is left.
fn assert_no_cycle(links: &[(End, End)]) {
    let mut left: Vec<&(End, End)> = links.iter().collect();
    loop {
        let before = left.len();
        let targets: Vec<&End> = left.iter().map(|(_, target)| target).collect();
        left.retain(|(source, _)| targets.contains(&source));
        if left.is_empty() {
            return;
        }
        assert!(left.len() < before, "a cycle: {left:?}");
    }
}

/// An older snapshot would not see what was counted meanwhile.
#[tokio::test]
async fn cardinality_is_not_counted_in_an_old_snapshot() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 3).await;
    let session = Session::new(&tenant, Actor::user(user));
    for (level, allowed) in [(IsolationLevel::RepeatableRead, false), (IsolationLevel::Serializable, true)] {
        let options = TxOptions::new().isolation_level(level);
        for relationship in ["cites", "blocks"] {
            let mut tx = world.db.tenants().begin_with(&session, options).await.unwrap();
            let made = world.links.link(&mut tx, Link::new(r[0], relationship, r[1])).await;
            match allowed {
                true => assert!(made.is_ok(), "{made:?}"),
                false => assert!(matches!(made, Err(LinkError::Isolation)), "{made:?}"),
            }
        }
        // An index holds at every level.
        let mut tx = world.db.tenants().begin_with(&session, options).await.unwrap();
        world.links.link(&mut tx, Link::new(r[0], "leads", r[1])).await.unwrap();
        let second = world.links.link(&mut tx, Link::new(r[0], "leads", r[2])).await;
        assert!(matches!(second, Err(LinkError::Full { .. })), "{second:?}");
    }
}
