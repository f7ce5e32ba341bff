//! `formwork audit export`, `trail` and `remove-old`, and sealing in `serve` and `worker`.

use std::fs;

use formwork_tenancy::local_postgres::LocalRole;
use serde_json::Value;

use crate::{
    cli::{PATIENCE, Running, within},
    cli_move::Two,
};

/// A tenant with 3 events of long ago.
async fn acme() -> Two {
    let two = Two::new().await;
    two.run(&["tenant", "create", "acme", "--isolation", "shared"]).await.ok();
    two.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
    two.superuser(
        "insert into shared.audit_events (tenant_id, id, at, actor_type, actor_id, action, reason)
         select t.id, ('01800000-0000-7000-8000-00000000000' || n)::uuid, '2022-04-06', 'user', 'ada', 'project.renamed', '=1+1'
           from platform.tenants t, generate_series(1, 3) n",
    )
    .await;
    two
}

#[tokio::test]
async fn a_trail_is_exported_by_filter_and_that_stands_in_it() {
    let two = acme().await;
    let path = two.home.path("acme.csv");
    let file = path.to_str().unwrap();
    let only = ["--action", "project.renamed", "--outcome", "success", "--until", "2023-01-01T00:00:00Z"];
    let done = two
        .run(&[&["audit", "export", "acme", "--format", "csv", "--output", file], &only[..]].concat())
        .await
        .ok();
    assert!(done.err.contains("`acme`: 3 events"), "{done:?}");
    let csv = fs::read_to_string(&path).unwrap();
    assert_eq!((csv.lines().count(), csv.matches(",\"'=1+1\",").count()), (4, 3), "{csv}");
    let again = two.run(&["audit", "export", "acme", "--output", file]).await;
    assert!(again.sentence().contains("cannot be written"), "{again:?}");
    let all = two.run(&["audit", "export", "acme", "--actor", "system:audit"]).await.ok();
    let told: Vec<Value> = all.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["action"], &told[0]["after"]["format"]), (&"audit.exported".into(), &"csv".into()));
}

#[tokio::test]
async fn old_events_are_removed_under_a_tombstone_unless_a_court_holds_them() {
    let two = acme().await;
    two.run(&["audit", "seal", "acme"]).await.ok();
    let remove = ["audit", "remove-old", "acme", "--keep-months", "12", "--reason", "kept for a year"];
    let dry = two.run(&[&remove[..], &["--dry-run"]].concat()).await.ok();
    assert_eq!(dry.out.trim(), "`acme`: 3 events would go");
    let hold = ["tenant", "hold", "acme", "--for", "court", "--reason", "case 7", "--json"];
    let hold: Value = serde_json::from_str(&two.run(&hold).await.ok().out).unwrap();
    let held = two.run(&remove).await;
    assert!(held.sentence().contains("on legal hold by court (case 7)"), "{held:?}");
    two.run(&["tenant", "release", hold["id"].as_str().unwrap(), "--reason", "closed"]).await.ok();
    let done = two.run(&remove).await.ok();
    assert!(done.out.contains("`acme`: 3 events removed, tombstone "), "{done:?}");
    let verified: Value =
        serde_json::from_str(&two.run(&["audit", "verify", "acme", "--json"]).await.ok().out).unwrap();
    assert_eq!(verified["findings"], Value::Array(Vec::new()));
    let gone: u64 =
        verified["buried"].as_array().unwrap().iter().map(|one| one["gone"].as_u64().unwrap()).sum();
    assert_eq!(gone, 3, "{verified}");
    let told = two.run(&["audit", "verify", "acme"]).await.ok();
    assert!(told.out.contains("3 events are gone under tombstone "), "{told:?}");
    assert_eq!(two.run(&remove).await.ok().out.trim(), "`acme`: no event is that old");
    let path = two.home.path("acme.trail");
    let file = two.run(&["audit", "trail", "acme", "--output", path.to_str().unwrap()]).await.ok();
    assert!(file.out.starts_with("`acme`: "), "{file:?}");
    assert_eq!(fs::read_to_string(&path).unwrap().matches("\"hash\":").count(), 3);
    two.run(&["doctor"]).await.ok();
}

#[tokio::test]
async fn a_worker_and_a_server_seal_what_comes() {
    let two = acme().await;
    let idle = two.run(&["worker"]).await;
    assert!(idle.sentence().contains("there is nothing to do"), "{idle:?}");
    two.run(&["audit", "seal", "acme"]).await.ok();
    let key = two.home.state().join("audit-seal.pem");
    let key = key.to_str().unwrap().to_owned();
    let without = two.run(&["worker", "--seal-key", &key]).await;
    assert!(without.sentence().contains("`DATABASE_RELAY_URL` is not set"), "{without:?}");
    let unsealed = async || -> u64 {
        let verified = two.run(&["audit", "verify", "acme", "--json"]).await.ok();
        serde_json::from_str::<Value>(&verified.out).unwrap()["unsealed"].as_u64().unwrap()
    };
    for command in [vec!["worker"], vec!["serve", "--listen", "127.0.0.1:0"]] {
        two.run(&["audit", "export", "acme", "--action", "no.such"]).await.ok();
        assert_eq!(unsealed().await, 1);
        let arguments = [&command[..], &["--seal-key", &key, "--seal-every", "1"]].concat();
        let mut program = two.command(&arguments).await;
        program.env("DATABASE_RELAY_URL", two.url(LocalRole::Relay).await);
        let mut running = Running::of(&two.home, &mut program);
        running.until("formwork ");
        let begun = std::time::Instant::now();
        while unsealed().await > 0 {
            assert!(begun.elapsed() < PATIENCE, "{}", running.errors());
        }
        running.signal("TERM");
        within(PATIENCE, "it ends", || running.ended().is_some());
    }
}
