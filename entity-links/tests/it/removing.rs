//! What goes with an entity.

use formwork_entity_links::{Cascade, Link, LinkError, Selection};
use formwork_tenancy::{Isolation, Tenant, TenantTx};
use uuid::Uuid;

use crate::kit::{Thing, World, end};

fn cascade() -> Cascade {
    Cascade::with_permission("delete")
}

async fn delete_row(tx: &mut TenantTx, thing: Thing) {
    sqlx::query("delete from things where id = $1").bind(thing.1).execute(&mut **tx).await.unwrap();
}

async fn things(world: &World, tenant: &Tenant) -> i64 {
    let mut tx = world.begin(tenant, Uuid::nil()).await;
    sqlx::query_scalar("select count(*) from things").fetch_one(&mut *tx).await.unwrap()
}

#[tokio::test]
async fn a_cascade_takes_along_what_it_has_said_before() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let f = world.things(&tenant, "folder", user, "editor", 3).await;
    let r = world.things(&tenant, "rfi", user, "editor", 3).await;
    for link in [
        Link::new(f[0], "contains", f[1]),
        Link::new(f[0], "contains", r[0]),
        Link::new(f[1], "contains", r[1]),
        Link::new(f[2], "contains", r[2]),
        Link::new(r[0], "relates", r[2]),
        // It holds what it approves, but goes itself.
        Link::new(r[0], "approves", r[1]),
    ] {
        world.link(&tenant, user, link).await.unwrap();
    }
    let mut tx = world.begin(&tenant, user).await;
    let planned = world.links.removal(&mut tx, &end(f[0]), &cascade()).await.unwrap();
    assert_eq!(planned.entities, [end(f[1]), end(r[0]), end(r[1])].into());
    assert_eq!(planned.links.len(), 5);
    drop(tx);
    assert_eq!(
        (things(&world, &tenant).await, world.count(&tenant, "contains").await),
        (6, 4),
        "nothing is changed"
    );

    let mut tx = world.begin(&tenant, user).await;
    delete_row(&mut tx, f[0]).await;
    let removed = world.links.remove(&mut tx, &end(f[0]), &cascade()).await.unwrap();
    assert_eq!((&removed.entities, &removed.links), (&planned.entities, &planned.links));
    tx.commit().await.unwrap();
    assert_eq!((things(&world, &tenant).await, world.count(&tenant, "contains").await), (2, 1));
    assert!(
        world.linked(&tenant, user, r[2], Selection::new()).await.links.iter().all(|l| l.other == end(f[2]))
    );
    let (events, actions) = world.told(&tenant).await;
    assert_eq!(events, actions);
    let count = |action: &str| actions.iter().filter(|told| *told == action).count();
    assert_eq!((count("entity.linked"), count("entity.unlinked"), count("entity.removed")), (6, 5, 3));
}

#[tokio::test]
async fn a_removal_that_may_not_be_changes_nothing() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let f = world.things(&tenant, "folder", user, "editor", 3).await;
    let r = world.things(&tenant, "rfi", user, "editor", 4).await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    let refused = async |thing: Thing, cascade: Cascade| {
        let mut tx = world.begin(&tenant, user).await;
        let planned = world.links.removal(&mut tx, &end(thing), &cascade).await.unwrap_err();
        delete_row(&mut tx, thing).await;
        let error = world.links.remove(&mut tx, &end(thing), &cascade).await.unwrap_err();
        assert_eq!(planned.to_string(), error.to_string());
        tx.rollback().await.unwrap();
        error
    };
    // Held by something that stays.
    world.link(&tenant, user, Link::new(r[0], "approves", r[1])).await.unwrap();
    world.link(&tenant, user, Link::new(f[0], "contains", r[1])).await.unwrap();
    for held in [r[1], f[0]] {
        match refused(held, cascade()).await {
            LinkError::Blocked { links: 1, by, .. } => assert_eq!(by, [end(r[0])]),
            error => panic!("{error}"),
        }
    }
    // More than was asked for.
    for n in [2, 3] {
        world.link(&tenant, user, Link::new(f[1], "contains", r[n])).await.unwrap();
    }
    assert!(matches!(refused(f[1], cascade().at_most(1)).await, LinkError::TooMany { most: 1, .. }));
    // Without the permission, seen and unseen.
    let locked = world.thing(&tenant, "rfi", other, "editor").await;
    world.share(&tenant, f[1], other, "editor").await;
    world.link(&tenant, other, Link::new(f[1], "contains", locked)).await.unwrap();
    assert!(
        matches!(refused(f[1], cascade()).await, LinkError::CannotCascade { end: at } if at == end(f[1]))
    );
    world.share(&tenant, locked, user, "viewer").await;
    assert!(
        matches!(refused(f[1], cascade()).await, LinkError::Denied { permission, .. } if permission == "delete")
    );
    // What the application does not remove is not forgotten.
    world.link(&tenant, user, Link::new(f[2], "contains", drawing)).await.unwrap();
    let mut tx = world.begin(&tenant, user).await;
    delete_row(&mut tx, f[2]).await;
    let error = world.links.remove(&mut tx, &end(f[2]), &cascade()).await.unwrap_err();
    assert!(matches!(error, LinkError::NotRemoved { left: 1, .. }), "{error}");
    drop(tx);
    assert_eq!(things(&world, &tenant).await, 9);
}

/// A link that is being made to something that goes waits for it, and then finds nothing to be linked to.
#[tokio::test]
async fn no_link_is_made_to_what_is_going() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let folder = world.thing(&tenant, "folder", user, "editor").await;
    let r = world.things(&tenant, "rfi", user, "editor", 2).await;
    world.link(&tenant, user, Link::new(folder, "contains", r[0])).await.unwrap();
    let mut tx = world.begin(&tenant, user).await;
    delete_row(&mut tx, folder).await;
    world.links.remove(&mut tx, &end(folder), &cascade()).await.unwrap();
    let late = world.link(&tenant, user, Link::new(r[1], "relates", r[0]));
    let commit = async {
        tx.commit().await.unwrap();
    };
    let (late, ()) = tokio::join!(late, commit);
    assert!(matches!(late, Err(LinkError::NotFound { .. })), "{late:?}");
    let mut tx = world.begin(&tenant, user).await;
    let left: i64 =
        sqlx::query_scalar("select count(*) from entity_links").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(left, 0);
}
