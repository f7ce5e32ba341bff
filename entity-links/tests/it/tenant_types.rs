//! Link types that a tenant has of its own.

use formwork_entity_links::{Field, InvalidLinkType, Link, LinkError, LinkType, MetadataSchema, Selection};
use formwork_tenancy::{Isolation, Tenant};
use serde_json::json;
use uuid::Uuid;

use crate::kit::World;

async fn define(world: &World, tenant: &Tenant, user: Uuid, link_type: LinkType) -> Result<(), LinkError> {
    let mut tx = world.begin(tenant, user).await;
    world.links.define(&mut tx, link_type).await?;
    tx.commit().await.unwrap();
    Ok(())
}

fn warranty() -> LinkType {
    LinkType::new("warranty_of", "under_warranty")
        .max_targets(1)
        .metadata(MetadataSchema::new().required("months", Field::Integer { min: Some(1), max: None }))
}

#[tokio::test]
async fn a_type_of_one_tenant_is_no_other_tenants() {
    let world = World::new().await;
    let user = Uuid::now_v7();
    let (a, b) =
        (world.db.tenant("a", Isolation::Shared).await, world.db.tenant("b", Isolation::Shared).await);
    define(&world, &a, user, warranty()).await.unwrap();
    define(&world, &a, user, warranty()).await.unwrap();
    for (tenant, known) in [(&a, true), (&b, false)] {
        let r = world.things(tenant, "rfi", user, "editor", 3).await;
        let link = |n: usize| Link::new(r[0], "warranty_of", r[n]).metadata(json!({"months": 24}));
        let made = world.link(tenant, user, link(1)).await;
        if !known {
            assert!(matches!(made, Err(LinkError::UnknownType { .. })), "{made:?}");
            continue;
        }
        made.unwrap();
        let second = world.link(tenant, user, link(2)).await;
        assert!(matches!(second, Err(LinkError::Full { most: 1, .. })), "{second:?}");
        let bare = world.link(tenant, user, Link::new(r[1], "warranty_of", r[2])).await;
        assert!(matches!(bare, Err(LinkError::Metadata(error)) if error.pointer() == "/months"));
        let read = world.linked(tenant, user, r[1], Selection::new().relationship("under_warranty")).await;
        assert_eq!(read.links[0].name, "under_warranty");
    }
    assert_eq!(world.told(&a).await.1, ["link_type.defined", "entity.linked"]);
}

#[tokio::test]
async fn a_type_with_links_stays_as_it_is() {
    let world = World::new().await;
    let user = Uuid::now_v7();
    let tenant = world.db.tenant("a", Isolation::Schema).await;
    for taken in [LinkType::new("blocks", "other"), LinkType::new("other", "answered_by")] {
        let error = define(&world, &tenant, user, taken).await.unwrap_err();
        assert!(matches!(error, LinkError::InvalidType(InvalidLinkType::Twice { .. })), "{error}");
    }
    define(&world, &tenant, user, LinkType::new("warranty_of", "covered_by")).await.unwrap();
    define(&world, &tenant, user, warranty()).await.unwrap();
    let again = define(&world, &tenant, user, LinkType::new("guards", "under_warranty")).await.unwrap_err();
    assert!(matches!(again, LinkError::InvalidType(InvalidLinkType::Twice { .. })), "{again}");
    let r = world.things(&tenant, "rfi", user, "editor", 2).await;
    let link = Link::new(r[0], "warranty_of", r[1]).metadata(json!({"months": 1}));
    let id = world.link(&tenant, user, link).await.unwrap().id;
    let error = define(&world, &tenant, user, warranty().acyclic()).await.unwrap_err();
    assert_eq!(error.to_string(), "`warranty_of` has 1 links: take them away first");
    let mut tx = world.begin(&tenant, user).await;
    assert!(matches!(world.links.undefine(&mut tx, "warranty_of").await, Err(LinkError::TypeInUse { .. })));
    drop(tx);
    let mut tx = world.begin(&tenant, user).await;
    world.links.unlink(&mut tx, id).await.unwrap();
    world.links.undefine(&mut tx, "warranty_of").await.unwrap();
    assert!(matches!(world.links.undefine(&mut tx, "blocks").await, Err(LinkError::UnknownType { .. })));
    assert_eq!(
        world.links.types_in(&mut tx).await.unwrap().iter().count(),
        world.links.types().iter().count()
    );
    tx.commit().await.unwrap();
}

/// Whoever makes a link of a type holds the type: it changes before or after, never meanwhile.
#[tokio::test]
async fn a_type_does_not_change_under_a_link_that_is_being_made() {
    let world = World::new().await;
    let user = Uuid::now_v7();
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    define(&world, &tenant, user, LinkType::new("warranty_of", "covered_by")).await.unwrap();
    let r = world.things(&tenant, "rfi", user, "editor", 2).await;
    let mut tx = world.begin(&tenant, user).await;
    world.links.link(&mut tx, Link::new(r[0], "warranty_of", r[1])).await.unwrap();
    let change = define(&world, &tenant, user, warranty());
    let commit = async {
        tx.commit().await.unwrap();
    };
    let (changed, ()) = tokio::join!(change, commit);
    assert!(matches!(changed, Err(LinkError::TypeInUse { links: 1, .. })), "{changed:?}");
}
