//! Kills while relationships are written at random: of the writer, of the follower, of Postgres with fsync on.
//!
//! After each, what the follower has in memory is what a fresh load gives and what the naive evaluator says of the rows;
//! what was acknowledged is stored, whole; and who has kept the watch's checkpoint with its state has missed nothing and
//! had nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io::BufRead as _, os::unix::fs::PermissionsExt as _};

use formwork_authz::{
    Authz, Change, Consistency, Filter, Graph, Object, Relationship, Schema, Subject, Watch, Write, rel,
};
use formwork_tenancy::local_postgres::{LocalPostgres, LocalRole, PgBinaries, Settings};
use formwork_tenancy::testing::{BASE_DOMAIN, LongRound};
use formwork_tenancy::{Actor, ControlPlane, Isolation, NewTenant, Relay, Session, Tenants};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use sqlx::{Connection as _, PgConnection};

use crate::naive::{Body, Expr, Facts, Form, Item, Model, World, YES};
use crate::nodes::{Node, say};

const SERVICE: &str = "FORMWORK_TEST_KILL_SERVICE";
/// The number from which a writer counts its transactions.
const BEGIN: &str = "FORMWORK_TEST_KILL_BEGIN";
const RELAY: &str = "FORMWORK_TEST_KILL_RELAY";
/// The file in which a follower keeps what it has watched.
const KEPT: &str = "FORMWORK_TEST_KILL_KEPT";
const DATABASE: &str = "kills";
const USERS: usize = 6;
const DOCUMENTS: usize = 6;
const LONG: Duration = Duration::from_secs(3600);
/// Between attempts while Postgres is away.
const PAUSE: Duration = Duration::from_millis(10);

fn model() -> Model {
    let relation = |name: &str, layer, subjects: &[&str]| {
        let form =
            |subject: &&str| Form { subject: (*subject).to_owned(), condition: None, expiration: false };
        Item { name: name.to_owned(), layer, body: Body::Relation(subjects.iter().map(form).collect()) }
    };
    let name = |name: &str| Box::new(Expr::Name(name.to_owned()));
    let view = Expr::Exclusion(name("viewer"), name("barred"));
    Model {
        types: vec![
            ("user".to_owned(), vec![]),
            ("team".to_owned(), vec![relation("member", 0, &["user", "team#member"])]),
            (
                "document".to_owned(),
                vec![
                    relation("viewer", 0, &["user", "team#member"]),
                    relation("barred", 0, &["user"]),
                    Item { name: "view".to_owned(), layer: 1, body: Body::Permission(view, None) },
                ],
            ),
        ],
    }
}

fn authz() -> Authz {
    Authz::new(Schema::parse(&model().to_string()).unwrap())
}

async fn service(url: &str) -> (Tenants, Session) {
    let tenants = Tenants::builder().base_domain(BASE_DOMAIN).connect(url).await.unwrap();
    let tenant = tenants.by_slug("acme").await.unwrap().unwrap();
    let session = Session::new(&tenant, Actor::system("kill"));
    (tenants, session)
}

/// Numbers that are the same wherever they are drawn.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn relationship(&mut self) -> Relationship {
        let (user, document) = (self.below(USERS), self.below(DOCUMENTS));
        let team = self.below(3);
        match self.below(4) {
            0 => rel!("team:t{team}#member@user:u{user}"),
            1 => rel!("document:d{document}#viewer@team:t{team}#member"),
            2 => rel!("document:d{document}#barred@user:u{user}"),
            _ => rel!("document:d{document}#viewer@user:u{user}"),
        }
    }

    /// Some changes, and two relationships by which it is seen later that all of it was stored.
    fn write(&mut self, number: usize) -> Write {
        let mut write = Write::new()
            .touch(rel!("document:done{number}#viewer@user:first"))
            .touch(rel!("document:done{number}#viewer@user:second"));
        let mut known = BTreeSet::new();
        for _ in 0..1 + self.below(4) {
            let relationship = self.relationship();
            if known.insert(relationship.to_string()) {
                write =
                    if self.below(3) == 0 { write.delete(relationship) } else { write.touch(relationship) };
            }
        }
        write
    }
}

/// The writer's program: two transactions at a time, each told when it is stored.
#[test]
fn a_writer() {
    let (Ok(url), Ok(begin)) = (std::env::var(SERVICE), std::env::var(BEGIN)) else { return };
    let begin: usize = begin.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (tenants, session) = service(&url).await;
        say("ready");
        let writers = [0, 1].map(|hand| {
            let (tenants, session, authz) = (tenants.clone(), session.clone(), authz());
            async move {
                for number in (begin + hand..).step_by(2) {
                    let write = Dice(number as u64).write(number);
                    let done = async {
                        let mut tx = tenants.begin(&session).await.ok()?;
                        authz.write(&mut tx, &write).await.ok()?;
                        tx.commit().await.ok()
                    };
                    match done.await {
                        Some(_) => say(&format!("done {number}")),
                        None => tokio::time::sleep(PAUSE).await,
                    }
                }
            }
        });
        let [first, second] = writers;
        tokio::join!(first, second);
    });
}

/// What a watcher keeps: in one file, replaced in one step, as others keep it in one transaction.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    checkpoint: String,
    relationships: BTreeSet<String>,
    seen: BTreeSet<i64>,
    repeated: Vec<i64>,
}

impl Kept {
    fn read(path: &Path) -> Self {
        fs::read_to_string(path).map(|text| serde_json::from_str(&text).unwrap()).unwrap_or_default()
    }

    fn write(&self, path: &Path) {
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_string(self).unwrap()).unwrap();
        fs::rename(&beside, path).unwrap();
    }
}

/// The follower's program: a node that follows, and beside it a watch.
#[test]
fn a_follower() {
    let (Ok(url), Ok(relay), Ok(kept)) = (std::env::var(SERVICE), std::env::var(RELAY), std::env::var(KEPT))
    else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (tenants, session) = service(&url).await;
        let authz = authz().with_consistency(Consistency::MinimizeLatency(LONG));
        let relay = Relay::builder().pause(PAUSE).connect(&relay).await.unwrap();
        let mut following = authz.follow("main", &relay);
        following.step().await.unwrap();
        authz.view(&tenants, &session).await.unwrap();
        tokio::spawn(following.run());
        let watch = authz.watch(&tenants, &session).pause(PAUSE);
        tokio::spawn(keep(watch, PathBuf::from(kept)));
        say("ready");
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let marker = Object::new("document", line);
            let subject = Subject::new("user", "marker");
            loop {
                let view = authz.view(&tenants, &session).await;
                if let Some(view) = view.ok().filter(|view| view.is_from_memory())
                    && view.check(&subject, "view", &marker).unwrap().is_allowed()
                {
                    break say(&answers(&view));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    });
}

/// Goes on behind what was kept; where nothing was, before anything was written.
async fn keep(watch: Watch, path: PathBuf) {
    let mut kept = Kept::read(&path);
    let mut watch =
        if kept.checkpoint.is_empty() { watch } else { watch.from(kept.checkpoint.parse().unwrap()) };
    loop {
        let Ok(found) = watch.look().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        for watched in found.changes() {
            if !kept.seen.insert(watched.id) {
                kept.repeated.push(watched.id);
            }
            match &watched.change {
                Change::Touch(relationship) => kept.relationships.insert(relationship.to_string()),
                Change::Delete(relationship) => kept.relationships.remove(&relationship.to_string()),
            };
        }
        if kept.checkpoint != found.checkpoint().to_string() {
            kept.checkpoint = found.checkpoint().to_string();
            kept.write(&path);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// How many relationships there are, and which questions are answered with yes.
fn answers(graph: &Graph) -> String {
    let mut all = vec![format!("{} of {}", graph.len(), graph.ignored())];
    for user in 0..USERS {
        for document in 0..DOCUMENTS {
            let (subject, object) =
                (Subject::new("user", format!("u{user}")), Object::new("document", format!("d{document}")));
            if graph.check(&subject, "view", &object).unwrap().is_allowed() {
                all.push(format!("u{user}:d{document}"));
            }
        }
    }
    all.join(" ")
}

/// The same by the oracle.
fn by_definition(facts: &Facts) -> String {
    let world = World { values: Map::new(), now: chrono::Utc::now() };
    let objects: Vec<String> = (0..3)
        .map(|n| format!("team:t{n}"))
        .chain((0..DOCUMENTS).map(|n| format!("document:d{n}")))
        .collect();
    let mut all = vec![format!("{} of 0", facts.len())];
    for user in 0..USERS {
        let held = model().held(facts, &world, &format!("user:u{user}"), &objects);
        all.extend((0..DOCUMENTS).filter_map(|document| {
            let key = (format!("document:d{document}"), "view".to_owned());
            (held.get(&key) == Some(&YES)).then(|| format!("u{user}:d{document}"))
        }));
    }
    all.join(" ")
}

/// A Postgres that loses nothing that was committed, and comes back when it is killed.
struct Site {
    postgres: LocalPostgres,
    folder: PathBuf,
    tenants: Tenants,
    session: Session,
    authz: Authz,
}

impl Site {
    async fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("formwork-pg-{}-kills", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        // As root, Postgres runs as another user, who has to come through here.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
        let named = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
        let binaries = PgBinaries::find(named.as_deref()).unwrap();
        let postgres = LocalPostgres::start(Settings::new(binaries, folder.join("cluster"))).await.unwrap();
        postgres.create_database(DATABASE, None).await.unwrap();
        let sets = [formwork_migrations::TENANCY, formwork_migrations::AUTHZ];
        let owner = postgres.connect_options(LocalRole::Owner, DATABASE);
        let control = ControlPlane::connect_with(owner, &sets).await.unwrap();
        control.migrate().await.unwrap();
        control.provision(&NewTenant::new("acme", "acme", Isolation::Shared)).await.unwrap();
        control.close().await;
        let (tenants, session) = service(&postgres.url_of(LocalRole::App, DATABASE)).await;
        Self { postgres, folder, tenants, session, authz: authz() }
    }

    fn writer(&self, begin: usize) -> Node {
        let service = self.postgres.url_of(LocalRole::App, DATABASE);
        Node::spawn("kill::a_writer", &[(SERVICE, service), (BEGIN, begin.to_string())])
    }

    fn follower(&self) -> Node {
        let url = |role| self.postgres.url_of(role, DATABASE);
        let kept = self.folder.join("kept.json").to_string_lossy().into_owned();
        let named = [(SERVICE, url(LocalRole::App)), (RELAY, url(LocalRole::Relay)), (KEPT, kept)];
        Node::spawn("kill::a_follower", &named)
    }

    /// `kill -9` of the process that all others of the server depend on.
    fn kill_postgres(&self) {
        let file = fs::read_to_string(self.folder.join("cluster/data/postmaster.pid")).unwrap();
        let pid = file.lines().next().unwrap().trim().to_owned();
        assert!(Command::new("sh").args(["-c", "kill -9 \"$0\"", &pid]).status().unwrap().success());
    }

    /// A commit that the killed writer had sent is carried out all the same: waits until nobody writes any more.
    async fn is_quiet(&self) {
        const WRITES: &str = "select exists (select from pg_stat_activity
            where datname = current_database() and backend_xid is not null and pid <> pg_backend_pid())";
        let options = self.postgres.connect_options(LocalRole::Superuser, DATABASE);
        let mut root = loop {
            match PgConnection::connect_with(&options).await {
                Ok(root) => break root,
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        };
        while sqlx::query_scalar::<_, bool>(WRITES).fetch_one(&mut root).await.unwrap() {
            tokio::task::yield_now().await;
        }
        root.close().await.unwrap();
    }

    /// The last to be written: whoever has it has everything.
    async fn mark(&self, marker: &str) {
        loop {
            let done = async {
                let mut tx = self.tenants.begin(&self.session).await.ok()?;
                let marker = Relationship::new(
                    Object::new("document", marker.to_owned()),
                    "viewer",
                    Subject::new("user", "marker"),
                );
                self.authz.touch(&mut tx, &marker).await.ok()?;
                tx.commit().await.ok()
            };
            match done.await {
                Some(_) => return,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn stored(&self) -> Vec<Relationship> {
        loop {
            if let Ok(mut tx) = self.tenants.begin(&self.session).await
                && let Ok(all) = self.authz.read(&mut tx, &Filter::everything()).await
            {
                return all;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn watched(&self, marker: &str) -> Kept {
        let marker = format!("document:{marker}#viewer@user:marker");
        loop {
            let kept = Kept::read(&self.folder.join("kept.json"));
            if kept.relationships.contains(&marker) {
                return kept;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Everybody has what Postgres has.
    async fn agrees(&self, follower: &mut Node, marker: &str, acknowledged: &BTreeSet<usize>) {
        let stored = self.stored().await;
        let fresh = Graph::load(Arc::clone(self.authz.schema()), stored.iter().cloned());
        let expected = answers(&fresh);
        assert_eq!(follower.tell(marker), expected, "{marker}: followed");
        let facts: Facts = stored.iter().map(|fact| (fact.to_string(), fact.clone())).collect();
        assert_eq!(by_definition(&facts), expected, "{marker}: by definition");
        let mut whole: BTreeMap<&str, usize> = BTreeMap::new();
        for fact in &stored {
            if let Some(number) = fact.object().id().strip_prefix("done") {
                *whole.entry(number).or_default() += 1;
            }
        }
        assert!(whole.values().all(|&count| count == 2), "{marker}: half a transaction is stored");
        let lost = acknowledged.iter().find(|number| !whole.contains_key(number.to_string().as_str()));
        assert_eq!(lost, None, "{marker}: acknowledged and lost");
        let kept = self.watched(marker).await;
        assert_eq!(kept.repeated, [0_i64; 0], "{marker}: watched twice");
        let rows: BTreeSet<String> = facts.into_keys().collect();
        let missed: Vec<&String> = rows.symmetric_difference(&kept.relationships).collect();
        assert!(missed.is_empty(), "{marker}: not watched, or too much: {missed:?}");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Takes so many acknowledgements from the writer; the number of the last.
fn take(writer: &mut Node, count: usize, acknowledged: &mut BTreeSet<usize>) -> usize {
    let mut last = 0;
    for _ in 0..count {
        let answer = writer.answer();
        last = answer.strip_prefix("done ").unwrap().parse().unwrap();
        acknowledged.insert(last);
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_of_the_writer_the_follower_and_postgres_loses_and_adds_nothing() {
    let rounds = LongRound::begin("authz: kill of the writer, the follower, Postgres", 3, 100);
    let site = Site::new().await;
    let mut dice = Dice(rounds.count() as u64);
    let mut acknowledged = BTreeSet::new();
    let mut follower = site.follower();
    // The watch has a checkpoint of before anything is written.
    while Kept::read(&site.folder.join("kept.json")).checkpoint.is_empty() {
        tokio::time::sleep(PAUSE).await;
    }
    for round in 0..rounds.count() {
        let mut writer = site.writer(round * 1_000_000);
        let count = 1 + dice.below(20);
        take(&mut writer, count, &mut acknowledged);
        match round % 3 {
            0 => {}
            1 => follower = site.follower_after(follower),
            _ => {
                site.kill_postgres();
                // It goes on by itself when Postgres is back: what it acknowledges then was not stored before.
                site.mark(&format!("back{round}")).await;
                let before = site.stored().await;
                let is_new = |number: usize| {
                    let id = format!("done{number}");
                    before.iter().all(|fact| fact.object().id() != id)
                };
                while !is_new(take(&mut writer, 1, &mut acknowledged)) {}
            }
        }
        writer.kill(&mut acknowledged);
        site.is_quiet().await;
        let marker = format!("marker{round}");
        site.mark(&marker).await;
        site.agrees(&mut follower, &marker, &acknowledged).await;
    }
}

impl Site {
    fn follower_after(&self, killed: Node) -> Node {
        drop(killed);
        self.follower()
    }
}

impl Node {
    /// Killed; what it had said before counts.
    fn kill(mut self, acknowledged: &mut BTreeSet<usize>) {
        self.end();
        while let Some(answer) = self.rest() {
            if let Some(number) = answer.strip_prefix("done ") {
                acknowledged.extend(number.parse::<usize>());
            }
        }
    }
}
