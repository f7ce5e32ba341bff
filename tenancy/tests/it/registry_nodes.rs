//! A tenant that is suspended is refused by every node within a second, shown by two other processes.
//!
//! No watch is held against anything: of every look-up that found the tenant in service, the process says when it
//! began, and none began a second after the suspension was committed.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, RegistryOptions, ResolveError, Session, Tenants,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, TestDatabase, cluster},
};

use crate::{
    redis_server::Server,
    registry::{as_owner, by_name},
};

const DATABASE: &str = "FORMWORK_TEST_REGISTRY_DATABASE";
const TOLD_BY: &str = "FORMWORK_TEST_REGISTRY_TOLD_BY";

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()
}

fn say(line: &str) {
    println!("\nnode {line}");
    std::io::stdout().flush().unwrap();
}

/// A node, in a process of its own: looks the tenant up until it is refused, and begins transactions for it.
#[test]
fn another_process() {
    let (Ok(url), Ok(told_by)) = (std::env::var(DATABASE), std::env::var(TOLD_BY)) else { return };
    let options = match told_by.as_str() {
        "listen" => RegistryOptions::new().listen(url.parse().unwrap()),
        "nobody" => RegistryOptions::new(),
        redis => RegistryOptions::new()
            .redis_within(redis, Duration::from_secs(3_600), Duration::from_millis(10))
            .unwrap(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let builder = Tenants::builder().base_domain(BASE_DOMAIN).registry(options);
        let tenants = builder.connect(&url).await.unwrap();
        let first = by_name(&tenants, "a").await.unwrap();
        let held = Session::new(&first, Actor::system("test"));
        let (mut last, mut begun) = (micros(), false);
        loop {
            let at = micros();
            match by_name(&tenants, "a").await {
                Ok(_) => last = at,
                Err(ResolveError::NotActive { .. }) => break,
                Err(other) => panic!("{other}"),
            }
            // Ready once it works, and is told of changes where it is told.
            if !begun && (told_by == "nobody" || tenants.registry_metrics().heard > 0) {
                begun = true;
                say("ready");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        say(&format!("accepted {last}"));
        // A session that was begun before is refused by the same moment.
        let mut last = 0;
        loop {
            let at = micros();
            match tenants.begin(&held).await {
                Ok(tx) => tx.rollback().await.unwrap(),
                Err(error) => break assert!(error.refusal().is_some(), "{error}"),
            }
            last = at;
        }
        say(&format!("accepted {last}"));
        let metrics = tenants.registry_metrics();
        say(&format!("heard {}", metrics.heard));
        assert!(metrics.hits > metrics.misses && metrics.redis_unbelieved == 0, "{metrics:?}");
    });
}

fn start(url: &str, told_by: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "registry_nodes::another_process", "--nocapture"]);
    command.env(DATABASE, url).env(TOLD_BY, told_by);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    (child, lines.filter_map(|line| Some(line.strip_prefix("node ")?.to_owned())))
}

async fn is_refused_by_two_processes(told_by: &str) {
    let db = TestDatabase::new(&[TENANCY]).await;
    db.tenant("a", Isolation::Shared).await;
    let url = cluster().await.url_of(LocalRole::App, db.name());
    let mut nodes = [start(&url, told_by), start(&url, told_by)];
    for (_, lines) in &mut nodes {
        assert_eq!(lines.next().as_deref(), Some("ready"));
    }
    as_owner(&db, "update platform.tenants set status = 'suspended'").await;
    let suspended = micros();
    for (child, lines) in &mut nodes {
        let told: Vec<String> = lines.collect();
        assert!(child.wait().unwrap().success(), "{told_by}: {told:?}");
        let number = |what: &str| {
            let numbers = told.iter().filter_map(|line| line.strip_prefix(what)?.trim().parse::<u128>().ok());
            numbers.collect::<Vec<_>>()
        };
        let accepted = number("accepted");
        assert_eq!(accepted.len(), 2);
        for last in accepted {
            let after = last.saturating_sub(suspended);
            assert!(after < 1_000_000, "{told_by}: accepted {after} us after the suspension");
            eprintln!("told by {told_by}: last accepted {after} us after the suspension");
        }
        // They were told, where there is somebody to tell them: once at the beginning, and of this.
        assert!(told_by == "nobody" || number("heard")[0] >= 2, "{told:?}");
    }
}

#[tokio::test]
async fn suspension_is_seen_by_every_node_within_a_second_by_listen() {
    is_refused_by_two_processes("listen").await;
}

#[tokio::test]
async fn suspension_is_seen_by_every_node_within_a_second_by_redis() {
    let Some(server) = Server::start(false).await else { return };
    is_refused_by_two_processes(&server.url()).await;
}

#[tokio::test]
async fn suspension_is_seen_by_every_node_within_a_second_when_nobody_tells_them() {
    is_refused_by_two_processes("nobody").await;
}
