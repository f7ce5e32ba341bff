//! `formwork worker` and `formwork audit sinks`.

use std::fs;

use formwork_tenancy::Isolation;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection};

use super::cli::{Named, PATIENCE, Running, home_of, within};

async fn acme() -> Named {
    let named = Named::new().await;
    named.run(&["tenant", "create", "acme", "--isolation", Isolation::Schema.as_str()]).ok();
    named
}

/// Writes an event as the service's login may.
async fn event(named: &Named, number: u8, action: &str) {
    let mut superuser = named.superuser().await;
    let home = home_of(&mut superuser, "acme").await;
    let sql = format!(
        "insert into {home}.audit_events (tenant_id, id, actor_type, actor_id, action)
         select id, '01970000-0000-7000-8000-{number:012}', 'user', 'ada', '{action}' from platform.tenants"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut superuser).await.unwrap();
    superuser.close().await.unwrap();
}

/// A worker that follows, and where its metrics are.
fn follows(named: &Named, sinks: &str) -> (Running, String) {
    let mut worker = named.start(&["worker", "--sinks", sinks, "--metrics-listen", "127.0.0.1:0"]);
    let said = worker.until("delivers audit events to");
    let metrics = said.iter().find_map(|line| line.strip_prefix("metrics are at ")).unwrap().to_owned();
    // Its first look is done when its sinks are known.
    within(PATIENCE, "the worker follows", || {
        let status = named.run(&["audit", "sinks", "status", "--sinks", sinks]).ok();
        !status.out.contains("not delivered to yet")
    });
    (worker, metrics)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_delivers_and_what_is_refused_can_be_looked_at_and_sent_again() {
    let named = acme().await;
    let (path, secret) = (
        named.home.path("audit.ndjson"),
        named.home.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    );
    // Nobody listens at port 1, so one attempt is all.
    let text = format!(
        "[[sink]]\nname = \"file\"\nformat = \"ocsf\"\nexcept = [\"report.*\"]\nfile = {{ path = {path:?} }}\n\n\
         [[sink]]\nname = \"hook\"\nattempts = 1\nactions = [\"member.*\"]\n\
         webhook = {{ url = \"http://127.0.0.1:1/\", secret_file = {secret:?}, allow_networks = [\"127.0.0.1\"] }}\n\
         [sink.tenant.acme]\nactions = [\"member.*\", \"project.*\"]\noutcomes = [\"success\"]\n"
    );
    let sinks = named.home.write("sinks.toml", text);
    let sinks = sinks.to_str().unwrap();
    let (mut worker, address) = follows(&named, sinks);
    for (number, action) in [(1, "report.viewed"), (2, "project.created")] {
        event(&named, number, action).await;
    }
    within(PATIENCE, "the event is in the file and given up by the webhook", || {
        let letters = named.run(&["audit", "sinks", "letters", "acme", "--json"]).ok();
        let written = fs::read_to_string(&path).unwrap_or_default();
        letters.out.lines().count() == 1 && written.lines().count() == 1
    });
    let line: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        (&line["class_uid"], &line["metadata"]["event_code"]),
        (&6003.into(), &"project.created".into())
    );
    let letters = named.run(&["audit", "sinks", "letters", "acme", "--sink", "hook"]).ok();
    assert!(
        letters.out.contains("01970000-0000-7000-8000-000000000002 for `hook`, given up "),
        "{letters:?}"
    );
    assert!(letters.out.contains("after 1 attempts: the sink cannot be reached: "), "{letters:?}");
    let metrics = reqwest::get(address).await.unwrap().text().await.unwrap();
    for line in [
        "formwork_audit_sink_delivered_total{sink=\"file\",database=\"main\"} 1",
        "formwork_audit_sink_filtered_total{sink=\"hook\",database=\"main\"} 1",
        "formwork_audit_sink_dead_letters_total{sink=\"hook\",database=\"main\"} 1",
        "formwork_audit_sink_backlog_events{sink=\"file\",database=\"main\"} 0",
        "formwork_audit_sink_lag_seconds{sink=\"file\",database=\"main\"} 0",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}\n{metrics}");
    }
    worker.signal("TERM");
    worker.end().ok();

    // The receiver is there now.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 16_384]);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    });
    let there = named.home.path("sinks.toml");
    let text = fs::read_to_string(&there).unwrap().replace("127.0.0.1:1/", &format!("127.0.0.1:{port}/"));
    fs::write(&there, text).unwrap();
    let resent = named.run(&["audit", "sinks", "resend", "acme", "--sink", "hook", "--sinks", sinks]).ok();
    assert_eq!(resent.out.trim(), "`hook`: 1 sent again, 0 refused again, 0 not there any more");
    let letters = named.run(&["audit", "sinks", "letters", "acme"]).ok();
    assert_eq!(letters.out.trim(), "`acme`: 0 dead letters");
    named.run(&["audit", "sinks", "prune", "--keep-hours", "0"]).ok();
    named.run(&["audit", "sinks", "forget", "hook"]).ok();
    let status = named.run(&["audit", "sinks", "status", "--sinks", sinks]).ok();
    assert_eq!(status.out.trim(), "`file` from main: 0 events wait\n`hook` from main: not delivered to yet");
}

#[tokio::test]
async fn a_file_of_sinks_that_is_wrong_is_told_in_one_sentence() {
    let named = acme().await;
    let secret = named.home.write("secret", "nothing");
    for (text, told) in [
        (
            "[[sink]]\nname = \"a\"\n".to_owned(),
            "sink `a`: say where to, by one of `file`, `webhook` and `redis`",
        ),
        (
            "[[sink]]\nname = \"a\"\nfile = { path = \"x\" }\n[[sink]]\nname = \"a\"\n".to_owned(),
            "sink `a`: there are two of this name",
        ),
        (
            "[[sink]]\nname = \"a b\"\n".to_owned(),
            "sink `a b`: its name has letters, digits, `-` and `_` alone",
        ),
        ("[[sink]]\nname = \"a\"\nfilter = 1\n".to_owned(), "unknown field `filter`"),
        (
            "[[sink]]\nname = \"a\"\ntenants = [\"none\"]\nfile = { path = \"x\" }\n".to_owned(),
            "there is no tenant `none`",
        ),
        (
            format!(
                "[[sink]]\nname = \"a\"\nwebhook = {{ url = \"https://a.example\", secret_file = {secret:?} }}\n"
            ),
            "sink `a`: the secret is not `whsec_`",
        ),
        (
            "[[sink]]\nname = \"a\"\nfile = { path = \"/nowhere/x\" }\n".to_owned(),
            "`/nowhere/x` cannot be used: No such file",
        ),
    ] {
        let sinks = named.home.write("wrong.toml", &text);
        let failed = named.run(&["worker", "--sinks", sinks.to_str().unwrap()]);
        assert!(failed.err.contains(told), "{told}: {failed:?}");
        assert_eq!(failed.code, Some(1), "{failed:?}");
    }
    let missing = named.run(&["worker", "--sinks", "/nowhere/sinks.toml"]);
    assert!(missing.sentence().starts_with("`/nowhere/sinks.toml` cannot be used: "), "{missing:?}");
}
