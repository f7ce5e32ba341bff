//! One link: the steps, and who may take them.

use formwork_audit::{Audit, Filter};
use formwork_entity_links::{Direction, Link, LinkError, Selection};
use formwork_tenancy::Isolation;
use serde_json::json;
use uuid::Uuid;

use crate::kit::World;

#[tokio::test]
async fn a_link_is_read_from_both_ends_and_leaves_event_and_audit() {
    let world = World::new().await;
    for isolation in [Isolation::Shared, Isolation::Schema] {
        let tenant = world.db.tenant(isolation.as_str(), isolation).await;
        let user = Uuid::now_v7();
        let rfi = world.thing(&tenant, "rfi", user, "editor").await;
        let drawing = world.thing(&tenant, "drawing", user, "editor").await;
        let id = world.link(&tenant, user, Link::new(rfi, "answers", drawing)).await.unwrap().id;

        let from = world.linked(&tenant, user, rfi, Selection::new()).await.links;
        let [forward] = from.as_slice() else { panic!("one link: {from:?}") };
        assert_eq!((forward.name.as_str(), forward.direction), ("answers", Direction::Forward));
        assert_eq!((forward.other.kind.as_str(), forward.other.id), drawing);
        let to = world.linked(&tenant, user, drawing, Selection::new().kind("rfi")).await.links;
        let [inverse] = to.as_slice() else { panic!("one link: {to:?}") };
        assert_eq!((inverse.name.as_str(), inverse.direction), ("answered_by", Direction::Inverse));
        assert!(
            world.linked(&tenant, user, drawing, Selection::new().kind("drawing")).await.links.is_empty()
        );

        let mut tx = world.begin(&tenant, user).await;
        let trail = Audit::new().list(&mut tx, &Filter::default(), None, 10).await.unwrap().events;
        assert_eq!(trail.first().unwrap().action, "entity.linked");
        assert!(trail.first().unwrap().evidence.is_some());
        drop(tx);
        assert_eq!(world.told(&tenant).await.0, ["entity.linked"]);

        let mut tx = world.begin(&tenant, user).await;
        world.links.unlink(&mut tx, id).await.unwrap();
        tx.commit().await.unwrap();
        assert!(world.linked(&tenant, user, rfi, Selection::new()).await.links.is_empty());
        assert_eq!(world.told(&tenant).await.1, ["entity.linked", "entity.unlinked"]);
    }
}

#[tokio::test]
async fn a_link_that_is_not_committed_leaves_nothing() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let things = world.things(&tenant, "rfi", user, "editor", 2).await;
    let mut tx = world.begin(&tenant, user).await;
    world.links.link(&mut tx, Link::new(things[0], "relates", things[1])).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(world.count(&tenant, "relates").await, 0);
    assert_eq!(world.told(&tenant).await, (vec![], vec![]));
}

#[tokio::test]
async fn both_ends_must_exist_and_be_linkable() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, stranger) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    let seen = world.thing(&tenant, "drawing", user, "viewer").await;
    let hidden = world.thing(&tenant, "drawing", stranger, "editor").await;
    let error = world.link(&tenant, user, Link::new(rfi, "answers", seen)).await.unwrap_err();
    assert!(matches!(error, LinkError::Denied { .. }), "{error}");
    let unseen = world.link(&tenant, user, Link::new(rfi, "answers", hidden)).await.unwrap_err();
    let absent =
        world.link(&tenant, user, Link::new(rfi, "answers", ("drawing", Uuid::nil()))).await.unwrap_err();
    assert!(matches!(unseen, LinkError::NotFound { .. }) && matches!(absent, LinkError::NotFound { .. }));
    // Whether the hidden one exists does not show from the other side either.
    for drawing in [hidden, ("drawing", Uuid::now_v7())] {
        let error = world.link(&tenant, user, Link::new(drawing, "relates", ("rfi", Uuid::nil()))).await;
        assert!(matches!(error, Err(LinkError::NotFound { end }) if end == drawing.into()));
    }
    assert_eq!(world.told(&tenant).await, (vec![], vec![]), "a refusal is told by whoever answers it");
}

#[tokio::test]
async fn what_the_type_does_not_allow_is_refused() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let things = world.things(&tenant, "rfi", user, "editor", 2).await;
    let (one, two) = (things[0], things[1]);
    for (link, text) in [
        (Link::new(one, "answers", two), "`answers` does not join `rfi` to `rfi`".to_owned()),
        (Link::new(one, "relates", one), format!("`rfi:{}` cannot be linked to itself", one.1)),
        (
            Link::new(one, "eats", two),
            "`eats` is no relationship: use one of answers, approves, blocks, cites, contains, follows, leads, \
             mirrors, pairs, relates"
                .to_owned(),
        ),
        (
            Link::new(one, "follows", two).metadata(json!({"lag": -1})),
            "metadata `/lag`: must be a whole number of at least 0".to_owned(),
        ),
    ] {
        assert_eq!(world.link(&tenant, user, link).await.unwrap_err().to_string(), text);
    }
    world.link(&tenant, user, Link::new(one, "mirrors", one)).await.unwrap();
    let page = world.linked(&tenant, user, one, Selection::new()).await;
    assert_eq!(page.links.len(), 1, "a link to itself is read once");
    let stored =
        world.link(&tenant, user, Link::new(one, "follows", two).metadata(json!({"lag": 2}))).await.unwrap();
    assert_eq!(stored.metadata, json!({"lag": 2}));
}

#[tokio::test]
async fn no_link_crosses_tenants() {
    let world = World::new().await;
    let user = Uuid::now_v7();
    for (mine, theirs) in [(Isolation::Shared, Isolation::Shared), (Isolation::Schema, Isolation::Shared)] {
        let a = world.db.tenant(&format!("a-{mine}-{theirs}"), mine).await;
        let b = world.db.tenant(&format!("b-{mine}-{theirs}"), theirs).await;
        let rfi = world.thing(&a, "rfi", user, "editor").await;
        let foreign = world.thing(&b, "drawing", user, "editor").await;
        let error = world.link(&a, user, Link::new(rfi, "answers", foreign)).await.unwrap_err();
        assert!(matches!(error, LinkError::NotFound { .. }), "{error}");

        let own = world.thing(&b, "rfi", user, "editor").await;
        let id = world.link(&b, user, Link::new(own, "answers", foreign)).await.unwrap().id;
        let mut tx = world.begin(&a, user).await;
        assert!(matches!(world.links.unlink(&mut tx, id).await, Err(LinkError::NoSuchLink)));
        assert!(world.linked(&a, user, foreign, Selection::new()).await.links.is_empty());
        // By SQL of its own: the row is refused, with a tenant or without.
        let mut tx = world.begin(&a, user).await;
        let smuggled = sqlx::query(
            "insert into entity_links (tenant_id, id, source_type, source_id, target_type, target_id, relationship,
                                       created_by)
             values ($1, gen_random_uuid(), 'rfi', $2, 'drawing', $3, 'answers', 'x')",
        )
        .bind(b.id().as_uuid())
        .bind(rfi.1)
        .bind(foreign.1)
        .execute(&mut *tx)
        .await
        .unwrap_err();
        assert!(smuggled.to_string().contains("row-level security"), "{smuggled}");
    }
}

#[tokio::test]
async fn whoever_may_link_one_end_takes_the_link_away() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, other, stranger) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    let id = world.link(&tenant, user, Link::new(rfi, "answers", drawing)).await.unwrap().id;
    world.share(&tenant, rfi, other, "viewer").await;
    let unlink = async |who: Uuid| {
        let mut tx = world.begin(&tenant, who).await;
        let taken = world.links.unlink(&mut tx, id).await;
        if taken.is_ok() {
            tx.commit().await.unwrap();
        }
        taken
    };
    assert!(matches!(unlink(stranger).await, Err(LinkError::NoSuchLink)));
    assert!(matches!(unlink(other).await, Err(LinkError::NoSuchLink)), "one end is hidden");
    world.share(&tenant, drawing, other, "viewer").await;
    assert!(matches!(unlink(other).await, Err(LinkError::Denied { .. })));
    world.share(&tenant, drawing, other, "editor").await;
    assert_eq!(unlink(other).await.unwrap().id, id);
    assert!(matches!(unlink(user).await, Err(LinkError::NoSuchLink)));
}
