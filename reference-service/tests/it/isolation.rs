//! Neither of two tenants can see, find, touch or guess anything of the other, on any route.
//!
//! Every route stands in [`ENTRIES`], with every place in which it takes an id: in its path, its query and its body.
//! A route or a place that is missing from the table fails the test, and so does one that is there no more.

use std::collections::{BTreeMap, BTreeSet};

use formwork_service::{
    modules::members::Role,
    router::routes,
    token::{Claims, Tokens},
};
use formwork_tenancy::{Isolation, TenantId};
use jsonwebtoken::{Algorithm, EncodingKey, Header, get_current_timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Answer, Ask, Member, Service, Site, link, uuid};

/// What an id names.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Project,
    Board,
    Column,
    Task,
    /// A task, and the one right below it.
    First,
    Second,
    Person,
    Link,
    Event,
}

/// One route: a request that succeeds with the tenant's own ids, and what another tenant's id in each place gets.
struct Entry {
    route: &'static str,
    success: u16,
    places: &'static [(&'static str, Kind, u16)],
    ask: fn(&Ids) -> Ask,
}

/// Path ids and the things that a request is about are not found; a field that must belong to such a thing is
/// refused as a field.
const ENTRIES: &[Entry] = &[
    Entry { route: "GET /api/v1/tenant", success: 200, places: &[], ask: |_| Ask::get("/api/v1/tenant") },
    Entry { route: "GET /api/v1/audit", success: 200, places: &[], ask: |_| Ask::get("/api/v1/audit") },
    Entry {
        route: "GET /api/v1/audit/{id}",
        success: 200,
        places: &[("path.id", Kind::Event, 404)],
        ask: |ids| Ask::get(format!("/api/v1/audit/{}", ids.at("path.id"))),
    },
    Entry {
        route: "POST /api/v1/audit/exports",
        success: 200,
        places: &[],
        ask: |_| Ask::post("/api/v1/audit/exports", json!({"format": "ndjson"})),
    },
    Entry { route: "GET /api/v1/projects", success: 200, places: &[], ask: |_| Ask::get("/api/v1/projects") },
    Entry {
        route: "POST /api/v1/projects",
        success: 201,
        places: &[],
        ask: |_| Ask::post("/api/v1/projects", json!({"name": "Bridge"})),
    },
    Entry {
        route: "GET /api/v1/projects/{id}",
        success: 200,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::get(format!("/api/v1/projects/{}", ids.at("path.id"))),
    },
    Entry {
        route: "PATCH /api/v1/projects/{id}",
        success: 200,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::patch(format!("/api/v1/projects/{}", ids.at("path.id")), json!({"name": "Tunnel"})),
    },
    Entry {
        route: "DELETE /api/v1/projects/{id}",
        success: 204,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::delete(format!("/api/v1/projects/{}", ids.at("path.id"))),
    },
    Entry {
        route: "POST /api/v1/task-boards",
        success: 201,
        places: &[("body.project_id", Kind::Project, 404)],
        ask: |ids| {
            Ask::post(
                "/api/v1/task-boards",
                json!({"name": "Board", "project_id": ids.at("body.project_id")}),
            )
        },
    },
    Entry {
        route: "GET /api/v1/task-boards/{id}",
        success: 200,
        places: &[("path.id", Kind::Board, 404)],
        ask: |ids| Ask::get(format!("/api/v1/task-boards/{}", ids.at("path.id"))),
    },
    Entry {
        route: "POST /api/v1/task-boards/{id}/columns",
        success: 201,
        places: &[("path.id", Kind::Board, 404)],
        ask: |ids| {
            Ask::post(format!("/api/v1/task-boards/{}/columns", ids.at("path.id")), json!({"name": "Late"}))
        },
    },
    Entry {
        route: "GET /api/v1/tasks",
        success: 200,
        places: &[("query.board_id", Kind::Board, 404), ("query.column_id", Kind::Column, 422)],
        ask: |ids| {
            let (board, column) = (ids.at("query.board_id"), ids.at("query.column_id"));
            Ask::get(format!("/api/v1/tasks?board_id={board}&column_id={column}&view=list"))
        },
    },
    Entry {
        route: "POST /api/v1/tasks",
        success: 201,
        places: &[
            ("body.board_id", Kind::Board, 404),
            ("body.column_id", Kind::Column, 422),
            ("body.assignee_id", Kind::Person, 422),
        ],
        ask: |ids| Ask::post("/api/v1/tasks", new_task(ids)),
    },
    Entry {
        route: "GET /api/v1/tasks/{id}",
        success: 200,
        places: &[("path.id", Kind::Task, 404)],
        ask: |ids| Ask::get(format!("/api/v1/tasks/{}", ids.at("path.id"))),
    },
    Entry {
        route: "POST /api/v1/tasks/{id}/subtasks",
        success: 201,
        places: &[
            ("path.id", Kind::Task, 404),
            ("body.board_id", Kind::Board, 404),
            ("body.column_id", Kind::Column, 422),
            ("body.assignee_id", Kind::Person, 422),
        ],
        ask: |ids| Ask::post(format!("/api/v1/tasks/{}/subtasks", ids.at("path.id")), new_task(ids)),
    },
    Entry {
        route: "PATCH /api/v1/tasks/{id}/move",
        success: 200,
        places: &[
            ("path.id", Kind::Task, 404),
            ("body.column_id", Kind::Column, 422),
            ("body.after_id", Kind::First, 422),
            ("body.before_id", Kind::Second, 422),
        ],
        ask: |ids| {
            let (column, after, before) =
                (ids.at("body.column_id"), ids.at("body.after_id"), ids.at("body.before_id"));
            let place = json!({"column_id": column, "after_id": after, "before_id": before});
            Ask::patch(format!("/api/v1/tasks/{}/move", ids.at("path.id")), place)
        },
    },
    Entry {
        route: "GET /api/v1/links",
        success: 200,
        places: &[("query.source", Kind::Project, 404), ("query.target", Kind::Task, 404)],
        ask: |ids| {
            let (source, target) = (ids.at("query.source"), ids.at("query.target"));
            Ask::get(format!("/api/v1/links?source=project:{source}&target=task:{target}"))
        },
    },
    Entry {
        route: "POST /api/v1/links",
        success: 201,
        places: &[("body.source.id", Kind::Project, 404), ("body.target.id", Kind::Task, 404)],
        ask: |ids| {
            let (source, target) = (ids.at("body.source.id"), ids.at("body.target.id"));
            Ask::post("/api/v1/links", link(("project", source), "blocks", ("task", target)))
        },
    },
    // Each link has an answer of its own, inside.
    Entry {
        route: "POST /api/v1/links/bulk",
        success: 200,
        places: &[
            ("body.links[].source.id", Kind::Project, 200),
            ("body.links[].target.id", Kind::Task, 200),
        ],
        ask: |ids| {
            let (source, target) = (ids.at("body.links[].source.id"), ids.at("body.links[].target.id"));
            let links = [link(("project", source), "relates", ("task", target))];
            Ask::post("/api/v1/links/bulk", json!({ "links": links }))
        },
    },
    Entry {
        route: "DELETE /api/v1/links/{id}",
        success: 204,
        places: &[("path.id", Kind::Link, 404)],
        ask: |ids| Ask::delete(format!("/api/v1/links/{}", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/projects/{id}/linked/{target}",
        success: 200,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::get(format!("/api/v1/projects/{}/linked/*", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/tasks/{id}/linked/{target}",
        success: 200,
        places: &[("path.id", Kind::Task, 404)],
        ask: |ids| Ask::get(format!("/api/v1/tasks/{}/linked/projects", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/task-boards/{id}/linked/{target}",
        success: 200,
        places: &[("path.id", Kind::Board, 404)],
        ask: |ids| Ask::get(format!("/api/v1/task-boards/{}/linked/*", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/projects/{id}/history",
        success: 200,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::get(format!("/api/v1/projects/{}/history", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/tasks/{id}/history",
        success: 200,
        places: &[("path.id", Kind::Task, 404)],
        ask: |ids| Ask::get(format!("/api/v1/tasks/{}/history", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/task-boards/{id}/history",
        success: 200,
        places: &[("path.id", Kind::Board, 404)],
        ask: |ids| Ask::get(format!("/api/v1/task-boards/{}/history", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/projects/{id}/graph",
        success: 200,
        places: &[("path.id", Kind::Project, 404)],
        ask: |ids| Ask::get(format!("/api/v1/projects/{}/graph", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/tasks/{id}/graph",
        success: 200,
        places: &[("path.id", Kind::Task, 404)],
        ask: |ids| Ask::get(format!("/api/v1/tasks/{}/graph?depth=5", ids.at("path.id"))),
    },
    Entry {
        route: "GET /api/v1/task-boards/{id}/graph",
        success: 200,
        places: &[("path.id", Kind::Board, 404)],
        ask: |ids| Ask::get(format!("/api/v1/task-boards/{}/graph", ids.at("path.id"))),
    },
];

/// Routes without a token.
const PUBLIC: [&str; 5] = [
    "GET /health/live",
    "GET /health/ready",
    "GET /api/v1/openapi.json",
    "POST /api/v1/auth/login",
    "POST /auth/login",
];

fn new_task(ids: &Ids) -> Value {
    json!({
        "title": "Pour", "board_id": ids.at("body.board_id"), "column_id": ids.at("body.column_id"),
        "assignee_id": ids.at("body.assignee_id"),
    })
}

/// The ids of one request, by place.
#[derive(Clone)]
struct Ids(BTreeMap<&'static str, Uuid>);

impl Ids {
    fn new(entry: &Entry, of: impl Fn(Kind) -> Uuid) -> Self {
        Self(entry.places.iter().map(|(place, kind, _)| (*place, of(*kind))).collect())
    }

    fn at(&self, place: &str) -> Uuid {
        self.0[place]
    }

    fn with(&self, place: &'static str, id: Uuid) -> Self {
        let mut changed = self.clone();
        changed.0.insert(place, id);
        changed
    }
}

/// One of everything, in one tenant.
#[derive(Debug)]
struct Things {
    project: Uuid,
    board: Uuid,
    column: Uuid,
    task: Uuid,
    first: Uuid,
    second: Uuid,
    person: Uuid,
    link: Uuid,
    event: Uuid,
}

impl Things {
    async fn make(maker: &Member, person: Uuid) -> Self {
        let project = maker.project("Harbour").await;
        let (board, columns) = maker.board(Some(project)).await;
        let column = columns[0];
        let first = maker.task("First", board, column).await;
        let second = maker.task("Second", board, column).await;
        let task = maker.task("Third", board, column).await;
        let link = maker.link(("project", project), "relates", ("task", task)).await;
        let event = uuid(&maker.get("/api/v1/audit?limit=1").await.is(200).json()["data"][0]["id"]);
        Self { project, board, column, task, first, second, person, link, event }
    }

    fn get(&self, kind: Kind) -> Uuid {
        match kind {
            Kind::Project => self.project,
            Kind::Board => self.board,
            Kind::Column => self.column,
            Kind::Task => self.task,
            Kind::First => self.first,
            Kind::Second => self.second,
            Kind::Person => self.person,
            Kind::Link => self.link,
            Kind::Event => self.event,
        }
    }
}

#[tokio::test]
async fn shared_beside_schema() {
    isolated(Isolation::Shared, Isolation::Schema).await;
}

#[tokio::test]
async fn shared_beside_shared() {
    isolated(Isolation::Shared, Isolation::Shared).await;
}

#[tokio::test]
async fn schema_beside_shared() {
    isolated(Isolation::Schema, Isolation::Shared).await;
}

async fn isolated(ours: Isolation, theirs: Isolation) {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", ours).await, service.tenant("b", theirs).await);
    let ada = a.member("ada", Role::Owner).await;
    let bob = b.member("bob", Role::Owner).await;
    // Eve owns both: what her token for A does must not know what she may do in B.
    let (eve, eve_in_b) = (a.member("eve", Role::Owner).await, b.member("eve", Role::Owner).await);
    assert_eq!(eve.id, eve_in_b.id);
    let theirs = Things::make(&eve_in_b, bob.id).await;
    let before = b.rows().await;

    for entry in ENTRIES {
        let own = Things::make(&ada, ada.id).await;
        let ids = Ids::new(entry, |kind| own.get(kind));
        tokens_are_asked(entry, &ids, &a, &bob).await;
        for actor in [&ada, &eve] {
            foreign_ids_are_unknown(entry, &ids, &theirs, actor).await;
        }
        let answer = ada.send((entry.ask)(&ids)).await;
        assert_eq!(answer.status, entry.success, "{} with its own ids: {}", entry.route, answer.body);
    }
    assert_eq!(before, b.rows().await, "what was asked in A has changed B");

    // B goes on writing; nothing of it comes up in A, whoever reads.
    let more = Things::make(&eve_in_b, bob.id).await;
    for reader in [&ada, &eve] {
        lists_hold_nothing_of(reader, &b, &[&theirs, &more]).await;
        cursors_of_another_tenant_lead_nowhere(reader, &eve_in_b, &more).await;
    }
}

/// Without a token that holds, and is this tenant's, there is no answer.
async fn tokens_are_asked(entry: &Entry, ids: &Ids, site: &Site, stranger: &Member) {
    let ask = || (entry.ask)(ids);
    site.ask(None, ask()).await.problem(401, "unauthenticated");
    for bad in bad_tokens(site, stranger.id) {
        let answer = site.ask(Some(&bad), ask()).await;
        answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{}", entry.route);
    }
    let answer = site.ask(Some(&stranger.token), ask()).await;
    answer.problem(403, "tenant-mismatch");
    assert!(!answer.body.contains(&stranger.site.tenant.id().to_string()), "{}", answer.body);
}

/// Garbage, signed by another key, by none, and too old.
fn bad_tokens(site: &Site, user: Uuid) -> Vec<String> {
    let service = &site.service;
    let tenant = site.tenant.id();
    let real = service.app.tokens.issue(user, tenant).unwrap();
    let [head, body, _] = real.split('.').collect::<Vec<_>>()[..] else { panic!("a token has three parts") };
    let kid = jsonwebtoken::decode_header(&real).unwrap().kid;
    let signed = |key: &[u8; 32], age: i64, tenant: TenantId| {
        let now = get_current_timestamp() as i64 - age;
        let claims = Claims {
            iss: "formwork".into(),
            aud: "formwork-api".into(),
            sub: user,
            org_id: tenant,
            iat: now,
            exp: now + 900,
            jti: Uuid::now_v7(),
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid.clone_from(&kid);
        let der =
            ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&ed25519_dalek::SigningKey::from_bytes(key));
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(der.unwrap().as_bytes())).unwrap()
    };
    let ours = service.key.to_bytes();
    assert!(service.app.tokens.verify(&signed(&ours, 0, tenant)).is_ok(), "the forger's tools work");
    vec![
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        Tokens::ephemeral().unwrap().issue(user, tenant).unwrap(),
        signed(&[9; 32], 0, tenant),
        signed(&ours, 3_600, tenant),
        format!("{head}.{body}."),
    ]
}

/// Another tenant's id in a place is answered as an id that is nowhere, to the byte.
async fn foreign_ids_are_unknown(entry: &Entry, ids: &Ids, theirs: &Things, actor: &Member) {
    for (place, kind, refusal) in entry.places {
        let foreign = actor.send((entry.ask)(&ids.with(place, theirs.get(*kind)))).await;
        let random = actor.send((entry.ask)(&ids.with(place, Uuid::now_v7()))).await;
        same(entry, place, *refusal, &foreign, &random);
    }
    let Some(refusal) = entry.places.iter().map(|(_, _, refusal)| *refusal).min() else { return };
    let foreign = actor.send((entry.ask)(&Ids::new(entry, |kind| theirs.get(kind)))).await;
    let random = actor.send((entry.ask)(&Ids::new(entry, |_| Uuid::now_v7()))).await;
    same(entry, "every place", refusal, &foreign, &random);
    if refusal == 200 {
        assert!(foreign.body.contains("\"not-found\""), "{}: {}", entry.route, foreign.body);
    } else {
        assert_eq!(foreign.status, 404, "{}", entry.route);
    }
}

fn same(entry: &Entry, place: &str, refusal: u16, foreign: &Answer, random: &Answer) {
    assert_eq!(
        foreign.status, refusal,
        "{} with another tenant's id in {place}: {}",
        entry.route, foreign.body
    );
    assert_eq!(
        foreign.apart_from_correlation(),
        random.apart_from_correlation(),
        "{}: {place} tells another tenant's id from none",
        entry.route
    );
}

/// Walks through everything that the reader can list.
async fn lists_hold_nothing_of(reader: &Member, other: &Site, things: &[&Things]) {
    let mut seen = String::new();
    let mut lists = vec!["/api/v1/projects?limit=7".to_owned(), "/api/v1/audit?limit=40".to_owned()];
    let own = Things::make(reader, reader.id).await;
    lists.push(format!("/api/v1/tasks?board_id={}&limit=2", own.board));
    for (collection, id) in [("projects", own.project), ("tasks", own.task), ("task-boards", own.board)] {
        lists.push(format!("/api/v1/{collection}/{id}/linked/*?limit=1"));
    }
    for thing in things {
        // Filters and columns by the other tenant's ids find nothing.
        for path in [
            format!("/api/v1/audit?filter[target]=project:{}", thing.project),
            format!("/api/v1/audit?filter[actor]=user:{}", thing.person),
        ] {
            assert_eq!(reader.walk(&path).await, Vec::<Value>::new(), "{path}");
        }
    }
    for list in lists {
        let mut rows = reader.walk(&list).await;
        // What was asked for and not found, and what the trail was searched for, stands in the trail as it was asked.
        rows.retain(|row| row["action"] != "audit.read" && row["outcome"] != "denied");
        seen.push_str(&Value::from(rows).to_string());
    }
    let kanban = reader.get(format!("/api/v1/tasks?board_id={}&view=kanban", own.board)).await.is(200);
    seen.push_str(&kanban.body);
    assert!(
        seen.contains(&own.project.to_string()) && seen.contains(&own.task.to_string()),
        "the walk sees something"
    );
    assert!(!seen.contains(&other.tenant.id().to_string()), "a list of A names the tenant B");
    for (table, rows) in other.rows().await {
        for row in rows {
            let row: Value = serde_json::from_str(&row).unwrap();
            if let Some(id) = row["id"].as_str() {
                assert!(!seen.contains(id), "a list of A holds the row {id} of {table} in B");
            }
        }
    }
}

/// A cursor is a position, never a key: with another tenant's, there are only one's own rows.
async fn cursors_of_another_tenant_lead_nowhere(reader: &Member, other: &Member, things: &Things) {
    let own: BTreeSet<Uuid> =
        reader.walk("/api/v1/projects?limit=200").await.iter().map(|p| uuid(&p["id"])).collect();
    let page = other.get("/api/v1/projects?limit=1").await.is(200).json();
    let cursor = page["page"]["next_cursor"].as_str().unwrap();
    let rows = reader.walk(&format!("/api/v1/projects?limit=200&cursor={cursor}")).await;
    assert!(rows.iter().all(|row| own.contains(&uuid(&row["id"]))));

    let page = other.get("/api/v1/audit?limit=1").await.is(200).json();
    let cursor = page["page"]["next_cursor"].as_str().unwrap();
    let rows =
        Value::from(reader.walk(&format!("/api/v1/audit?limit=200&cursor={cursor}")).await).to_string();
    assert!(!rows.contains(&other.site.tenant.id().to_string()));

    let path = format!("/api/v1/tasks?board_id={}&limit=1", things.board);
    let page = other.get(&path).await.is(200).json();
    let cursor = page["page"]["next_cursor"].as_str().unwrap();
    reader.get(format!("{path}&cursor={cursor}")).await.problem(404, "not-found");
}

#[test]
fn every_route_stands_in_the_table() {
    let name = |route: &formwork_service::http::route::Route| format!("{} {}", route.method(), route.path());
    let (public, guarded): (Vec<_>, Vec<_>) = routes()
        .into_iter()
        .partition(|route| route.access() == formwork_service::http::route::Access::Public);
    let names = |routes: &[_]| routes.iter().map(name).collect::<BTreeSet<String>>();
    let table: BTreeSet<String> = ENTRIES.iter().map(|entry| entry.route.to_owned()).collect();
    assert_eq!(names(&guarded), table, "left: the routes; right: the table of this test");
    assert_eq!(
        names(&public),
        PUBLIC.map(str::to_owned).into(),
        "left: the routes; right: those known as public"
    );
    assert_eq!(table.len(), ENTRIES.len(), "a route stands in the table twice");
}

#[tokio::test]
async fn every_id_of_every_request_stands_in_the_table() {
    let service = Service::start().await;
    let document = service.ask("anywhere.test", None, Ask::get("/api/v1/openapi.json")).await.is(200).json();
    for entry in ENTRIES {
        let (method, path) = entry.route.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        let mut found = BTreeSet::new();
        for parameter in operation["parameters"].as_array().unwrap() {
            let (place, name) = (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap());
            let is_id = place == "path" && name == "id";
            if is_id || !ids_of(&document, &parameter["schema"], "").is_empty() {
                found.insert(format!("{place}.{name}"));
            }
        }
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        found.extend(ids_of(&document, body, "body"));
        let known: BTreeSet<String> = entry.places.iter().map(|(place, _, _)| (*place).to_owned()).collect();
        assert_eq!(found, known, "{}: left what it takes, right what the table knows", entry.route);
    }
}

/// Where a schema takes an id, as dotted names.
fn ids_of(document: &Value, schema: &Value, at: &str) -> BTreeSet<String> {
    if let Some(pointer) = schema["$ref"].as_str() {
        let target = document.pointer(pointer.trim_start_matches('#')).unwrap();
        return ids_of(document, target, at);
    }
    let mut found = BTreeSet::new();
    if schema["format"] == "uuid" || schema["format"] == "entity" {
        found.insert(at.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        found.extend(ids_of(document, property, &format!("{at}.{name}")));
    }
    for inner in ["anyOf", "oneOf", "allOf"] {
        for part in schema[inner].as_array().into_iter().flatten() {
            found.extend(ids_of(document, part, at));
        }
    }
    if schema["items"].is_object() {
        found.extend(ids_of(document, &schema["items"], &format!("{at}[]")));
    }
    found
}
