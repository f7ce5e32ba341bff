//! Every failure is a problem document (RFC 9457), and every answer carries a correlation id.

use formwork_service::{http::error::ApiError, modules::members::Role, router::routes};
use formwork_tenancy::{CommitError, Isolation, StorageError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ask, Member, PASSWORD, Service, Site};

async fn site() -> (Site, Member) {
    let site = Service::start().await.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Owner).await;
    (site, ada)
}

#[tokio::test]
async fn what_is_no_route_is_not_found() {
    let (site, ada) = site().await;
    for path in [
        "/",
        "/api",
        "/api/v1/nonesuch",
        "/api/v1/projects/",
        "/api/v2/projects",
        "/api/v1/projects/x/y",
        "//",
    ] {
        ada.get(path).await.problem(404, "no-route");
        site.ask(None, Ask::get(path)).await.problem(404, "no-route");
    }
}

#[tokio::test]
async fn another_method_is_refused_with_those_there_are() {
    let (_, ada) = site().await;
    for route in routes() {
        let path = route.path().replace("{id}", &Uuid::now_v7().to_string()).replace("{target}", "*");
        for method in ["PUT", "OPTIONS"] {
            let answer = ada.send(Ask::new(method, &path)).await;
            answer.problem(405, "method-not-allowed");
            let allowed = answer.header("allow").unwrap_or_default();
            assert!(allowed.contains(route.method().as_str()), "{method} {path} allows `{allowed}`");
        }
    }
}

#[tokio::test]
async fn a_body_must_be_json() {
    let (_, ada) = site().await;
    let post =
        |kind: &str, body: &str| Ask::new("POST", "/api/v1/projects").header("content-type", kind).body(body);
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"]
    {
        ada.send(post(kind, r#"{"name":"x"}"#)).await.problem(415, "unreadable-request");
    }
    ada.send(Ask::new("POST", "/api/v1/projects")).await.problem(415, "unreadable-request");
    for kind in ["application/json", "Application/JSON; charset=utf-8"] {
        ada.send(post(kind, r#"{"name":"x"}"#)).await.is(201);
    }
    for body in ["", "{", r#"{"name":}"#, r#"{"name":"x"} x"#, "{\"name\":\"\u{1}\"}", "nul"] {
        ada.send(post("application/json", body)).await.problem(400, "unreadable-request");
    }
    for body in ["[]", "null", "7", r#""name""#, r#"{"name":7}"#, r#"{"name":"a","name":"b"}"#, r#"{}"#] {
        ada.send(post("application/json", body)).await.problem(422, "invalid-request");
    }
    let deep = format!("{{\"title\":\"x\",\"metadata\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let answer = ada.send(Ask::new("POST", "/api/v1/tasks").body(deep)).await;
    assert!(matches!(answer.status, 400 | 422), "{}", answer.body);
}

#[tokio::test]
async fn a_body_has_a_largest_size() {
    let (_, ada) = site().await;
    let body = |size: usize| json!({"name": "x", "description": "y".repeat(size)});
    ada.post("/api/v1/projects", body(1024 * 1024 - 100)).await.is(201);
    ada.post("/api/v1/projects", body(1024 * 1024)).await.problem(413, "unreadable-request");
}

#[tokio::test]
async fn limits_and_cursors_are_those_that_were_given() {
    let (_, ada) = site().await;
    let project = ada.project("P").await;
    let (board, _) = ada.board(None).await;
    for list in [
        "/api/v1/projects?".to_owned(),
        "/api/v1/audit?".to_owned(),
        format!("/api/v1/tasks?board_id={board}&"),
        format!("/api/v1/projects/{project}/linked/*?"),
    ] {
        for limit in ["0", "201", "18446744073709551616", "-1", "x", ""] {
            ada.get(format!("{list}limit={limit}")).await.problem(422, "invalid-request");
        }
        for limit in ["1", "200"] {
            ada.get(format!("{list}limit={limit}")).await.is(200);
        }
        for cursor in ["x", "", "AAAA", "bnVsbA", "W10", "eyJhIjoxfQ", "%FF", "../..", "W251bGwsbnVsbF0"] {
            // `null` is no position.
            ada.get(format!("{list}cursor={cursor}")).await.problem(422, "invalid-request");
        }
        ada.get(format!("{list}nonesuch=1")).await.problem(422, "invalid-request");
        ada.get(format!("{list}limit=1&limit=2")).await.problem(422, "invalid-request");
    }
}

/// What is no UUID is nobody's id.
#[tokio::test]
async fn an_unreadable_id_in_a_path_is_not_found() {
    let (_, ada) = site().await;
    for id in ["x", "1", "%00", "%FF", "00000000-0000-0000-0000-00000000000", "*", "%2e%2e%2f", "null"] {
        for path in ["projects/", "tasks/", "task-boards/"] {
            ada.get(format!("/api/v1/{path}{id}")).await.problem(404, "not-found");
        }
        ada.delete(format!("/api/v1/links/{id}")).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_correlation_id_is_given_back_or_made() {
    let (site, ada) = site().await;
    for path in ["/health/live", "/nonesuch", "/api/v1/tenant"] {
        let given = ada.send(Ask::get(path).header("x-correlation-id", "abc-123")).await;
        assert_eq!(given.header("x-correlation-id"), Some("abc-123"), "{path}");
        let one = site.ask(None, Ask::get(path)).await.header("x-correlation-id").map(str::to_owned);
        let two = site.ask(None, Ask::get(path)).await.header("x-correlation-id").map(str::to_owned);
        assert!(one.is_some_and(|id| id.parse::<Uuid>().is_ok() && Some(id) != two), "{path}");
    }
    // Nothing unprintable, nothing endless goes into logs and the trail.
    for odd in ["", "a b", "a\tb", "\u{e9}", &"x".repeat(129)] {
        let answer = site.ask(None, Ask::get("/health/live").header("x-correlation-id", odd)).await;
        assert!(answer.header("x-correlation-id").unwrap().parse::<Uuid>().is_ok(), "{odd:?}");
    }
}

#[tokio::test]
async fn health_needs_no_tenant() {
    let service = Service::start().await;
    for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
        for host in ["127.0.0.1:8080", "[::1]:8080", "anything.test"] {
            let answer = service.ask(host, None, Ask::get(path)).await.is(200);
            assert_eq!(answer.json(), json!({"status": status}));
        }
    }
}

/// Without its connections the service answers 503 with a problem document, on every route.
#[tokio::test]
async fn without_a_database_it_says_so() {
    let (site, ada) = site().await;
    site.service.app.tenants.close().await;
    for answer in [
        ada.get("/api/v1/projects").await,
        site.login("ada@example.com", "x").await,
        site.ask(None, Ask::get("/health/ready")).await,
    ] {
        answer.problem(503, "database-unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    site.ask(None, Ask::get("/health/live")).await.is(200);
}

/// Whoever repeats a write whose commit was lost may do it twice: the answer says so, and does not invite.
#[tokio::test]
async fn a_lost_commit_is_no_plain_failure() {
    let lost = || StorageError::from(sqlx::Error::PoolClosed);
    let unknown = ApiError::from(CommitError::Unknown(lost())).respond(None);
    assert_eq!((unknown.status().as_u16(), unknown.headers().get("retry-after")), (503, None));
    assert_eq!(ApiError::from(CommitError::Unknown(lost())).code(), "outcome-unknown");
    assert_eq!(ApiError::from(CommitError::RolledBack(lost())).code(), "database-unavailable");
}

/// A failure that nobody expected tells the client nothing but the correlation id.
#[tokio::test]
async fn an_unexpected_failure_keeps_its_cause() {
    let (site, ada) = site().await;
    let mut owner = site.service.owner().await;
    sqlx::query("alter table shared.projects rename to gone").execute(&mut owner).await.unwrap();
    let answer = ada.get("/api/v1/projects").await;
    let document = answer.problem(500, "internal");
    let members: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(members, ["detail", "instance", "status", "title", "type"]);
    assert!(!answer.body.contains("gone") && !answer.body.contains("projects"), "{}", answer.body);
}

#[tokio::test]
async fn a_head_request_is_answered_without_a_body() {
    let (_, ada) = site().await;
    let answer = ada.send(Ask::new("HEAD", "/api/v1/tenant")).await.is(200);
    assert_eq!(answer.body, "");
    assert_eq!(ada.send(Ask::new("HEAD", "/nonesuch")).await.status, 404);
}

#[tokio::test]
async fn a_panic_is_a_problem_document() {
    use axum::{Router, body::Body, http::Request, middleware::from_fn, routing::get};
    use tower::ServiceExt;

    async fn falls() -> &'static str {
        panic!("on purpose")
    }
    let router: Router =
        Router::new().route("/", get(falls)).layer(from_fn(formwork_service::http::guard::correlate));
    let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    let document: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(document["type"], "urn:formwork:problem:internal");
    assert!(!document.to_string().contains("on purpose"));
}

/// What a failed migration leaves behind; see `formwork migrate`.
#[tokio::test]
async fn a_tenant_whose_home_is_at_another_version_is_told_to_come_back_and_the_others_are_served() {
    let service = Service::start().await;
    let left = service.tenant("left", Isolation::Schema).await;
    let good = service.tenant("good", Isolation::Schema).await;
    for site in [&left, &good] {
        site.member("ada", Role::Owner).await;
    }
    sqlx::query("delete from platform.migration_ledger where home = $1 and set_name = 'service/tasks'")
        .bind(left.tenant.schema_name())
        .execute(&mut service.owner().await)
        .await
        .unwrap();
    let another = service.another().await;
    let answer = another.elsewhere(&left).login("ada@example.com", PASSWORD).await;
    answer.problem(503, "tenant-home-version");
    assert_eq!(answer.header("retry-after"), Some("1"));
    another.elsewhere(&good).login("ada@example.com", PASSWORD).await.is(200);
}
