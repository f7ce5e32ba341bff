//! From entity to entity.

use std::{collections::BTreeSet, time::Duration};

use formwork_entity_links::{Cut, Direction, End, Link, Walk, Walked};
use formwork_tenancy::{Isolation, Tenant};
use uuid::Uuid;

use crate::kit::{Thing, World, end};

async fn walk(world: &World, tenant: &Tenant, user: Uuid, start: Thing, walk: &Walk) -> Walked {
    let mut tx = world.begin(tenant, user).await;
    world.links.walk(&mut tx, &end(start), walk).await.unwrap()
}

fn reached(walked: &Walked) -> Vec<(u32, End)> {
    walked.steps.iter().map(|step| (step.depth, step.end.clone())).collect()
}

#[tokio::test]
async fn a_walk_goes_as_far_as_it_is_told_and_never_in_a_circle() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 5).await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    // A ring of five, and one beside it.
    for n in 0..5 {
        world.link(&tenant, user, Link::new(r[n], "approves", r[(n + 1) % 5])).await.unwrap();
    }
    world.link(&tenant, user, Link::new(r[1], "answers", drawing)).await.unwrap();
    let along = Walk::new().direction(Direction::Forward).along(["approves"]);
    let walked = walk(&world, &tenant, user, r[0], &along.clone().depth(10)).await;
    assert_eq!(reached(&walked), (1..5).map(|n| (n as u32, end(r[n]))).collect::<Vec<_>>());
    assert_eq!(walked.steps[2].path, [end(r[0]), end(r[1]), end(r[2]), end(r[3])]);
    assert!(walked.cut.is_empty());
    let walked = walk(&world, &tenant, user, r[0], &along.depth(2)).await;
    assert_eq!(reached(&walked), [(1, end(r[1])), (2, end(r[2]))]);
    let back = Walk::new().direction(Direction::Inverse).depth(1);
    assert_eq!(reached(&walk(&world, &tenant, user, r[0], &back).await), [(1, end(r[4]))]);
    // Both ways round, every way is told, and the drawing is two links away.
    let walked = walk(&world, &tenant, user, r[0], &Walk::new().depth(2)).await;
    let found: BTreeSet<(u32, End)> = reached(&walked).into_iter().collect();
    let expected = [(1, r[1]), (1, r[4]), (2, r[2]), (2, r[3]), (2, drawing)];
    assert_eq!(found, expected.into_iter().map(|(depth, thing)| (depth, end(thing))).collect());
    assert_eq!(walked.steps.len(), 5);
}

#[tokio::test]
async fn what_a_bound_cuts_off_is_said() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let hub = world.thing(&tenant, "rfi", user, "editor").await;
    let spokes = world.things(&tenant, "drawing", user, "editor", 6).await;
    let mut tx = world.begin(&tenant, user).await;
    let links = spokes.iter().map(|spoke| Link::new(hub, "answers", *spoke)).collect();
    assert!(world.links.link_many(&mut tx, links).await.unwrap().iter().all(Result::is_ok));
    tx.commit().await.unwrap();
    for (bound, found, cut) in [
        (Walk::new(), 6, None),
        (Walk::new().fan_out(6), 6, None),
        (Walk::new().fan_out(5), 5, Some(Cut::FanOut)),
        (Walk::new().steps(6), 6, None),
        (Walk::new().steps(5), 5, Some(Cut::Steps)),
        (Walk::new().time(Duration::ZERO), 0, Some(Cut::Time)),
    ] {
        let walked = walk(&world, &tenant, user, hub, &bound).await;
        assert_eq!(walked.steps.len(), found, "{bound:?}");
        assert_eq!(walked.cut, cut.into_iter().collect(), "{bound:?}");
    }
}

#[tokio::test]
async fn no_way_leads_through_what_may_not_be_seen() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let r = world.things(&tenant, "rfi", user, "editor", 4).await;
    let hidden = world.thing(&tenant, "rfi", other, "editor").await;
    for thing in &r {
        world.share(&tenant, *thing, other, "editor").await;
    }
    for (from, to) in [(r[0], hidden), (hidden, r[1]), (r[0], r[2]), (r[2], r[3])] {
        world.link(&tenant, other, Link::new(from, "blocks", to)).await.unwrap();
    }
    let far = Walk::new().depth(3);
    let found = reached(&walk(&world, &tenant, user, r[0], &far).await);
    assert_eq!(found, [(1, end(r[2])), (2, end(r[3]))]);
    assert_eq!(walk(&world, &tenant, other, r[0], &far).await.steps.len(), 4);
}
