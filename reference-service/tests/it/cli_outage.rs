//! The database goes away and comes back while the service runs.

use std::time::{Duration, Instant};

use formwork_tenancy::local_postgres::{Durability, LocalPostgres, LocalRole, Settings};
use serde_json::json;

use super::cli::{Caller, Home, PATIENCE, Running, binaries, signal};

/// Longer than the service waits for a connection.
const SOON: Duration = Duration::from_secs(8);

/// Whatever is asked is answered: with 503 and a problem document that says when to ask again.
async fn answers_unavailable(caller: &Caller) {
    for (method, path, body) in [
        ("GET", "/api/v1/projects", None),
        ("POST", "/api/v1/projects", Some(json!({"name": "Harbour bridge"}))),
        ("POST", "/api/v1/auth/login", Some(json!({"email": "a@b.example", "password": "x"}))),
        ("GET", "/health/ready", None),
    ] {
        let begun = Instant::now();
        let answer = caller.request(method, path, body).send().await.unwrap();
        assert!(begun.elapsed() < SOON, "{path}: {:?}", begun.elapsed());
        assert_eq!(answer.status(), 503, "{path}");
        let header = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-type").as_deref(), Some("application/problem+json"), "{path}");
        assert!(header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{path}");
        let problem: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], "urn:formwork:problem:database-unavailable", "{path}");
        assert_eq!(problem["status"], 503, "{path}");
    }
    assert_eq!(caller.get("/health/live").await.0, 200);
}

async fn recovers(caller: &Caller) {
    let begun = Instant::now();
    while caller.get("/health/ready").await.0 != 200 {
        assert!(begun.elapsed() < PATIENCE, "it does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (status, made) = caller.send("POST", "/api/v1/projects", Some(json!({"name": "After"}))).await;
    assert_eq!(status, 201, "who is ready serves: {made}");
}

#[tokio::test]
async fn a_service_outlives_its_database() {
    let home = Home::new();
    let settings = Settings::new(binaries(), home.path("named")).durability(Durability::Fast);
    let postgres = LocalPostgres::start(settings.clone()).await.unwrap();
    let urls = [("DATABASE_URL", LocalRole::App), ("DATABASE_OWNER_URL", LocalRole::Owner)];
    let formwork = |arguments: &[&str]| {
        let mut command = home.formwork(arguments);
        command.envs(urls.map(|(variable, role)| (variable, postgres.url(role))));
        command
    };
    let mut demo = Running::of(&home, &mut formwork(&["demo", "--port", "0"]));
    demo.until("Ctrl-C");
    demo.signal("INT");
    demo.end().ok();

    let mut serve = Running::of(&home, &mut formwork(&["serve", "--listen", "127.0.0.1:0"]));
    let address = serve.address();
    let caller = Caller::sign_in(&address, "acme", "ada@acme.example", "ada-builds-bridges").await;
    assert_eq!(caller.get("/api/v1/projects").await.0, 200);

    postgres.stop().await;
    answers_unavailable(&caller).await;
    answers_unavailable(&caller).await;

    let postgres = LocalPostgres::start(settings).await.unwrap();
    recovers(&caller).await;
    assert!(serve.ended().is_none());
    serve.signal("TERM");
    serve.end().ok();
    postgres.stop().await;
}

#[tokio::test]
async fn a_service_stops_while_its_database_is_away() {
    let home = Home::new();
    let settings = Settings::new(binaries(), home.path("named")).durability(Durability::Fast);
    let postgres = LocalPostgres::start(settings).await.unwrap();
    let mut migrate = home.formwork(&["migrate"]);
    super::cli::Done::of(migrate.env("DATABASE_OWNER_URL", postgres.url(LocalRole::Owner))).ok();
    let mut serve = home.formwork(&["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Running::of(&home, serve.env("DATABASE_URL", postgres.url(LocalRole::App)));
    serve.address();
    postgres.stop().await;
    let begun = Instant::now();
    serve.signal("TERM");
    serve.end().ok();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_demo_starts_its_database_again() {
    let home = Home::new();
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    let address = demo.address();
    demo.until("Ctrl-C");
    let caller = Caller::sign_in(&address, "bolt", "cleo@bolt.example", "cleo-raises-steel").await;
    let killed = home.postmaster().unwrap();
    signal("KILL", killed);
    super::cli::within(PATIENCE, "another server", || home.postmaster().is_some_and(|pid| pid != killed));
    recovers(&caller).await;
    demo.signal("INT");
    demo.end().ok();
    assert!(!home.has_postgres());
}
