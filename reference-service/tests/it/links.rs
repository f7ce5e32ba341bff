//! `/api/v1/links` and `/api/v1/:type/:id/linked/:target`.

use std::collections::BTreeSet;

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Member, Service, Site, link, uuid};

async fn site() -> (Site, Member) {
    let site = Service::start().await.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Owner).await;
    (site, ada)
}

/// `relationship kind` of everything that is linked, in order.
async fn linked(reader: &Member, path: &str) -> Vec<String> {
    let rows = reader.walk(&format!("/api/v1/{path}?limit=1")).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| {
            format!(
                "{} {} {}",
                text(&row["direction"]),
                text(&row["relationship"]),
                text(&row["other"]["type"])
            )
        })
        .collect()
}

#[tokio::test]
async fn a_link_is_read_from_both_ends() {
    let (_, ada) = site().await;
    let project = ada.project("Bridge").await;
    let (board, columns) = ada.board(None).await;
    let task = ada.task("T", board, columns[0]).await;
    let mut body = link(("task", task), "blocks", ("project", project));
    body["metadata"] = json!({"why": "no crane"});
    let made = ada.post("/api/v1/links", body).await.is(201).json();
    assert_eq!(made["metadata"], json!({"why": "no crane"}));
    assert_eq!(made["created_by"], format!("user:{}", ada.id));
    ada.link(("project", project), "relates", ("board", board)).await;
    ada.link(("project", project), "answers", ("task", task)).await;

    let of_project = format!("projects/{project}/linked");
    let all = ["inverse blocked_by task", "inverse relates board", "forward answers task"];
    let relates = linked(&ada, &format!("{of_project}/*")).await;
    assert_eq!(relates.len(), 3);
    assert_eq!([&relates[0], &relates[2]], [all[0], all[2]]);
    assert!(relates[1].ends_with(" relates board"), "a symmetric link is read the same from both ends");
    for target in ["tasks", "task"] {
        assert_eq!(linked(&ada, &format!("{of_project}/{target}")).await, [all[0], all[2]]);
    }
    assert_eq!(linked(&ada, &format!("{of_project}/projects")).await, Vec::<String>::new());
    assert_eq!(
        linked(&ada, &format!("tasks/{task}/linked/*")).await,
        ["forward blocks project", "inverse answered_by project"]
    );
    assert_eq!(linked(&ada, &format!("task-boards/{board}/linked/projects")).await.len(), 1);
    let row = ada.walk(&format!("/api/v1/tasks/{task}/linked/*?limit=1")).await[0].clone();
    assert_eq!((&row["link"], &row["other"]), (&made, &json!({"type": "project", "id": project})));
}

#[tokio::test]
async fn a_link_is_made_once() {
    let (_, ada) = site().await;
    let (one, two) = (ada.project("One").await, ada.project("Two").await);
    let (one, two) = (("project", one), ("project", two));
    ada.link(one, "blocks", two).await;
    ada.post("/api/v1/links", link(one, "blocks", two)).await.problem(409, "already-linked");
    // The other direction, and another relationship, are other links; a symmetric one has no direction.
    ada.link(two, "blocks", one).await;
    ada.link(one, "relates", two).await;
    ada.post("/api/v1/links", link(two, "relates", one)).await.problem(409, "already-linked");
    let again = || ada.post("/api/v1/links", link(one, "supersedes", two));
    let (first, second) = tokio::join!(again(), again());
    assert_eq!(BTreeSet::from([first.status, second.status]), BTreeSet::from([201, 409]));
    assert_eq!(ada.walk(&format!("/api/v1/projects/{}/linked/*?limit=2", one.1)).await.len(), 4);
}

#[tokio::test]
async fn what_makes_no_link_is_refused() {
    let (_, ada) = site().await;
    let (one, two) = (ada.project("One").await, ada.project("Two").await);
    let ends = |kind: &'static str| ((kind, one), ("project", two));
    let project = ("project", one);
    ada.post("/api/v1/links", link(project, "blocks", project)).await.refuses("/target");
    ada.post("/api/v1/links", link(project, "eats", ends("project").1)).await.refuses("/relationship");
    for kind in ["user", "organization", "team", "projects", ""] {
        ada.post("/api/v1/links", link(ends(kind).0, "blocks", ends(kind).1)).await.refuses("/source/type");
    }
    // An id of another type is nobody's id.
    ada.post("/api/v1/links", link(("task", one), "blocks", ("project", two)))
        .await
        .problem(404, "not-found");
    for (field, value, pointer) in [
        ("metadata", json!(3), "/metadata"),
        ("metadata", json!({"a": "\u{0}"}), "/metadata/a"),
        ("source", json!({"type": "project", "id": "x"}), "/source/id"),
        ("source", json!({"type": "project", "id": one, "tenant_id": two}), "/source/tenant_id"),
        ("created_by", json!("user:me"), "/created_by"),
    ] {
        let mut body = link(("project", one), "blocks", ("project", two));
        body[field] = value;
        ada.post("/api/v1/links", body).await.refuses(pointer);
    }
    assert_eq!(ada.walk(&format!("/api/v1/projects/{one}/linked/*?limit=2")).await, Vec::<Value>::new());
    ada.get(format!("/api/v1/projects/{one}/linked/users")).await.refuses("target");
    ada.get(format!("/api/v1/projects/{one}/linked/%FF")).await.problem(404, "not-found");
    ada.get(format!("/api/v1/projects/{one}/linked/*?cursor=abc")).await.refuses("cursor");
    ada.get(format!("/api/v1/projects/{one}/linked/*?limit=0")).await.refuses("limit");
}

/// The other end may be hidden: then the link does not show, is not counted, and does not cut the list short.
#[tokio::test]
async fn a_hidden_end_hides_the_link() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let hub = ada.project("Hub").await;
    site.relate(&format!("project:{hub}#member@user:{}", mia.id)).await;
    let (mut shown, mut hidden) = (Vec::new(), Vec::new());
    for number in 0..12 {
        let other = ada.project("Other").await;
        let link = ada.link(("project", other), "blocks", ("project", hub)).await;
        if number % 5 == 0 {
            site.relate(&format!("project:{other}#observer@user:{}", mia.id)).await;
            shown.push(link);
        } else {
            hidden.push(link);
        }
    }
    for limit in [1, 2, 3, 50] {
        let rows = mia.walk(&format!("/api/v1/projects/{hub}/linked/*?limit={limit}")).await;
        assert_eq!(
            rows.iter().map(|row| uuid(&row["link"]["id"])).collect::<Vec<_>>(),
            shown,
            "limit {limit}"
        );
    }
    // It cannot be taken away either, and its id says nothing.
    let there = mia.delete(format!("/api/v1/links/{}", hidden[0])).await;
    let nowhere = mia.delete(format!("/api/v1/links/{}", Uuid::now_v7())).await;
    there.problem(404, "not-found");
    assert_eq!(there.apart_from_correlation(), nowhere.apart_from_correlation());
}

#[tokio::test]
async fn both_ends_must_be_linkable() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let (own, seen, unseen) =
        (ada.project("Own").await, ada.project("Seen").await, ada.project("Unseen").await);
    site.relate(&format!("project:{own}#member@user:{}", mia.id)).await;
    site.relate(&format!("project:{seen}#observer@user:{}", mia.id)).await;
    let ends = |a, b| link(("project", a), "blocks", ("project", b));
    for (a, b) in [(own, seen), (seen, own)] {
        mia.post("/api/v1/links", ends(a, b)).await.problem(403, "permission-denied");
    }
    for (a, b) in [(own, unseen), (unseen, own)] {
        mia.post("/api/v1/links", ends(a, b)).await.problem(404, "not-found");
    }
    // Whoever may link one end may take the link away.
    let made = ada.link(("project", own), "blocks", ("project", seen)).await;
    let beside = ada.link(("project", seen), "blocks", ("project", seen_too(&ada, &site, &mia).await)).await;
    mia.delete(format!("/api/v1/links/{beside}")).await.problem(403, "permission-denied");
    mia.delete(format!("/api/v1/links/{made}")).await.is(204);
    mia.delete(format!("/api/v1/links/{made}")).await.problem(404, "not-found");
    assert_eq!(mia.walk(&format!("/api/v1/projects/{own}/linked/*?limit=9")).await, Vec::<Value>::new());
}

/// One more project that Mia may only look at.
async fn seen_too(ada: &Member, site: &Site, mia: &Member) -> Uuid {
    let project = ada.project("Seen too").await;
    site.relate(&format!("project:{project}#observer@user:{}", mia.id)).await;
    project
}

/// Whether a hidden project exists must not show in the answer about the other end.
#[tokio::test]
async fn a_hidden_end_is_as_unknown_as_none() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let hidden = ada.project("Hidden").await;
    let own = mia.post("/api/v1/tasks", json!({"title": "Own"})).await.is(201).id();
    for task in [own, Uuid::now_v7()] {
        let forth =
            async |end| mia.post("/api/v1/links", link(("project", end), "blocks", ("task", task))).await;
        let back =
            async |end| mia.post("/api/v1/links", link(("task", task), "blocks", ("project", end))).await;
        let (real, random) = (forth(hidden).await, forth(Uuid::now_v7()).await);
        real.problem(404, "not-found");
        assert_eq!(real.apart_from_correlation(), random.apart_from_correlation());
        let (real, random) = (back(hidden).await, back(Uuid::now_v7()).await);
        real.problem(404, "not-found");
        assert_eq!(real.apart_from_correlation(), random.apart_from_correlation());
    }
}

#[tokio::test]
async fn a_removed_end_takes_its_links_out_of_sight() {
    let (_, ada) = site().await;
    let (one, two) = (ada.project("One").await, ada.project("Two").await);
    ada.link(("project", one), "blocks", ("project", two)).await;
    ada.delete(format!("/api/v1/projects/{two}")).await.is(204);
    assert_eq!(ada.walk(&format!("/api/v1/projects/{one}/linked/*?limit=1")).await, Vec::<Value>::new());
    ada.post("/api/v1/links", link(("project", one), "answers", ("project", two)))
        .await
        .problem(404, "not-found");
}

/// What is refused is told in its place, by the code of a problem; the others are made.
#[tokio::test]
async fn each_link_of_a_bulk_has_its_own_answer() {
    let (_, ada) = site().await;
    let (one, two) = (("project", ada.project("One").await), ("project", ada.project("Two").await));
    let ends = [(one, "blocks", two), (one, "blocks", two), (one, "parent", two), (two, "parent", one)];
    let mut links: Vec<Value> = ends.into_iter().map(|(from, name, to)| link(from, name, to)).collect();
    links.push(link(one, "eats", two));
    links.push(link(one, "blocks", ("project", Uuid::now_v7())));
    let made = ada.post("/api/v1/links/bulk", json!({"links": links})).await.is(200).json();
    let answer = |row: &Value| row["error"]["code"].as_str().unwrap_or("made").to_owned();
    let answers: Vec<String> = made["data"].as_array().unwrap().iter().map(answer).collect();
    assert_eq!(answers, ["made", "already-linked", "made", "link-cycle", "invalid-request", "not-found"]);
    assert_eq!(ada.walk(&format!("/api/v1/projects/{}/linked/*?limit=1", one.1)).await.len(), 2);
    let wrong = json!({"links": [link(one, "blocks", ("team", two.1))]});
    ada.post("/api/v1/links/bulk", wrong).await.refuses("/links/0/target/type");
    let many = json!({"links": vec![link(one, "blocks", two); 1_001]});
    ada.post("/api/v1/links/bulk", many).await.refuses("/links");
}

#[tokio::test]
async fn a_graph_goes_through_what_may_be_seen() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let mut chain = Vec::new();
    for _ in 0..4 {
        chain.push(ada.project("P").await);
    }
    for pair in chain.windows(2) {
        ada.link(("project", pair[0]), "blocks", ("project", pair[1])).await;
    }
    for seen in [chain[0], chain[1], chain[3]] {
        site.relate(&format!("project:{seen}#observer@user:{}", mia.id)).await;
    }
    let ends = async |who: &Member, depth: &str| -> Vec<Uuid> {
        let graph = who.get(format!("/api/v1/projects/{}/graph{depth}", chain[0])).await.is(200).json();
        assert_eq!(graph["cut"], json!([]));
        graph["steps"].as_array().unwrap().iter().map(|step| uuid(&step["end"]["id"])).collect()
    };
    assert_eq!(ends(&ada, "").await, chain[1..3]);
    assert_eq!(ends(&ada, "?depth=5").await, chain[1..]);
    assert_eq!(ends(&mia, "?depth=5").await, chain[1..2], "no way leads through what is hidden");
    ada.get(format!("/api/v1/projects/{}/graph?depth=6", chain[0])).await.refuses("depth");
    mia.get(format!("/api/v1/projects/{}/graph", chain[2])).await.problem(404, "not-found");
}

#[tokio::test]
async fn links_are_listed_by_source_by_target_and_between_two() {
    let (_, ada) = site().await;
    let (one, two, three) = (ada.project("1").await, ada.project("2").await, ada.project("3").await);
    let (a, b, c) = (("project", one), ("project", two), ("project", three));
    let blocks = ada.link(a, "blocks", b).await;
    let blocked = ada.link(c, "blocks", a).await;
    let relates = ada.link(b, "relates", a).await;
    let answers = ada.link(a, "answers", c).await;
    let ids = async |query: String| -> Vec<Uuid> {
        let rows = ada.walk(&format!("/api/v1/links?limit=1&{query}")).await;
        rows.iter().map(|row| uuid(&row["id"])).collect()
    };
    assert_eq!(ids(format!("source=project:{one}")).await, [blocks, relates, answers]);
    assert_eq!(ids(format!("target=project:{one}")).await, [blocked, relates], "each end of a symmetric one");
    assert_eq!(ids(format!("source=project:{one}&relationship=blocks")).await, [blocks]);
    assert_eq!(ids(format!("target=project:{one}&relationship=blocks")).await, [blocked]);
    assert_eq!(ids(format!("source=project:{one}&target=project:{three}")).await, [answers]);
    assert_eq!(ids(format!("source=project:{one}&target=project:{two}")).await, [blocks, relates]);
    for query in [
        String::new(),
        "source=project".to_owned(),
        "source=user:x".to_owned(),
        format!("source=user:{one}"),
        format!("source=project:{one}&relationship=eats"),
        format!("source=project:{one}&depth=2"),
    ] {
        ada.get(format!("/api/v1/links?{query}")).await.is(422);
    }
}

#[tokio::test]
async fn what_is_removed_takes_its_links_along() {
    let (site, ada) = site().await;
    let (one, two) = (ada.project("1").await, ada.project("2").await);
    let gone = ada.link(("project", one), "blocks", ("project", two)).await;
    ada.delete(format!("/api/v1/projects/{one}")).await.is(204);
    ada.delete(format!("/api/v1/links/{gone}")).await.problem(404, "not-found");
    assert!(
        site.rows().await.get("entity_links").is_none_or(Vec::is_empty),
        "{:?}",
        site.rows().await.keys()
    );
    let actions: Vec<Value> = ada
        .walk("/api/v1/audit?limit=200")
        .await
        .into_iter()
        .take(2)
        .map(|event| event["action"].clone())
        .collect();
    assert_eq!(actions, ["project.deleted", "entity.unlinked"]);
}
