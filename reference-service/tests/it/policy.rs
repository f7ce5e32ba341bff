//! Who may do what, as one table: every role of an organization, and those of a project, against every action.

use std::fmt::Write;

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ask, Member, Service, Site, link, snapshot};

/// What the actions are about; made by a manager, fresh for each role.
struct Things {
    project: Uuid,
    /// A board of the project, and one that belongs to none.
    board: (Uuid, Vec<Uuid>),
    free_board: (Uuid, Vec<Uuid>),
    task: Uuid,
    free_task: Uuid,
    /// From the project to its task, and another one.
    link: Uuid,
    target: Uuid,
}

impl Things {
    async fn make(maker: &Member) -> Self {
        let project = maker.project("Bridge").await;
        let target = maker.project("Target").await;
        let board = maker.board(Some(project)).await;
        let free_board = maker.board(None).await;
        let task = maker.task("T", board.0, board.1[0]).await;
        let free_task = maker.post("/api/v1/tasks", json!({"title": "Free"})).await.is(201).id();
        let link = maker.link(("project", project), "blocks", ("task", task)).await;
        Self { project, board, free_board, task, free_task, link, target }
    }
}

type Action = (&'static str, fn(&Things) -> Ask);

fn one(collection: &str, id: Uuid) -> String {
    format!("/api/v1/{collection}/{id}")
}

fn change(path: String, field: &str, value: &str) -> Ask {
    Ask::patch(path, json!({field: value}))
}

fn new_on(board: Uuid) -> Value {
    json!({"title": "New", "board_id": board})
}

/// In this order: what removes comes last.
const ACTIONS: &[Action] = &[
    ("tenant: see", |_| Ask::get("/api/v1/tenant")),
    ("audit: read", |_| Ask::get("/api/v1/audit")),
    ("audit: export", |_| Ask::post("/api/v1/audit/exports", json!({"format": "csv"}))),
    ("projects: list", |_| Ask::get("/api/v1/projects")),
    ("project: make", |_| Ask::post("/api/v1/projects", json!({"name": "New"}))),
    ("project: see", |t| Ask::get(one("projects", t.project))),
    ("project: change", |t| change(one("projects", t.project), "name", "Changed")),
    ("project: archive", |t| change(one("projects", t.project), "status", "archived")),
    ("project: what it is linked to", |t| Ask::get(one("projects", t.project) + "/linked/*")),
    ("project: its history", |t| Ask::get(one("projects", t.project) + "/history")),
    ("project: links of which it is the source", |t| {
        Ask::get(format!("/api/v1/links?source=project:{}", t.project))
    }),
    ("board: make", |_| Ask::post("/api/v1/task-boards", json!({"name": "B"}))),
    ("board: make in the project", |t| {
        Ask::post("/api/v1/task-boards", json!({"name": "B", "project_id": t.project}))
    }),
    ("board of the project: see", |t| Ask::get(one("task-boards", t.board.0))),
    ("board of the project: see as kanban", |t| {
        Ask::get(format!("/api/v1/tasks?board_id={}&view=kanban", t.board.0))
    }),
    ("board of the project: add a column", |t| {
        Ask::post(one("task-boards", t.board.0) + "/columns", json!({"name": "C"}))
    }),
    ("board of no project: see", |t| Ask::get(one("task-boards", t.free_board.0))),
    ("board of no project: what it is linked to", |t| {
        Ask::get(one("task-boards", t.free_board.0) + "/linked/*")
    }),
    ("task: make", |_| Ask::post("/api/v1/tasks", json!({"title": "New"}))),
    ("task: make on the project's board", |t| Ask::post("/api/v1/tasks", new_on(t.board.0))),
    ("task on the project's board: see", |t| Ask::get(one("tasks", t.task))),
    ("task on the project's board: move", |t| {
        Ask::patch(one("tasks", t.task) + "/move", json!({"column_id": t.board.1[1]}))
    }),
    ("task on the project's board: make one below", |t| {
        Ask::post(one("tasks", t.task) + "/subtasks", json!({"title": "Below"}))
    }),
    ("task on no board: see", |t| Ask::get(one("tasks", t.free_task))),
    ("task on no board: make one below", |t| {
        Ask::post(one("tasks", t.free_task) + "/subtasks", json!({"title": "Below"}))
    }),
    ("task on no board: what it is linked to", |t| Ask::get(one("tasks", t.free_task) + "/linked/*")),
    ("link: make, from project to project", |t| {
        Ask::post("/api/v1/links", link(("project", t.project), "relates", ("project", t.target)))
    }),
    ("link: make, from project to task", |t| {
        Ask::post("/api/v1/links", link(("project", t.project), "relates", ("task", t.task)))
    }),
    ("link: take away", |t| Ask::delete(one("links", t.link))),
    ("project: remove", |t| Ask::delete(one("projects", t.project))),
];

#[tokio::test]
async fn roles_and_actions() {
    let service = Service::start().await;
    let (site, other) =
        (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Schema).await);
    let mia = site.member("mia", Role::Manager).await;
    let mut columns = Vec::new();
    for role in [Role::Owner, Role::Admin, Role::Manager, Role::Member, Role::Billing, Role::Compliance] {
        let things = Things::make(&mia).await;
        let member = site.member(&format!("org-{}", role.as_str()), role).await;
        columns.push((role.as_str().to_owned(), statuses(&member, &things).await));
    }
    for relation in ["admin", "manager", "member", "observer"] {
        let things = Things::make(&mia).await;
        let member = in_the_project(&site, relation, &things).await;
        columns.push((format!("p:{relation}"), statuses(&member, &things).await));
    }
    let things = Things::make(&mia).await;
    let assignee = site.member("assignee", Role::Member).await;
    for task in [things.task, things.free_task] {
        site.relate(&format!("task:{task}#assignee@user:{}", assignee.id)).await;
    }
    columns.push(("assignee".to_owned(), statuses(&assignee, &things).await));
    columns.push(("no role".to_owned(), statuses(&site.outsider("nobody").await, &things).await));
    // The owner of another tenant, with their own token, at their own host.
    let stranger = other.member("stranger", Role::Owner).await;
    columns.push(("elsewhere".to_owned(), statuses(&stranger, &things).await));
    snapshot("policy.txt", &table(&columns));
}

/// A plain member of the organization with one relation to the project.
async fn in_the_project(site: &Site, relation: &str, things: &Things) -> Member {
    let member = site.member(&format!("project-{relation}"), Role::Member).await;
    site.relate(&format!("project:{}#{relation}@user:{}", things.project, member.id)).await;
    member
}

async fn statuses(member: &Member, things: &Things) -> Vec<u16> {
    let mut found = Vec::new();
    for (_, ask) in ACTIONS {
        found.push(member.send(ask(things)).await.status);
    }
    found
}

fn table(columns: &[(String, Vec<u16>)]) -> String {
    let mut text = String::from(
        "# What each role is answered. Objects were made by a manager. 403: may know of it, may not do it; 404: may\n\
         # not know of it. `p:` is a plain member with that relation to the project; `no role` may sign in, and that\n\
         # is all; `elsewhere` owns another tenant (and sees their own tenant, audit trail and lists).\n\n",
    );
    write!(text, "{:<44}", "").unwrap();
    for (name, _) in columns {
        write!(text, "{name:>11}").unwrap();
    }
    text.push('\n');
    for (row, (action, _)) in ACTIONS.iter().enumerate() {
        write!(text, "{action:<44}").unwrap();
        for (_, statuses) in columns {
            write!(text, "{:>11}", statuses[row]).unwrap();
        }
        text.push('\n');
    }
    text
}
