//! Two entities become one.

use std::collections::BTreeSet;

use formwork_entity_links::{Link, LinkError, Merged, Selection};
use formwork_tenancy::{Isolation, Tenant};
use uuid::Uuid;

use crate::kit::{Thing, World, end};

async fn merge(
    world: &World,
    tenant: &Tenant,
    user: Uuid,
    from: Thing,
    into: Thing,
) -> Result<Merged, LinkError> {
    let mut tx = world.begin(tenant, user).await;
    let merged = world.links.merge(&mut tx, &end(from), &end(into)).await?;
    tx.commit().await.unwrap();
    Ok(merged)
}

#[tokio::test]
async fn links_move_once_and_what_was_there_stays() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 5).await;
    let (twin, kept) = (r[0], r[1]);
    let made = async |link| world.link(&tenant, user, link).await.unwrap().id;
    let own = made(Link::new(kept, "relates", r[2])).await;
    let same = made(Link::new(r[2], "relates", twin)).await;
    let between = made(Link::new(twin, "blocks", kept)).await;
    let out = made(Link::new(twin, "blocks", r[3])).await;
    let back = made(Link::new(r[4], "relates", twin)).await;
    let merged = merge(&world, &tenant, user, twin, kept).await.unwrap();
    let set = |ids: &[Uuid]| ids.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(set(&merged.moved), set(&[out, back]));
    assert_eq!(set(&merged.dropped), set(&[same, between]));
    assert!(world.linked(&tenant, user, twin, Selection::new()).await.links.is_empty());
    let now = world.linked(&tenant, user, kept, Selection::new()).await.links;
    assert_eq!(now.iter().map(|linked| linked.link.id).collect::<BTreeSet<_>>(), set(&[own, out, back]));
    // A symmetric link is in its one order again: it cannot be made a second time.
    for link in [Link::new(r[4], "relates", kept), Link::new(kept, "relates", r[4])] {
        assert!(matches!(world.link(&tenant, user, link).await, Err(LinkError::Exists { .. })));
    }
    let (events, actions) = world.told(&tenant).await;
    assert_eq!(
        (events.last(), actions.last()),
        (Some(&"entity.links_merged".into()), Some(&"entity.links_merged".into()))
    );
    let mut tx = world.begin(&tenant, user).await;
    let history = world.links.history(&mut tx, &end(kept), None, 10).await.unwrap().events;
    assert_eq!(history[0].action, "entity.links_merged");
}

#[tokio::test]
async fn a_merge_breaks_no_rule() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let r = world.things(&tenant, "rfi", user, "editor", 9).await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    let foreign = world.thing(&tenant, "rfi", other, "editor").await;
    let kinds = merge(&world, &tenant, user, drawing, r[0]).await.unwrap_err();
    assert!(matches!(kinds, LinkError::DifferentKinds { .. }), "{kinds}");
    assert!(matches!(merge(&world, &tenant, user, r[0], r[0]).await, Err(LinkError::Itself { .. })));
    assert!(matches!(merge(&world, &tenant, user, foreign, r[0]).await, Err(LinkError::NotFound { .. })));

    let made = async |from, relationship: &str, to| {
        world.link(&tenant, user, Link::new(from, relationship, to)).await.unwrap();
    };
    made(r[0], "leads", r[2]).await;
    made(r[1], "leads", r[3]).await;
    let error = merge(&world, &tenant, user, r[0], r[1]).await.unwrap_err();
    assert!(matches!(&error, LinkError::Full { name, most: 1, .. } if name == "leads"), "{error}");
    for n in [4, 5] {
        made(r[2], "cites", r[n]).await;
        made(r[3], "cites", r[n + 2]).await;
    }
    made(r[3], "cites", r[4]).await;
    let error = merge(&world, &tenant, user, r[2], r[3]).await.unwrap_err();
    assert!(matches!(&error, LinkError::Full { .. }), "{error}");
    made(r[4], "blocks", r[5]).await;
    made(r[5], "blocks", r[6]).await;
    let error = merge(&world, &tenant, user, r[6], r[4]).await.unwrap_err();
    assert!(matches!(&error, LinkError::Cycle { .. }), "{error}");
    assert_eq!(world.count(&tenant, "blocks").await, 2, "a refused merge is dropped");
}
