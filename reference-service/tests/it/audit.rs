//! `/api/v1/audit`: what the service's writes leave behind, and who may read it.

use std::collections::BTreeSet;

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::{Value, json};

use crate::kit::{Ask, Member, PASSWORD, Service, Site, link};

async fn site() -> (Site, Member) {
    let site = Service::start().await.tenant("a", Isolation::Schema).await;
    let ada = site.member("ada", Role::Owner).await;
    (site, ada)
}

async fn trail(reader: &Member) -> Vec<Value> {
    reader.walk("/api/v1/audit?limit=200").await
}

#[tokio::test]
async fn owners_admins_and_compliance_read_it() {
    let (site, ada) = site().await;
    ada.get("/api/v1/audit").await.is(200);
    for (role, status) in [
        (Role::Admin, 200),
        (Role::Compliance, 200),
        (Role::Manager, 403),
        (Role::Member, 403),
        (Role::Billing, 403),
    ] {
        site.member(role.as_str(), role).await.get("/api/v1/audit").await.is(status);
    }
    site.outsider("nobody").await.get("/api/v1/audit").await.problem(404, "not-found");
}

/// Every write: one event, by whom, in which request, by which proof. Every refusal: none.
#[tokio::test]
async fn a_write_leaves_one_event() {
    let (_, ada) = site().await;
    let (project, other) = (ada.project("Bridge").await, ada.project("Other").await);
    let (board, columns) = ada.board(Some(project)).await;
    let task = ada.task("T", board, columns[0]).await;
    let beside = ada.link(("project", other), "relates", ("task", task)).await;
    let task_body = json!({"title": "New", "board_id": board});
    let writes = [
        ("project.created", "project", Ask::post("/api/v1/projects", json!({"name": "New"}))),
        (
            "project.updated",
            "project",
            Ask::patch(format!("/api/v1/projects/{project}"), json!({"name": "Tunnel"})),
        ),
        ("board.created", "board", Ask::post("/api/v1/task-boards", json!({"name": "New"}))),
        (
            "board.column_added",
            "board",
            Ask::post(format!("/api/v1/task-boards/{board}/columns"), json!({"name": "C"})),
        ),
        ("task.created", "task", Ask::post("/api/v1/tasks", task_body.clone())),
        ("task.created", "task", Ask::post(format!("/api/v1/tasks/{task}/subtasks"), task_body)),
        (
            "task.moved",
            "task",
            Ask::patch(format!("/api/v1/tasks/{task}/move"), json!({"column_id": columns[1]})),
        ),
        (
            "entity.linked",
            "project",
            Ask::post("/api/v1/links", link(("project", project), "blocks", ("task", task))),
        ),
        ("entity.unlinked", "project", Ask::delete(format!("/api/v1/links/{beside}"))),
        ("project.deleted", "project", Ask::delete(format!("/api/v1/projects/{other}"))),
    ];
    for (action, kind, ask) in writes {
        let before = trail(&ada).await;
        let correlation = format!("write-of-{action}");
        let ask = ask.header("x-correlation-id", &correlation).header("user-agent", "the audit test");
        let answer = ada.send(ask).await;
        assert!(answer.status < 300, "{action}: {}", answer.body);
        let after = trail(&ada).await;
        assert_eq!(after[1..], before, "{action} leaves one event, on top");
        let event = &after[0];
        for (field, value) in [
            ("action", json!(action)),
            ("actor", json!({"type": "user", "id": ada.id.to_string()})),
            ("outcome", json!("success")),
            ("correlation_id", json!(correlation)),
            ("ip", json!("127.0.0.1")),
            ("user_agent", json!("the audit test")),
        ] {
            assert_eq!(event[field], value, "{action}: {field}");
        }
        assert_eq!(event["targets"][0]["type"], kind, "{action}");
        assert!(event["evidence"].is_object(), "{action} has a proof: {event}");
    }
}

#[tokio::test]
async fn a_refusal_leaves_none() {
    let (site, ada) = site().await;
    let project = ada.project("Bridge").await;
    let (board, _) = ada.board(None).await;
    let mia = site.member("mia", Role::Member).await;
    let before = site.rows().await;
    ada.post("/api/v1/projects", json!({"name": ""})).await.is(422);
    ada.patch(format!("/api/v1/projects/{project}"), json!({"name": "Bridge"})).await.is(200);
    ada.patch(format!("/api/v1/projects/{project}"), json!({"status": "gone"})).await.is(422);
    ada.send(Ask::patch(format!("/api/v1/projects/{project}"), json!({"name": "X"})).header("if-match", "9"))
        .await
        .is(412);
    // Refused at the second column, when the board and the first one are written already.
    let columns = json!([{"name": "Good"}, {"name": " "}]);
    ada.post("/api/v1/task-boards", json!({"name": "B", "columns": columns})).await.is(422);
    mia.delete(format!("/api/v1/projects/{project}")).await.is(404);
    mia.post("/api/v1/tasks", json!({"title": "T", "board_id": board})).await.is(404);
    site.login("ada@example.com", "wrong").await.is(401);
    assert_eq!(site.rows().await, before, "nothing is left of what was refused");
}

#[tokio::test]
async fn a_login_is_an_event_of_its_own() {
    let (site, ada) = site().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    site.ask(None, Ask::post("/auth/login", body).header("x-correlation-id", "in")).await.is(200);
    let event = trail(&ada).await[0].clone();
    assert_eq!((&event["action"], &event["correlation_id"]), (&json!("auth.login"), &json!("in")));
    assert_eq!(event["actor"], json!({"type": "user", "id": ada.id.to_string()}));
    assert_eq!(event["ip"], "127.0.0.1");
}

#[tokio::test]
async fn what_changed_is_told_field_by_field() {
    let (_, ada) = site().await;
    let project = ada.project("Bridge").await;
    ada.patch(format!("/api/v1/projects/{project}"), json!({"name": "Tunnel", "owner": "City"}))
        .await
        .is(200);
    let event = trail(&ada).await[0].clone();
    let without_times = |fields: &Value| {
        let mut fields = fields.clone();
        for name in ["version", "updated_at"] {
            fields.as_object_mut().unwrap().remove(name);
        }
        fields
    };
    assert_eq!(without_times(&event["before"]), json!({"name": "Bridge", "owner": null}));
    assert_eq!(without_times(&event["after"]), json!({"name": "Tunnel", "owner": "City"}));
}

#[tokio::test]
async fn filters_and_cursor_go_together() {
    let (site, ada) = site().await;
    let eve = site.member("eve", Role::Admin).await;
    let project = ada.project("Bridge").await;
    for number in 0..9 {
        let who = if number % 2 == 0 { &ada } else { &eve };
        who.patch(format!("/api/v1/projects/{project}"), json!({"number": number.to_string()})).await.is(200);
    }
    ada.project("Other").await;
    let all = trail(&ada).await;
    let at = |event: &Value| event["at"].as_str().unwrap().to_owned();
    let middle = at(&all[4]);
    let encoded = middle.replace('+', "%2B");
    let ids = |events: &[Value]| events.iter().map(|event| event["id"].to_string()).collect::<Vec<_>>();
    let where_ =
        |keep: &dyn Fn(&Value) -> bool| ids(&all.iter().filter(|e| keep(e)).cloned().collect::<Vec<_>>());
    let time = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap();
    let by_eve = |event: &Value| event["actor"]["id"] == json!(eve.id.to_string());
    let about = |event: &Value| event["targets"] == json!([{"type": "project", "id": project.to_string()}]);
    for limit in [1, 2, 5, 200] {
        let walk =
            async |filter: String| ids(&ada.walk(&format!("/api/v1/audit?limit={limit}{filter}")).await);
        assert_eq!(walk(String::new()).await, ids(&all));
        let updates = walk("&filter[action]=project.updated".to_owned()).await;
        assert_eq!(updates, where_(&|event| event["action"] == "project.updated"));
        assert_eq!(updates.len(), 9);
        assert_eq!(walk(format!("&filter[actor]=user:{}", eve.id)).await, where_(&by_eve));
        assert_eq!(walk(format!("&filter[target]=project:{project}")).await, where_(&about));
        let both = walk(format!("&filter[actor]=user:{}&filter[action]=project.updated", eve.id)).await;
        assert_eq!(both.len(), 4);
        let from = walk(format!("&from={encoded}")).await;
        assert_eq!(from, where_(&|event| time(&at(event)) >= time(&middle)), "from is inclusive");
        let until = walk(format!("&until={encoded}")).await;
        assert_eq!(until, where_(&|event| time(&at(event)) < time(&middle)), "until is exclusive");
        assert_eq!(from.len() + until.len(), all.len());
    }
    assert_eq!(ids(&all).iter().collect::<BTreeSet<_>>().len(), all.len());
}

#[tokio::test]
async fn a_wrong_filter_is_refused() {
    let (_, ada) = site().await;
    for bad in [
        "filter[actor]=ada",
        "filter[target]=x",
        "filter[nonesuch]=1",
        "from=yesterday",
        "from=-9999-01-01T00:00:00Z",
        "until=%2B99999-01-01T00:00:00Z",
        "cursor=x",
        "cursor=AAAA",
        "limit=0",
        "limit=201",
        "limit=-1",
        "filter[action]=%00",
    ] {
        let answer = ada.get(format!("/api/v1/audit?{bad}")).await;
        assert!(matches!(answer.status, 200 | 422), "{bad}: {}", answer.body);
        if !bad.contains("99") {
            answer.problem(422, "invalid-request");
        }
    }
}
