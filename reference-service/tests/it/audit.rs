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
    // That the trail is read stands in it too, once a day for each question.
    trail(&ada).await;
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
    // What was asked stands in the trail itself, and is another matter.
    let ids = |events: &[Value]| {
        let told = events.iter().filter(|event| event["action"] != "audit.read");
        told.map(|event| event["id"].to_string()).collect::<Vec<_>>()
    };
    let all: Vec<Value> = all.into_iter().filter(|event| event["action"] != "audit.read").collect();
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

#[tokio::test]
async fn who_reads_and_who_exports_the_trail_stands_in_it() {
    let (site, ada) = site().await;
    let eve = site.member("eve", Role::Compliance).await;
    let project = ada.project("Bridge").await;
    eve.get(format!("/api/v1/audit?filter[target]=project:{project}&filter[outcome]=success")).await.is(200);
    eve.get("/api/v1/audit?filter[outcome]=lost").await.refuses("filter[outcome]");
    let body = json!({"format": "csv", "filter": {"action": "project.created"}});
    let file = eve.post("/api/v1/audit/exports", body).await.is(200);
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"audit.csv\""));
    assert_eq!((file.header("x-total-events"), file.body.lines().count()), (Some("1"), 2));
    let told: Vec<Value> = trail(&ada).await.into_iter().take(2).collect();
    for (event, action) in told.iter().zip(["audit.exported", "audit.read"]) {
        assert_eq!((&event["action"], &event["actor"]["id"]), (&json!(action), &json!(eve.id.to_string())));
    }
    let filter = json!({"outcome": "success", "target": {"type": "project", "id": project.to_string()}});
    assert_eq!(told[1]["after"], filter);
    // One event by its identity, as in the list.
    let one = ada.get(format!("/api/v1/audit/{}", told[0]["id"].as_str().unwrap())).await.is(200);
    assert_eq!(one.json(), told[0]);
    ada.get(format!("/api/v1/audit/{}", uuid::Uuid::now_v7())).await.problem(404, "not-found");
    ada.post("/api/v1/audit/exports", json!({"format": "xml"})).await.is(422);
    let refused = json!({"format": "csv", "filter": {"actor": "ada"}});
    ada.post("/api/v1/audit/exports", refused).await.refuses("/filter/actor");
}

#[tokio::test]
async fn an_export_is_whole_however_many_pieces_it_has() {
    let (site, ada) = site().await;
    site.execute(
        "insert into audit_events (id, actor_type, actor_id, action, reason)
         select ('01970000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user', 'x', 'step.done', '=1+' || n
           from generate_series(1, 450) n",
    )
    .await;
    let only = json!({"action": "step.done"});
    let lines = |body: &str| body.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let file = ada.post("/api/v1/audit/exports", json!({"format": "ndjson", "filter": only})).await.is(200);
    assert_eq!((file.header("x-total-events"), lines(&file.body).len()), (Some("450"), 450));
    let file = ada.post("/api/v1/audit/exports", json!({"format": "csv", "filter": only})).await.is(200);
    assert_eq!(lines(&file.body).len(), 451);
    assert_eq!(file.body.matches(",\"'=1+").count(), 450, "no cell is a formula");
}

/// For whoever may see the thing, without what only the trail tells, and without what a link would give away.
#[tokio::test]
async fn the_history_of_a_thing_is_told_to_who_may_see_all_that_it_is_about() {
    let (site, ada) = site().await;
    let (project, hidden) = (ada.project("Bridge").await, ada.project("Hidden").await);
    let mia = site.member("mia", Role::Member).await;
    site.relate(&format!("project:{project}#observer@user:{}", mia.id)).await;
    ada.patch(format!("/api/v1/projects/{project}"), json!({"name": "Tunnel"})).await.is(200);
    ada.link(("project", hidden), "blocks", ("project", project)).await;
    let actions = async |reader: &Member| -> Vec<String> {
        let rows = reader.walk(&format!("/api/v1/projects/{project}/history?limit=1")).await;
        rows.iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(actions(&ada).await, ["entity.linked", "project.updated", "project.created"]);
    assert_eq!(actions(&mia).await, ["project.updated", "project.created"]);
    let row = mia.walk(&format!("/api/v1/projects/{project}/history?limit=200")).await[0].clone();
    assert_eq!(row["after"]["name"], "Tunnel");
    for field in ["ip", "user_agent", "evidence", "correlation_id"] {
        assert_eq!(row.get(field), None, "{field} is for who reads the trail");
    }
    mia.get(format!("/api/v1/projects/{hidden}/history")).await.problem(404, "not-found");
}

/// Nothing of the refused request is stored; the denial is, once it is over.
#[tokio::test]
async fn denials_are_written_beside_the_requests_and_summed() {
    let (site, ada) = site().await;
    let project = ada.project("Bridge").await;
    let mia = site.member("mia", Role::Member).await;
    site.relate(&format!("project:{project}#observer@user:{}", mia.id)).await;
    for _ in 0..3 {
        let ask = Ask::delete(format!("/api/v1/projects/{project}")).header("x-correlation-id", "no");
        mia.send(ask).await.problem(403, "permission-denied");
    }
    let other = ada.project("Other").await;
    mia.post("/api/v1/links", link(("project", project), "blocks", ("project", other)))
        .await
        .problem(403, "permission-denied");
    let app = &site.service.app;
    assert_eq!(app.denials.counts().noted, 4);
    app.denials.flush(&app.tenants).await;
    let denied = ada.walk("/api/v1/audit?limit=200&filter[outcome]=denied").await;
    let told: u64 = denied.iter().map(|event| event["after"]["count"].as_u64().unwrap()).sum();
    assert_eq!(told, 4);
    let delete = denied.iter().find(|event| event["after"]["permission"] == "delete").unwrap();
    assert_eq!(delete["targets"], json!([{"type": "project", "id": project.to_string()}]));
    assert_eq!(
        (&delete["actor"]["id"], &delete["correlation_id"]),
        (&json!(mia.id.to_string()), &json!("no"))
    );
    assert_eq!(app.denials.counts().dropped, 0);
}
