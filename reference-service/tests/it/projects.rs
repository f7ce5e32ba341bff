//! `/api/v1/projects`.

use std::collections::BTreeSet;

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ask, Member, Service, Site, uuid};

async fn site() -> (Site, Member) {
    let site = Service::start().await.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Owner).await;
    (site, ada)
}

fn path(id: Uuid) -> String {
    format!("/api/v1/projects/{id}")
}

#[tokio::test]
async fn a_project_is_made_and_shown() {
    let (_, ada) = site().await;
    let new = json!({
        "name": "  Harbour bridge ", "number": "P-1", "address": "1 Quay", "description": "Long", "contractor": "Kay",
        "owner": "City", "stage": "course_of_construction", "status": "inactive", "applied_on": "1984-02-29",
        "issued_on": "1984-03-01", "completed_on": null, "valuation": "1200.50", "currency": "USD",
    });
    let made = ada.post("/api/v1/projects", new).await.is(201).json();
    for (field, value) in [
        ("name", json!("Harbour bridge")),
        ("number", json!("P-1")),
        ("stage", json!("course_of_construction")),
        ("status", json!("inactive")),
        ("applied_on", json!("1984-02-29")),
        ("completed_on", json!(null)),
        ("currency", json!("USD")),
        ("created_by", json!(format!("user:{}", ada.id))),
        ("version", json!(1)),
        ("permitted_actions", json!(["view", "edit", "link", "archive", "delete"])),
    ] {
        assert_eq!(made[field], value, "{field}");
    }
    assert_eq!(made["valuation"].as_str().unwrap().trim_end_matches('0'), "1200.5");
    let shown = ada.get(path(uuid(&made["id"]))).await.is(200).json();
    assert_eq!(shown, made);
}

#[tokio::test]
async fn what_is_not_given_has_a_default() {
    let (_, ada) = site().await;
    let made = ada.post("/api/v1/projects", json!({"name": "Bridge"})).await.is(201).json();
    assert_eq!(
        (&made["stage"], &made["status"], &made["currency"]),
        (&json!("pre_construction"), &json!("active"), &json!("KWD"))
    );
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let (_, ada) = site().await;
    let long = "x".repeat(501);
    for (field, value) in [
        ("name", json!(" ")),
        ("name", json!(long)),
        ("name", json!(null)),
        ("number", json!("")),
        ("address", json!(long)),
        ("owner", json!(7)),
        ("stage", json!("begun")),
        ("status", json!(null)),
        ("applied_on", json!("29.2.1984")),
        ("applied_on", json!("1983-02-29")),
        ("applied_on", json!("-5000-01-01")),
        ("completed_on", json!("+12345-01-01")),
        ("valuation", json!("-1")),
        ("valuation", json!("0.0001")),
        ("valuation", json!("1000000000000000")),
        ("valuation", json!("many")),
        ("currency", json!("usd")),
        ("description", json!("a\u{0}b")),
        ("nonesuch", json!(1)),
    ] {
        let mut body = json!({"name": "Bridge"});
        body[field] = value.clone();
        let answer = ada.post("/api/v1/projects", body).await;
        assert_eq!(answer.status, 422, "{field} {value}: {}", answer.body);
        answer.refuses(&format!("/{field}"));
    }
    let project = ada.project("Bridge").await;
    for (field, value) in [
        ("name", json!(null)),
        ("stage", json!(null)),
        ("status", json!("gone")),
        ("currency", json!(null)),
        ("valuation", json!("-1")),
        ("applied_on", json!("-5000-01-01")),
        ("number", json!("a\u{0}b")),
        ("tenant_id", json!(Uuid::now_v7())),
        ("deleted_at", json!(null)),
        ("version", json!(9)),
    ] {
        let answer = ada.patch(path(project), json!({field: value})).await;
        assert_eq!(answer.status, 422, "{field} {value}: {}", answer.body);
        answer.refuses(&format!("/{field}"));
    }
    assert_eq!(ada.get(path(project)).await.json()["version"], 1, "nothing of it was stored");
}

#[tokio::test]
async fn a_list_is_complete_and_without_repeats() {
    let (site, ada) = site().await;
    let bob = site.member("bob", Role::Manager).await;
    let (mut own, mut all) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..23 {
        let maker = if number % 3 == 0 { &bob } else { &ada };
        let id = maker.project(&format!("Project {number}")).await;
        all.insert(id);
        if number % 3 == 0 {
            own.insert(id);
        }
    }
    for (reader, expected) in [(&ada, &all), (&bob, &own)] {
        for limit in [1, 7, 8, 23, 200] {
            let rows = reader.walk(&format!("/api/v1/projects?limit={limit}")).await;
            let ids: Vec<Uuid> = rows.iter().map(|row| uuid(&row["id"])).collect();
            assert!(ids.is_sorted_by(|a, b| a > b), "newest first");
            assert_eq!(ids.iter().copied().collect::<BTreeSet<_>>(), *expected, "limit {limit}");
        }
    }
}

/// Many that may not be seen lie between the few that may: the steps grow, and nothing is lost at their seams.
#[tokio::test]
async fn hidden_rows_do_not_cut_a_list_short() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let mut shown = BTreeSet::new();
    for number in 0..40 {
        let id = ada.project("Hidden").await;
        if [0, 1, 17, 39].contains(&number) {
            site.relate(&format!("project:{id}#observer@user:{}", mia.id)).await;
            shown.insert(id);
        }
    }
    for limit in [1, 2, 3, 4] {
        let rows = mia.walk(&format!("/api/v1/projects?limit={limit}")).await;
        assert_eq!(rows.len(), 4);
        assert_eq!(rows.iter().map(|row| uuid(&row["id"])).collect::<BTreeSet<_>>(), shown);
    }
}

#[tokio::test]
async fn filters_narrow_a_list() {
    let (_, ada) = site().await;
    for (number, stage, status) in
        [("1", "completed", "inactive"), ("2", "completed", "active"), ("3", "canceled", "active")]
    {
        let new = json!({"name": "P", "number": number, "stage": stage, "status": status});
        ada.post("/api/v1/projects", new).await.is(201);
    }
    for (filter, expected) in [
        ("filter[number]=2", vec!["2"]),
        ("filter[stage]=completed", vec!["2", "1"]),
        ("filter[status]=active", vec!["3", "2"]),
        ("filter[stage]=completed&filter[status]=active", vec!["2"]),
        ("filter[number]=2'%20or%201=1--", vec![]),
    ] {
        let rows = ada.walk(&format!("/api/v1/projects?limit=1&{filter}")).await;
        let numbers: Vec<&str> = rows.iter().map(|row| row["number"].as_str().unwrap()).collect();
        assert_eq!(numbers, expected, "{filter}");
    }
    for bad in [
        "filter[stage]=begun",
        "filter[nonesuch]=1",
        "filter[number]=%00",
        "filter[number]=1&filter[number]=2",
    ] {
        ada.get(format!("/api/v1/projects?{bad}")).await.problem(422, "invalid-request");
    }
}

#[tokio::test]
async fn a_change_leaves_what_is_absent_and_clears_what_is_null() {
    let (_, ada) = site().await;
    let new = json!({"name": "Bridge", "number": "P-1", "address": "1 Quay", "valuation": "5"});
    let id = ada.post("/api/v1/projects", new).await.is(201).id();
    let changed = ada
        .patch(path(id), json!({"number": null, "valuation": null, "name": "Tunnel"}))
        .await
        .is(200)
        .json();
    for (field, value) in [
        ("name", json!("Tunnel")),
        ("number", json!(null)),
        ("valuation", json!(null)),
        ("address", json!("1 Quay")),
        ("version", json!(2)),
    ] {
        assert_eq!(changed[field], value, "{field}");
    }
    // What changes nothing is no change.
    let same = ada.patch(path(id), json!({"name": "Tunnel"})).await.is(200).json();
    assert_eq!(same, changed);
    ada.patch(path(id), json!({})).await.is(200);
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let (_, ada) = site().await;
    let id = ada.project("Bridge").await;
    let change =
        |name: &str, version: &str| Ask::patch(path(id), json!({"name": name})).header("if-match", version);
    ada.send(change("Two", "\"1\"")).await.is(200);
    let stale = ada.send(change("Three", "\"1\"")).await;
    assert_eq!(stale.problem(412, "stale-version")["current_version"], 2);
    assert_eq!(ada.get(path(id)).await.json()["name"], "Two");
    ada.send(change("Three", "2")).await.is(200);
    ada.send(change("Four", "*")).await.is(200);
    ada.send(change("Five", "yesterday")).await.refuses("If-Match");
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_stale() {
    let (_, ada) = site().await;
    let id = ada.project("Bridge").await;
    let change =
        |name: &str| ada.send(Ask::patch(path(id), json!({"name": name})).header("if-match", "\"1\""));
    let (one, two) = tokio::join!(change("One"), change("Two"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn a_removed_project_is_gone_for_everybody() {
    let (site, ada) = site().await;
    let id = ada.project("Bridge").await;
    let mia = site.member("mia", Role::Member).await;
    site.relate(&format!("project:{id}#observer@user:{}", mia.id)).await;
    mia.get(path(id)).await.is(200);
    ada.delete(path(id)).await.is(204);
    for reader in [&ada, &mia] {
        reader.get(path(id)).await.problem(404, "not-found");
        assert_eq!(reader.walk("/api/v1/projects?limit=5").await, Vec::<Value>::new());
    }
    ada.delete(path(id)).await.problem(404, "not-found");
    ada.patch(path(id), json!({"name": "Back"})).await.problem(404, "not-found");
    ada.post("/api/v1/task-boards", json!({"name": "B", "project_id": id})).await.problem(404, "not-found");
}

#[tokio::test]
async fn roles_decide_what_may_be_done() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    mia.post("/api/v1/projects", json!({"name": "Mine"})).await.problem(403, "permission-denied");
    let nobody = site.outsider("nobody").await;
    nobody.post("/api/v1/projects", json!({"name": "Mine"})).await.problem(404, "not-found");

    let id = ada.project("Bridge").await;
    mia.get(path(id)).await.problem(404, "not-found");
    let hidden = mia.patch(path(id), json!({"name": "X"})).await;
    let missing = mia.patch(path(Uuid::now_v7()), json!({"name": "X"})).await;
    assert_eq!(hidden.apart_from_correlation(), missing.apart_from_correlation());

    for (relation, actions) in [
        ("observer", json!(["view"])),
        ("member", json!(["view", "link"])),
        ("manager", json!(["view", "edit", "link"])),
        ("admin", json!(["view", "edit", "link", "archive", "delete"])),
    ] {
        let person = site.member(relation, Role::Member).await;
        site.relate(&format!("project:{id}#{relation}@user:{}", person.id)).await;
        let shown = person.get(path(id)).await.is(200).json();
        assert_eq!(shown["permitted_actions"], actions, "{relation}");
        let may = |action: &str| actions.as_array().unwrap().contains(&json!(action));
        let expect = |allowed: bool| if allowed { 200 } else { 403 };
        person.patch(path(id), json!({"address": relation})).await.is(expect(may("edit")));
        person.patch(path(id), json!({"status": "archived"})).await.is(expect(may("archive")));
        person.patch(path(id), json!({"status": "active"})).await.is(expect(may("edit")));
        if !may("delete") {
            person.delete(path(id)).await.problem(403, "permission-denied");
        }
    }
}
