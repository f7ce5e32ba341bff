//! `/api/v1/auth/login`, and which tenant a host and a token name.

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::json;

use crate::kit::{Ask, PASSWORD, Service};

#[tokio::test]
async fn a_right_password_gives_a_token_of_this_tenant() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Member).await;
    let answer = site.login("ADA@Example.com", PASSWORD).await.is(200).json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(answer["user"], json!({"id": ada.id, "name": "ada"}));
    let claims = service.app.tokens.verify(answer["access_token"].as_str().unwrap()).unwrap();
    assert_eq!((claims.sub, claims.org_id), (ada.id, site.tenant.id()));
    ada.get("/api/v1/tenant").await.is(200);
}

#[tokio::test]
async fn what_was_wrong_with_a_login_is_not_told() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Schema).await);
    a.member("ada", Role::Owner).await;
    let wrong = a.login("ada@example.com", "wrong").await;
    wrong.problem(401, "invalid-credentials");
    let unknown = a.login("nobody@example.com", PASSWORD).await;
    let elsewhere = b.login("ada@example.com", PASSWORD).await;
    assert_eq!(wrong.apart_from_correlation(), unknown.apart_from_correlation());
    assert_eq!(wrong.apart_from_correlation(), elsewhere.apart_from_correlation());
    for odd in ["", "%", "ada@example.com\u{0}", "ada@example.com'--"] {
        assert!(matches!(a.login(odd, PASSWORD).await.status, 401 | 422), "{odd:?}");
    }
}

#[tokio::test]
async fn a_person_without_a_password_or_deactivated_cannot_sign_in() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    site.member("ada", Role::Owner).await;
    let mut owner = service.owner().await;
    for change in ["status = 'deactivated'", "status = 'active', password_hash = null"] {
        let sql = format!("update platform.users set {change} where email = 'ada@example.com'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut owner).await.unwrap();
        site.login("ada@example.com", PASSWORD).await.problem(401, "invalid-credentials");
    }
}

#[tokio::test]
async fn the_short_path_is_the_same_login() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    site.member("ada", Role::Member).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    site.ask(None, Ask::post("/auth/login", body)).await.is(200);
    let wrong = json!({"email": "ada@example.com", "password": "wrong"});
    site.ask(None, Ask::post("/auth/login", wrong)).await.problem(401, "invalid-credentials");
}

#[tokio::test]
async fn the_header_must_be_a_bearer_token() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Member).await;
    for header in ["", "Bearer", "Bearer ", "Basic YTpi", "Token x"] {
        let ask = Ask::get("/api/v1/tenant").header("authorization", header);
        site.ask(None, ask).await.problem(401, "unauthenticated");
    }
    let ask = Ask::get("/api/v1/tenant").header("authorization", format!("bearer  {}", ada.token));
    site.ask(None, ask).await.is(200);
}

#[tokio::test]
async fn an_unknown_host_is_not_found() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Member).await;
    for host in [
        "nobody.formwork.test",
        "formwork.test",
        "x.a.formwork.test",
        "a.formwork.test.evil.test",
        "127.0.0.1",
    ] {
        let answer = service.ask(host, Some(&ada.token), Ask::get("/api/v1/tenant")).await;
        answer.problem(404, "unknown-tenant");
        let body = json!({"email": "ada@example.com", "password": PASSWORD});
        service.ask(host, None, Ask::post("/api/v1/auth/login", body)).await.problem(404, "unknown-tenant");
    }
}

#[tokio::test]
async fn a_host_is_read_without_case_port_and_dot() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Member).await;
    for host in ["A.Formwork.TEST", "a.formwork.test:8080", "a.formwork.test.", "a.formwork.test.:80"] {
        service.ask(host, Some(&ada.token), Ask::get("/api/v1/tenant")).await.is(200);
    }
}

#[tokio::test]
async fn a_request_names_one_host() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Shared).await);
    let ada = a.member("ada", Role::Owner).await;
    b.member("bob", Role::Owner).await;
    let token = &ada.token;
    for (target, hosts) in [
        ("/api/v1/tenant", "Host: a.formwork.test\r\nHost: b.formwork.test\r\n"),
        ("/api/v1/tenant", "Host: b.formwork.test\r\nHost: a.formwork.test\r\n"),
        ("http://b.formwork.test/api/v1/tenant", "Host: a.formwork.test\r\n"),
        ("http://a.formwork.test/api/v1/tenant", "Host: b.formwork.test\r\n"),
        ("/api/v1/tenant", "Host: b.formwork.test@a.formwork.test\r\n"),
        ("/api/v1/tenant", "Host: a.formwork.test/@b.formwork.test\r\n"),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\n{hosts}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        let answer = service.raw(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target} {hosts}\n{answer}");
        assert!(answer.contains("urn:formwork:problem:ambiguous-host"), "{answer}");
    }
    let agreed = format!(
        "GET http://a.formwork.test/api/v1/tenant HTTP/1.1\r\nHost: A.formwork.test:80\r\n\
         Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    assert!(service.raw(&agreed).await.starts_with("HTTP/1.1 200 "));
}

/// Only `Host` counts: these are for whoever runs a proxy, and nobody has said that one is there.
#[tokio::test]
async fn other_headers_name_no_tenant() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Shared).await);
    let ada = a.member("ada", Role::Owner).await;
    let of_b = b.tenant.id().to_string();
    for (name, value) in [
        ("x-forwarded-host", "b.formwork.test"),
        ("forwarded", "host=b.formwork.test"),
        ("x-original-host", "b.formwork.test"),
        ("x-tenant-id", &of_b),
        ("x-http-method-override", "DELETE"),
    ] {
        let answer = ada.send(Ask::get("/api/v1/tenant").header(name, value)).await.is(200);
        assert_eq!(answer.json()["slug"], "a", "{name}");
    }
}

#[tokio::test]
async fn a_domain_of_its_own_answers_once_it_is_verified() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Schema).await);
    let (ada, bob) = (a.member("ada", Role::Owner).await, b.member("bob", Role::Owner).await);
    let mut owner = service.owner().await;
    for (host, verified) in [("build.example.com", true), ("claimed.example.com", false)] {
        sqlx::query("insert into platform.tenant_domains values ($1, $2, case when $3 then now() end)")
            .bind(host)
            .bind(a.tenant.id().as_uuid())
            .bind(verified)
            .execute(&mut owner)
            .await
            .unwrap();
    }
    let ask = async |host, token: &str| service.ask(host, Some(token), Ask::get("/api/v1/tenant")).await;
    ask("Build.Example.com:443", &ada.token).await.is(200);
    ask("build.example.com", &bob.token).await.problem(403, "tenant-mismatch");
    ask("claimed.example.com", &ada.token).await.problem(404, "unknown-tenant");
    ask("x.build.example.com", &ada.token).await.problem(404, "unknown-tenant");
}

#[tokio::test]
async fn without_a_host_only_the_token_names_the_tenant() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Shared).await;
    let ada = site.member("ada", Role::Owner).await;
    let head = "GET /api/v1/tenant HTTP/1.0\r\n";
    let answer = service.raw(&format!("{head}Authorization: Bearer {}\r\n\r\n", ada.token)).await;
    assert!(answer.contains(" 200 ") && answer.contains(r#""slug":"a""#), "{answer}");
    let login = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
    let answer = service
        .raw(&format!(
            "POST /api/v1/auth/login HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{login}",
            login.len()
        ))
        .await;
    assert!(answer.contains(" 404 ") && answer.contains("unknown-tenant"), "{answer}");
}

#[tokio::test]
async fn a_tenant_out_of_service_says_so() {
    let service = Service::start().await;
    let site = service.tenant("a", Isolation::Schema).await;
    let ada = site.member("ada", Role::Owner).await;
    let mut owner = service.owner().await;
    for (status, answer, code) in [
        ("suspended", 403, "tenant-suspended"),
        ("archived", 410, "tenant-gone"),
        ("deleting", 410, "tenant-gone"),
        ("provisioning", 503, "tenant-not-ready"),
        ("deleted", 410, "tenant-gone"),
    ] {
        sqlx::query("update platform.tenants set status = $1")
            .bind(status)
            .execute(&mut owner)
            .await
            .unwrap();
        // A process that has not seen it yet: an answer may be one second old.
        let site = site.at(&service.another().await);
        site.ask(Some(&ada.token), Ask::get("/api/v1/tenant")).await.problem(answer, code);
        site.login("ada@example.com", PASSWORD).await.problem(answer, code);
    }
}

/// Kept on the platform's side, where no tenant can read or drop it.
#[tokio::test]
async fn a_token_at_the_wrong_host_is_remembered() {
    let service = Service::start().await;
    let (a, b) = (service.tenant("a", Isolation::Shared).await, service.tenant("b", Isolation::Shared).await);
    let bob = b.member("bob", Role::Owner).await;
    a.ask(Some(&bob.token), Ask::get("/api/v1/tenant")).await.problem(403, "tenant-mismatch");
    let mut owner = service.owner().await;
    let remembered = async {
        loop {
            let found: Option<(String, uuid::Uuid, serde_json::Value)> =
                sqlx::query_as("select kind, tenant_id, detail from platform.security_events")
                    .fetch_optional(&mut owner)
                    .await
                    .unwrap();
            match found {
                Some(found) => break found,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let (kind, tenant, detail) =
        tokio::time::timeout(std::time::Duration::from_secs(20), remembered).await.unwrap();
    assert_eq!((kind.as_str(), tenant), ("tenant-mismatch", a.tenant.id().as_uuid()));
    assert_eq!(detail["subject"], json!(bob.id));
    assert_eq!(detail["token_tenant"], json!(b.tenant.id()));
}

#[tokio::test]
async fn a_token_at_an_unknown_host_is_remembered_and_no_token_is_not() {
    let service = Service::start().await;
    let bob = service.tenant("b", Isolation::Shared).await.member("bob", Role::Owner).await;
    let nowhere = format!("nobody.{}", formwork_tenancy::testing::BASE_DOMAIN);
    let ask = |token| service.ask(&nowhere, token, Ask::get("/api/v1/tenant"));
    ask(None).await.is(401);
    ask(Some(&bob.token)).await.is(404);
    let mut owner = service.owner().await;
    let remembered = async {
        loop {
            let found: Vec<(String, serde_json::Value)> =
                sqlx::query_as("select kind, detail from platform.security_events")
                    .fetch_all(&mut owner)
                    .await
                    .unwrap();
            if !found.is_empty() {
                break found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(std::time::Duration::from_secs(20), remembered).await.unwrap();
    assert_eq!(found, [("unknown-tenant".to_owned(), json!({"host": nowhere, "subject": bob.id}))]);
}
