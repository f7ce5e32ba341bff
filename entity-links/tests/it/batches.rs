//! Many links at once, and a whole set of them.

use formwork_entity_links::{Link, LinkError, Selection};
use formwork_tenancy::Isolation;
use uuid::Uuid;

use crate::kit::{World, end};

#[tokio::test]
async fn each_link_of_a_batch_has_its_own_answer() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, stranger) = (Uuid::now_v7(), Uuid::now_v7());
    let r = world.things(&tenant, "rfi", user, "editor", 4).await;
    let drawing = world.thing(&tenant, "drawing", user, "editor").await;
    let hidden = world.thing(&tenant, "drawing", stranger, "editor").await;
    world.link(&tenant, user, Link::new(r[0], "relates", r[1])).await.unwrap();
    let mut tx = world.begin(&tenant, user).await;
    let batch = vec![
        Link::new(r[0], "answers", drawing),
        Link::new(r[1], "relates", r[0]),
        Link::new(r[0], "answers", hidden),
        Link::new(r[0], "eats", drawing),
        Link::new(r[0], "answers", drawing),
        Link::new(r[0], "leads", r[1]),
        Link::new(r[0], "leads", r[2]),
        Link::new(r[3], "leads", r[1]),
        Link::new(r[0], "blocks", r[1]),
        Link::new(r[1], "blocks", r[2]),
        Link::new(r[2], "blocks", r[0]),
        Link::new(r[0], "pairs", r[1]),
        Link::new(r[2], "pairs", r[0]),
        Link::new(r[2], "pairs", r[3]),
    ];
    let made = world.links.link_many(&mut tx, batch).await.unwrap();
    let answers: Vec<&str> = made
        .iter()
        .map(|made| match made {
            Ok(_) => "made",
            Err(LinkError::Exists { .. }) => "exists",
            Err(LinkError::NotFound { .. }) => "not found",
            Err(LinkError::UnknownType { .. }) => "unknown",
            Err(LinkError::Full { .. }) => "full",
            Err(LinkError::Cycle { .. }) => "cycle",
            Err(_) => "other",
        })
        .collect();
    assert_eq!(
        answers,
        [
            "made",
            "exists",
            "not found",
            "unknown",
            "exists",
            "made",
            "full",
            "full",
            "made",
            "made",
            "cycle",
            "made",
            "full",
            "made"
        ]
    );
    let error = made[7].as_ref().unwrap_err().to_string();
    assert_eq!(error, format!("`rfi:{}` may have no more than 1 as `led_by`: take one away first", r[1].1));
    tx.commit().await.unwrap();
    let (events, actions) = world.told(&tenant).await;
    assert_eq!((events.len(), actions.len()), (7, 7), "one for each link that was made");

    let ids: Vec<Uuid> = made.iter().flatten().map(|link| link.id).collect();
    let mut tx = world.begin(&tenant, user).await;
    let asked = [&ids[..], &[ids[0], Uuid::nil()]].concat();
    let taken = world.links.unlink_many(&mut tx, &asked).await.unwrap();
    tx.commit().await.unwrap();
    assert!(taken[..6].iter().all(Result::is_ok));
    assert!(taken[6..].iter().all(|taken| matches!(taken, Err(LinkError::NoSuchLink))), "{taken:?}");
    assert_eq!(world.linked(&tenant, user, r[0], Selection::new()).await.links.len(), 1);
}

#[tokio::test]
async fn a_batch_takes_as_many_statements_as_one_link() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let user = Uuid::now_v7();
    let r = world.things(&tenant, "rfi", user, "editor", 200).await;
    let mut tx = world.begin(&tenant, user).await;
    let batch = r.windows(2).map(|pair| Link::new(pair[0], "blocks", pair[1])).collect();
    let made = world.links.link_many(&mut tx, batch).await.unwrap();
    assert!(made.iter().all(Result::is_ok));
    // What a statement inserts has one command id.
    let statements: i64 = sqlx::query_scalar("select count(distinct cmin::text) from entity_links")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(statements, 1);
    let none = world.links.link_many(&mut tx, vec![]).await.unwrap();
    assert!(none.is_empty());
    let many = vec![Link::new(r[0], "relates", r[1]); 10_001];
    assert!(matches!(world.links.link_many(&mut tx, many).await, Err(LinkError::TooMany { .. })));
}

#[tokio::test]
async fn a_replacement_sets_the_targets_and_leaves_what_is_hidden() {
    let world = World::new().await;
    let tenant = world.db.tenant("a", Isolation::Shared).await;
    let (user, other) = (Uuid::now_v7(), Uuid::now_v7());
    let rfi = world.thing(&tenant, "rfi", user, "editor").await;
    world.share(&tenant, rfi, other, "editor").await;
    let d = world.things(&tenant, "drawing", user, "editor", 4).await;
    let hidden = world.thing(&tenant, "drawing", other, "editor").await;
    world.link(&tenant, other, Link::new(rfi, "answers", hidden)).await.unwrap();
    let set = async |targets: &[usize]| {
        let mut tx = world.begin(&tenant, user).await;
        let targets = targets.iter().map(|n| end(d[*n])).collect();
        let replaced = world.links.replace(&mut tx, &end(rfi), "answers", targets).await.unwrap();
        tx.commit().await.unwrap();
        (replaced.linked.len(), replaced.unlinked.len(), replaced.kept)
    };
    assert_eq!(set(&[0, 1, 1]).await, (2, 0, 0));
    assert_eq!(set(&[1, 2, 3]).await, (2, 1, 1));
    assert_eq!(set(&[1, 2, 3]).await, (0, 0, 3));
    assert_eq!(set(&[]).await, (0, 3, 0));
    assert_eq!(world.count(&tenant, "answers").await, 1, "the hidden one");

    // A limit of one is no obstacle: the old one goes first.
    let r = world.things(&tenant, "rfi", user, "editor", 3).await;
    for leader in [r[1], r[2]] {
        let mut tx = world.begin(&tenant, user).await;
        world.links.replace(&mut tx, &end(r[0]), "leads", vec![end(leader)]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let now = world.linked(&tenant, user, r[0], Selection::new().relationship("leads")).await.links;
    assert_eq!(now[0].other, end(r[2]));
}
