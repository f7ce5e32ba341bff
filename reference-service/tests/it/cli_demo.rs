//! `formwork demo`: what it prints works, it leaves nothing running, and its data stay.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::cli::{Home, Named, PATIENCE, Running, kernel_ends_postgres, mode, within};

const USERS: [&str; 4] = ["ada@acme.example", "ben@acme.example", "cleo@bolt.example", "dan@bolt.example"];

/// Until it has said everything.
fn greeting(demo: &mut Running) -> Vec<String> {
    demo.until("Ctrl-C stops everything")
}

/// Runs a line as somebody who copies it does.
fn in_shell(line: &str) -> Value {
    let done = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(done.status.success(), "curl is needed; {line}: {done:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

#[tokio::test]
async fn what_it_prints_works_and_what_was_made_stays() {
    let home = Home::new();
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    let lines = greeting(&mut demo);
    let port: u16 = lines[0].split("127.0.0.1:").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    let text = lines.join("\n");
    for tenant in ["acme", "bolt"] {
        assert!(text.contains(&format!("http://{tenant}.localhost:{port} ")), "{text}");
    }
    for user in USERS {
        let line = lines.iter().find(|line| line.trim().starts_with(user)).unwrap();
        assert_eq!(line.split_whitespace().count(), 3, "address, password, role: {line}");
    }
    let curls: Vec<&str> =
        lines.iter().map(|line| line.trim()).filter(|line| line.starts_with("curl")).collect();
    assert_eq!(curls.len(), 3, "{text}");
    assert_eq!(in_shell(curls[0])["token_type"], "Bearer");
    assert_eq!(in_shell(curls[1])["slug"], "acme");
    let made = in_shell(curls[2]);
    assert_eq!(made["name"], "Harbour bridge", "{made}");

    assert_eq!(mode(&home.path("state/signing-key.pem")), 0o600);
    assert_eq!(mode(&home.path("state/postgres/socket")), 0o700);
    assert_eq!(mode(&home.path("state/postgres/cluster.json")), 0o600);
    refuses_privileged_logins(&home);

    stops_on(&home, demo, "INT");
    let mut demo = Running::start(&home, &["demo", "--port", &port.to_string()]);
    assert_eq!(greeting(&mut demo), lines, "the same again");
    let kept = in_shell(&curls[2].replace("-d '{\"name\":\"Harbour bridge\"}'", ""));
    assert_eq!(kept["data"][0]["id"], made["id"], "{kept}");
    stops_on(&home, demo, "TERM");
}

/// Who could pass by row security is refused, so the demo's own connections are of `formwork_app`.
fn refuses_privileged_logins(home: &Home) {
    let secrets = std::fs::read_to_string(home.path("state/postgres/cluster.json")).unwrap();
    let secrets: Value = serde_json::from_str(&secrets).unwrap();
    let folder = home.path("state/postgres/socket").display().to_string().replace('/', "%2F");
    for (login, why) in [("postgres", "is a superuser"), ("formwork_owner", "owns tables")] {
        let url = format!("postgres://{login}:{}@{folder}/formwork", secrets[login].as_str().unwrap());
        let mut serve = home.formwork(&["serve", "--listen", "127.0.0.1:0"]);
        let refused = super::cli::Done::of(serve.env("DATABASE_URL", url));
        let sentence = refused.sentence();
        assert!(sentence.starts_with(&format!("login `{login}` {why}")), "{sentence}");
        assert!(sentence.ends_with("connect as a login like `formwork_app`"), "{sentence}");
        assert!(refused.out.is_empty(), "{refused:?}");
    }
}

fn stops_on(home: &Home, mut demo: Running, signal: &str) {
    assert!(home.has_postgres());
    let begun = Instant::now();
    demo.signal(signal);
    let done = demo.end();
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(!home.has_postgres());
}

#[test]
fn killed_it_leaves_no_postgres_and_starts_again() {
    let home = Home::new();
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    greeting(&mut demo);
    demo.kill();
    if kernel_ends_postgres() {
        within(Duration::from_secs(20), "Postgres ends with the program", || !home.has_postgres());
    }
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    greeting(&mut demo);
    stops_on(&home, demo, "INT");
}

#[test]
fn stopped_while_it_starts_it_leaves_nothing_running() {
    let home = Home::new();
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    within(PATIENCE, "the database is begun", || home.postgres().exists());
    demo.signal("INT");
    let done = demo.end();
    assert_eq!((done.code, done.out.as_str()), (Some(0), ""), "{done:?}");
    within(Duration::from_secs(20), "nothing runs", || !home.has_postgres());
}

#[tokio::test]
async fn a_database_that_is_named_is_used_and_none_is_started() {
    let named = Named::new().await;
    let mut demo = named.start(&["demo", "--port", "0"]);
    let lines = greeting(&mut demo);
    assert!(!named.home.postgres().exists());
    let curls: Vec<_> = lines.iter().filter(|line| line.trim().starts_with("curl")).collect();
    assert_eq!(in_shell(curls[1])["slug"], "acme");
    demo.signal("INT");
    assert_eq!(demo.end().code, Some(0));
}
