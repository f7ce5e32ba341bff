//! Nodes as processes of their own, one of them with a standby: what a token carries from one to the other.
//!
//! A node reads commands from its input, a line each, and answers with a line. Nothing is shared but Postgres.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use formwork_authz::{Authz, Consistency, Following, Object, Relationship, Schema, Subject};
use formwork_tenancy::local_postgres::LocalRole;
use formwork_tenancy::testing::{BASE_DOMAIN, Replica, TestDatabase, cluster};
use formwork_tenancy::{Actor, CommitToken, Isolation, Relay, Session, TenantTx, Tenants};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};

const SCHEMA: &str = "
    definition user {}
    definition team { relation member: user | team#member }
    definition document {
        relation viewer: user | team#member
        relation barred: user
        permission view = viewer - barred
    }";
/// Where a node connects; a standby's socket may follow its port.
const SERVICE: &str = "FORMWORK_TEST_NODE_SERVICE";
const RELAY: &str = "FORMWORK_TEST_NODE_RELAY";
const STANDBY: &str = "FORMWORK_TEST_NODE_STANDBY";
const LONG: Duration = Duration::from_secs(3600);

/// The program of a node.
#[test]
fn another_process() {
    let (Ok(service), Ok(relay)) = (std::env::var(SERVICE), std::env::var(RELAY)) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut program = Program::start(&service, &relay).await;
        say("ready");
        for line in std::io::stdin().lines() {
            let answer = program.obey(&line.unwrap()).await;
            say(&answer);
        }
    });
}

pub(crate) fn say(line: &str) {
    println!("\nnode {line}");
    std::io::stdout().flush().unwrap();
}

struct Program {
    tenants: Tenants,
    session: Session,
    authz: Authz,
    following: Following,
    open: Option<TenantTx>,
}

impl Program {
    async fn start(service: &str, relay: &str) -> Self {
        let options: PgConnectOptions = service.parse().unwrap();
        let mut builder = Tenants::builder().base_domain(BASE_DOMAIN);
        if let Ok(standby) = std::env::var(STANDBY) {
            let (port, socket) = standby.split_once(' ').unwrap();
            let standby = options.clone().port(port.parse().unwrap()).socket(socket);
            builder = builder.replica("main", standby).replica_patience(Duration::from_secs(60));
        }
        let tenants = builder.connect_with(options).await.unwrap();
        let tenant = tenants.by_slug("acme").await.unwrap().unwrap();
        let authz = Authz::new(Schema::parse(SCHEMA).unwrap());
        let following = authz.follow("main", &Relay::connect(relay).await.unwrap());
        let session = Session::new(&tenant, Actor::system("node"));
        Self { tenants, session, authz, following, open: None }
    }

    async fn obey(&mut self, command: &str) -> String {
        let words: Vec<&str> = command.split(' ').collect();
        match *words {
            ["step"] => {
                self.following.step().await.unwrap();
                "stepped".to_owned()
            }
            ["touch", relationship] => {
                let mut tx = self.tenants.begin(&self.session).await.unwrap();
                self.authz.touch(&mut tx, &parsed(relationship)).await.unwrap();
                tx.commit().await.unwrap().to_string()
            }
            // Written and not committed: does the transaction see it, and does the process, outside of it?
            ["open", relationship, user] => {
                let mut tx = self.tenants.begin(&self.session).await.unwrap();
                self.authz.touch(&mut tx, &parsed(relationship)).await.unwrap();
                let inside = sees(&self.authz, &mut tx, user).await;
                self.open = Some(tx);
                format!("{inside} {}", self.ask(Consistency::Full, user).await)
            }
            ["commit"] => self.open.take().unwrap().commit().await.unwrap().to_string(),
            ["full", user] => self.ask(Consistency::Full, user).await,
            ["recent", user] => self.ask(Consistency::MinimizeLatency(LONG), user).await,
            ["at_least", token, user] => self.ask(Consistency::AtLeast(token.parse().unwrap()), user).await,
            // In a transaction that only reads, wherever that begins.
            ["read", user] => self.read(&self.session, Consistency::Full, user).await,
            ["read", token, user] => {
                let token: CommitToken = token.parse().unwrap();
                self.read(&self.session.clone().at_least(&token), Consistency::AtLeast(token), user).await
            }
            _ => panic!("{command}"),
        }
    }

    async fn ask(&self, consistency: Consistency, user: &str) -> String {
        let view = self.authz.with_consistency(consistency).view(&self.tenants, &self.session).await.unwrap();
        let subject = Subject::new("user", user.to_owned());
        let allowed = view.check(&subject, "view", &Object::new("document", 7)).unwrap().is_allowed();
        format!("{allowed} {}", if view.is_from_memory() { "memory" } else { "database" })
    }

    async fn read(&self, session: &Session, consistency: Consistency, user: &str) -> String {
        let mut tx = self.tenants.begin_read(session).await.unwrap();
        let allowed = sees(&self.authz.with_consistency(consistency), &mut tx, user).await;
        format!("{allowed} {}", if tx.served_by().is_replica() { "replica" } else { "primary" })
    }
}

fn parsed(text: &str) -> Relationship {
    text.parse().unwrap()
}

async fn sees(authz: &Authz, tx: &mut TenantTx, user: &str) -> bool {
    let subject = Subject::new("user", user.to_owned());
    authz.check(tx, &subject, "view", &Object::new("document", 7)).await.unwrap().is_allowed()
}

/// A node, from outside.
pub(crate) struct Node {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Node {
    async fn start(db: &TestDatabase, standby: Option<&Replica>) -> Self {
        let cluster = cluster().await;
        let mut named = vec![
            (SERVICE, cluster.url_of(LocalRole::App, db.name())),
            (RELAY, cluster.url_of(LocalRole::Relay, db.name())),
        ];
        if let Some(replica) = standby {
            let options = replica.options(LocalRole::App, db);
            named.push((
                STANDBY,
                format!("{} {}", options.get_port(), options.get_socket().unwrap().display()),
            ));
        }
        Self::spawn("nodes::another_process", &named)
    }

    /// A test of this program as a program of its own, with these variables set.
    pub(crate) fn spawn(test: &str, named: &[(&str, String)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).envs(named.iter().cloned());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut node = Self { child, input, output };
        assert_eq!(node.answer(), "ready");
        node
    }

    pub(crate) fn tell(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> String {
        self.rest().expect("the node goes on")
    }

    /// The next answer; none when the node has ended.
    pub(crate) fn rest(&mut self) -> Option<String> {
        loop {
            let line = self.output.next()?.ok()?;
            if let Some(answer) = line.strip_prefix("node ") {
                return Some(answer.to_owned());
            }
        }
    }

    /// `kill -9`
    pub(crate) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

async fn database() -> TestDatabase {
    let db = TestDatabase::new(&[formwork_migrations::TENANCY, formwork_migrations::AUTHZ]).await;
    db.tenant("acme", Isolation::Shared).await;
    db
}

/// Zanzibar, section 2.2, between two processes: what the one has written is asked of the other.
#[tokio::test]
async fn new_enemy_of_another_process() {
    let db = database().await;
    let (mut writer, mut reader) = (Node::start(&db, None).await, Node::start(&db, None).await);
    reader.tell("step");
    writer.tell("touch document:7#viewer@user:anna");
    assert_eq!(reader.tell("full anna"), "true database");
    writer.tell("touch document:7#barred@user:anna");
    let written = writer.tell("touch document:7#viewer@user:boris");
    assert_eq!(reader.tell("recent anna"), "true memory", "without the safeguard the old state answers");
    assert_eq!(reader.tell(&format!("at_least {written} anna")), "false database");
    assert_eq!(
        reader.tell(&format!("at_least {written} anna")),
        "false memory",
        "once seen, it costs nothing"
    );
    // By following alone, too.
    let written = writer.tell("touch document:7#barred@user:boris");
    assert_eq!(reader.tell("recent boris"), "true memory");
    reader.tell("step");
    assert_eq!(reader.tell(&format!("at_least {written} boris")), "false memory");
}

#[tokio::test]
async fn own_writes_of_another_process() {
    let db = database().await;
    let (mut writer, mut reader) = (Node::start(&db, None).await, Node::start(&db, None).await);
    let inside_and_outside = writer.tell("open document:7#viewer@user:anna anna");
    assert!(inside_and_outside.starts_with("true false"), "{inside_and_outside}");
    assert!(reader.tell("full anna").starts_with("false"), "it is not committed");
    let token = writer.tell("commit");
    assert!(writer.tell("full anna").starts_with("true"));
    assert!(reader.tell(&format!("at_least {token} anna")).starts_with("true"));
}

/// The standby has stopped replaying: what was written after that is not on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_process_is_kept_on_a_standby() {
    let Some(replica) = Replica::start().await else {
        eprintln!("pg_basebackup is not installed beside the server: not tested");
        return;
    };
    let db = database().await;
    let mut writer = Node::start(&db, None).await;
    let known = writer.tell("touch document:7#viewer@user:anna");
    replica.has_replayed(known.parse::<CommitToken>().unwrap().wal()).await;
    let mut reader = Node::start(&db, Some(&replica)).await;
    until_the_replica_answers(&mut reader, &format!("read {known} anna"), "true");

    let mut standby = PgConnection::connect_with(&replica.options(LocalRole::Superuser, &db)).await.unwrap();
    sqlx::raw_sql("select pg_wal_replay_pause()").execute(&mut standby).await.unwrap();
    let state = "select pg_get_wal_replay_pause_state()";
    while sqlx::query_scalar::<_, String>(state).fetch_one(&mut standby).await.unwrap() != "paused" {
        tokio::task::yield_now().await;
    }
    let barred = writer.tell("touch document:7#barred@user:anna");
    // Without the token the standby may answer, with what it has.
    assert_eq!(reader.tell(&format!("read {known} anna")), "true replica");
    assert_eq!(reader.tell(&format!("read {barred} anna")), "false primary");
    sqlx::raw_sql("select pg_wal_replay_resume()").execute(&mut standby).await.unwrap();
    replica.has_replayed(barred.parse::<CommitToken>().unwrap().wal()).await;
    until_the_replica_answers(&mut reader, &format!("read {barred} anna"), "false");
    standby.close().await.unwrap();
    drop(reader);
    replica.stop().await;
}

/// It may be asked before it is known how far it has come; the answer is right whoever gives it.
fn until_the_replica_answers(reader: &mut Node, question: &str, expected: &str) {
    loop {
        let answer = reader.tell(question);
        assert_eq!(answer.split(' ').next(), Some(expected));
        if answer.ends_with("replica") {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
