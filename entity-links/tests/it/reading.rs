//! Lists, counts and history.

use formwork_entity_links::{Direction, Hidden, Link, LinkError, Selection};
use formwork_tenancy::Isolation;
use uuid::Uuid;

use crate::kit::{World, end};

#[tokio::test]
async fn pages_leave_out_what_may_not_be_seen_and_lose_nothing() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    world.share(&tenant, rfi, other, "editor").await;
    let mut visible = Vec::new();
    for n in 0..40 {
        let owner = if n % 4 == 0 { user } else { other };
        let drawing = world.thing(&tenant, "drawing", owner, "editor").await;
        world.link(&tenant, owner, Link::new(rfi, "answers", drawing)).await.unwrap();
        if owner == user {
            visible.push(drawing.1);
        }
    }
    for (hidden, stubs) in [(Hidden::Omit, 0), (Hidden::Stub, 30)] {
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        let mut cursor = None;
        loop {
            let mut tx = world.begin(&tenant, user).await;
            let selection = Selection::new().hidden(hidden);
            let page = world.links.linked(&mut tx, &rfi.into(), &selection, cursor, 3).await.unwrap();
            assert!(page.links.len() + page.stubs.len() <= 3);
            seen.extend(page.links.into_iter().map(|linked| linked.other.id));
            unseen.extend(page.stubs);
            match page.next {
                Some(next) => cursor = Some(next.to_string().parse().unwrap()),
                None => break,
            }
        }
        assert_eq!(seen, visible);
        assert_eq!(unseen.len(), stubs);
        assert!(unseen.iter().all(|stub| (&*stub.name, stub.direction) == ("answers", Direction::Forward)));
    }
}

#[tokio::test]
async fn a_selection_names_links_as_they_are_read_from_the_end() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 3).await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    for link in [
        Link::new(r[0], "blocks", r[1]),
        Link::new(r[2], "blocks", r[0]),
        Link::new(r[0], "relates", r[1]),
        Link::new(drawing, "relates", r[0]),
        Link::new(r[0], "answers", drawing),
    ] {
        world.link(&tenant, user, link).await.unwrap();
    }
    let others = async |selection: Selection| -> Vec<_> {
        let page = world.linked(&tenant, user, r[0], selection).await;
        page.links.into_iter().map(|linked| (linked.name, linked.other)).collect()
    };
    let named = |name: &str, other| (name.to_owned(), end(other));
    let relates = [named("relates", r[1]), named("relates", drawing)];
    assert_eq!(others(Selection::new().relationship("blocks")).await, [named("blocks", r[1])]);
    assert_eq!(others(Selection::new().relationship("blocked_by")).await, [named("blocked_by", r[2])]);
    assert_eq!(others(Selection::new().relationship("relates")).await, relates);
    assert_eq!(
        others(Selection::new().kind("drawing")).await,
        [named("relates", drawing), named("answers", drawing)]
    );
    assert_eq!(
        others(Selection::new().kind("drawing").relationship("relates")).await,
        [named("relates", drawing)]
    );
    let forward = Selection::new().direction(Direction::Forward);
    assert!(others(forward).await.iter().any(|(name, _)| name == "blocks"));
    assert_eq!(others(Selection::new().direction(Direction::Inverse).kind("rfi")).await.len(), {
        // The symmetric one is read from whichever side it is stored.
        if end(r[0]) < end(r[1]) { 1 } else { 2 }
    });
    let mut tx = world.begin(&tenant, user).await;
    let unknown = Selection::new().relationship("eats");
    let error = world.links.linked(&mut tx, &r[0].into(), &unknown, None, 9).await.unwrap_err();
    assert!(matches!(error, LinkError::UnknownType { .. }), "{error}");

    let counts = world.links.counts(&mut tx, &r[0].into()).await.unwrap();
    let counts: Vec<(&str, &str, i64)> =
        counts.iter().map(|count| (&*count.name, &*count.kind, count.links)).collect();
    assert_eq!(
        counts,
        [
            ("answers", "drawing", 1),
            ("blocked_by", "rfi", 1),
            ("blocks", "rfi", 1),
            ("relates", "drawing", 1),
            ("relates", "rfi", 1)
        ]
    );
}

#[tokio::test]
async fn a_history_is_told_from_both_ends_to_whoever_may_see_them() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    let secret = world.thing(&tenant, "rfi", other, "editor").await;
    world.share(&tenant, drawing, other, "editor").await;
    let first = world.link(&tenant, user, Link::new(rfi, "answers", drawing)).await.unwrap();
    let mut tx = world.begin(&tenant, user).await;
    world.links.unlink(&mut tx, first.id).await.unwrap();
    tx.commit().await.unwrap();
    world.link(&tenant, user, Link::new(rfi, "relates", drawing)).await.unwrap();
    world.link(&tenant, other, Link::new(secret, "answers", drawing)).await.unwrap();
    for (who, of, expected) in [
        (user, rfi, vec!["entity.linked", "entity.unlinked", "entity.linked"]),
        (user, drawing, vec!["entity.linked", "entity.unlinked", "entity.linked"]),
        (other, drawing, vec!["entity.linked"]),
    ] {
        let mut tx = world.begin(&tenant, who).await;
        let (mut actions, mut after) = (Vec::new(), None);
        loop {
            let page = world.links.history(&mut tx, &end(of), after, 2).await.unwrap();
            assert!(page.events.len() <= 2);
            actions.extend(page.events.into_iter().map(|event| event.action));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(actions, expected);
    }
}
