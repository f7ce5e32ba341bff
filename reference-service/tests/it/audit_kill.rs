//! `kill -9` of the service, the worker, a sealer and Postgres under load: every change that was committed has exactly
//! one event, every event has reached every sink, and all seals verify.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use formwork_tenancy::{
    local_postgres::{Durability, LocalPostgres, LocalRole, Settings},
    testing::LongRound,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use super::cli::{Caller, Done, Home, PATIENCE, Running, Stored, binaries, home_of, signal, within};

const TENANTS: [(&str, &str, &str); 2] =
    [("acme", "ada@acme.example", "ada-builds-bridges"), ("bolt", "cleo@bolt.example", "cleo-raises-steel")];
/// Writers for each tenant.
const WRITERS: usize = 2;

/// Who is killed in a round.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Everybody,
    Postgres,
    Service,
    Worker,
}

const VICTIMS: [Victim; 4] = [Victim::Everybody, Victim::Postgres, Victim::Service, Victim::Worker];

/// How often each event was posted.
type Posted = Arc<Mutex<BTreeMap<String, usize>>>;

async fn receiver(posted: &Posted) -> String {
    let posted = Arc::clone(posted);
    let take = move |headers: HeaderMap| {
        let posted = Arc::clone(&posted);
        async move {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            *posted.lock().unwrap().entry(id).or_default() += 1;
            StatusCode::NO_CONTENT
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", post(take))).await });
    format!("http://{address}/")
}

/// All that is killed, and what it is started with.
struct Stage {
    home: Home,
    settings: Settings,
    postgres: Option<LocalPostgres>,
    urls: Vec<(&'static str, String)>,
    service: Option<Running>,
    worker: Option<Running>,
    address: String,
}

impl Stage {
    async fn new(hook: &str) -> Self {
        let home = Home::new();
        // A commit outlives its server here, as it does where it counts.
        let settings = Settings::new(binaries(), home.path("named")).durability(Durability::Durable);
        let postgres = LocalPostgres::start(settings.clone()).await.unwrap();
        let urls = [
            ("DATABASE_URL", LocalRole::App),
            ("DATABASE_OWNER_URL", LocalRole::Owner),
            ("DATABASE_RELAY_URL", LocalRole::Relay),
        ];
        let urls = urls.map(|(variable, role)| (variable, postgres.url(role))).to_vec();
        home.write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        let (file, secret) = (home.path("audit.ndjson"), home.path("secret"));
        let sinks = format!(
            "[[sink]]\nname = \"file\"\nfile = {{ path = {file:?}, rotate_megabytes = 1 }}\n\n\
             [[sink]]\nname = \"hook\"\n\
             webhook = {{ url = {hook:?}, secret_file = {secret:?}, allow_networks = [\"127.0.0.0/8\"] }}\n"
        );
        home.write("sinks.toml", sinks);
        let (service, worker, address) = (None, None, String::new());
        let mut stage = Self { home, settings, postgres: Some(postgres), urls, service, worker, address };
        let mut demo = stage.start(&["demo", "--port", "0"]);
        demo.until("Ctrl-C");
        demo.signal("INT");
        demo.end().ok();
        stage.up();
        stage
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.formwork(arguments);
        command.envs(self.urls.iter().cloned());
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::of(&self.home, &mut self.command(arguments))
    }

    /// Starts what does not run.
    fn up(&mut self) {
        if self.worker.is_none() {
            let sinks = self.home.path("sinks.toml");
            let mut worker = self.start(&["worker", "--sinks", sinks.to_str().unwrap()]);
            worker.until("delivers audit events to 2 sinks");
            self.worker = Some(worker);
        }
        if self.service.is_none() {
            let mut service = self.start(&["serve", "--listen", "127.0.0.1:0"]);
            self.address = service.address();
            self.service = Some(service);
        }
    }

    async fn kill(&mut self, victim: Victim) {
        if matches!(victim, Victim::Everybody | Victim::Postgres) {
            let data = self.home.path("named").join("data/postmaster.pid");
            let pid = std::fs::read_to_string(data).unwrap();
            signal("KILL", pid.lines().next().unwrap().parse().unwrap());
        }
        if matches!(victim, Victim::Everybody | Victim::Service) {
            self.service.take().unwrap().kill();
        }
        if matches!(victim, Victim::Everybody | Victim::Worker) {
            self.worker.take().unwrap().kill();
        }
        if matches!(victim, Victim::Everybody | Victim::Postgres) {
            self.postgres.take().unwrap().stop().await;
            self.postgres = Some(LocalPostgres::start(self.settings.clone()).await.unwrap());
        }
    }

    async fn superuser(&self) -> PgConnection {
        let options = self.postgres.as_ref().unwrap().connect_options(LocalRole::Superuser, "formwork");
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// Identities of all events of both tenants.
    async fn events(&self) -> BTreeSet<String> {
        let mut superuser = self.superuser().await;
        let mut events = BTreeSet::new();
        for (slug, _, _) in TENANTS {
            let home = home_of(&mut superuser, slug).await;
            let sql = format!(
                "select e.id::text from {home}.audit_events e join platform.tenants t on t.id = e.tenant_id
                  where t.slug = $1"
            );
            let found: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(slug).fetch_all(&mut superuser).await.unwrap();
            events.extend(found);
        }
        events
    }
}

/// Names of projects that the service has said are stored.
type Acknowledged = Arc<Mutex<Vec<(usize, String)>>>;

/// Makes projects until told to stop, whatever becomes of the service meanwhile.
async fn write(tenant: usize, address: String, stop: Arc<AtomicBool>, acknowledged: Acknowledged) {
    let (slug, email, password) = TENANTS[tenant];
    let mut caller: Option<Caller> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(signed_in) = &caller else {
            caller = Caller::try_sign_in(&address, slug, email, password).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let name = Uuid::now_v7().to_string();
        let made = signed_in.request("POST", "/api/v1/projects", Some(json!({"name": name}))).send().await;
        match made.map(|answer| answer.status().as_u16()) {
            Ok(201) => acknowledged.lock().unwrap().push((tenant, name)),
            // Stored or not: nobody has said.
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn round(stage: &mut Stage, number: usize, acknowledged: &Acknowledged) {
    let before = acknowledged.lock().unwrap().len();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..TENANTS.len() * WRITERS)
        .map(|n| {
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(acknowledged));
            tokio::spawn(write(n % TENANTS.len(), stage.address.clone(), stop, acknowledged))
        })
        .collect();
    let mut sealer = stage.start(&["audit", "seal", "acme", "bolt"]);
    // Some more each time, so that the kill meets another moment.
    let enough = before + 5 + number % 7;
    let begun = Instant::now();
    while acknowledged.lock().unwrap().len() < enough {
        assert!(
            begun.elapsed() < PATIENCE,
            "nothing is stored: {}",
            stage.service.as_ref().unwrap().errors()
        );
        tokio::time::sleep(Duration::from_millis(1 + (number as u64 * 13) % 17)).await;
    }
    let victim = VICTIMS[number % VICTIMS.len()];
    if matches!(victim, Victim::Everybody) {
        sealer.kill();
    }
    stage.kill(victim).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    stage.up();
    if !matches!(victim, Victim::Everybody) {
        // Whether or not it lost its database.
        sealer.end();
    }
}

/// What the file has, with those that were ended.
fn lines(folder: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("audit.ndjson") && !name.ends_with(".lock") {
            for line in std::fs::read_to_string(entry.path()).unwrap().lines() {
                // The last one may be on its way.
                let event: Option<Value> = serde_json::from_str(line).ok();
                ids.extend(event.map(|event| event["id"].as_str().unwrap().to_owned()));
            }
        }
    }
    ids
}

async fn assert_whole(stage: &Stage, acknowledged: &Acknowledged) {
    let mut superuser = stage.superuser().await;
    for (tenant, (slug, _, _)) in TENANTS.iter().enumerate() {
        let stored = Stored::of(&mut superuser, slug).await;
        assert_eq!((stored.torn, stored.created), (0, stored.projects), "{slug}: {stored:?}");
        let names: Vec<String> = acknowledged
            .lock()
            .unwrap()
            .iter()
            .filter(|(of, _)| *of == tenant)
            .map(|(_, name)| name.clone())
            .collect();
        let home = home_of(&mut superuser, slug).await;
        let sql = format!("select count(*) from {home}.projects where name = any($1)");
        let kept: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(&names).fetch_one(&mut superuser).await.unwrap();
        assert_eq!(kept, names.len() as i64, "{slug}: what was acknowledged is stored");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_has_one_event_and_every_event_arrives_whoever_is_killed() {
    let rounds = LongRound::begin("audit trails, sinks and seals under kill -9", 2, 100);
    let posted = Posted::default();
    let mut stage = Stage::new(&receiver(&posted).await).await;
    // A sink has what is written after its first look.
    let mut superuser = stage.superuser().await;
    let begun = Instant::now();
    loop {
        let followed: i64 = sqlx::query_scalar(
            "select count(*) from platform.stream_positions where stream = 'platform.audit_outbox'",
        )
        .fetch_one(&mut superuser)
        .await
        .unwrap();
        if followed == 2 {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the worker does not follow: {}",
            stage.worker.as_ref().unwrap().errors()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(superuser);
    let before = stage.events().await;
    let acknowledged = Acknowledged::default();
    for number in 0..rounds.count() {
        round(&mut stage, number, &acknowledged).await;
    }

    assert_whole(&stage, &acknowledged).await;
    let all = stage.events().await;
    let expected: BTreeSet<String> = all.difference(&before).cloned().collect();
    assert!(expected.len() >= acknowledged.lock().unwrap().len());
    let folder = stage.home.path("");
    within(PATIENCE, "every event reaches every sink", || {
        let ids: BTreeSet<String> = posted.lock().unwrap().keys().cloned().collect();
        expected.is_subset(&ids) && expected.is_subset(&lines(&folder))
    });
    // Nothing that was rolled back.
    let hook: BTreeSet<String> = posted.lock().unwrap().keys().cloned().collect();
    assert!(hook.is_subset(&all) && lines(&folder).is_subset(&all));
    for (slug, _, _) in TENANTS {
        Done::of(&mut stage.command(&["audit", "seal", slug])).ok();
        let verified = Done::of(&mut stage.command(&["audit", "verify", slug])).ok();
        assert!(verified.out.contains(" 0 events not sealed yet"), "{verified:?}");
    }
    let letters = Done::of(&mut stage.command(&["audit", "sinks", "letters", "acme"])).ok();
    assert!(letters.out.contains("`acme`: 0 dead letters"), "{letters:?}");
}
