//! The program itself, run as a user runs it: the binary, its folder, what it prints, how it ends.

use std::{
    fs::{self, File, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use formwork_service::databases::sets;
use formwork_tenancy::{
    Isolation,
    local_postgres::{LocalRole, PgBinaries},
    testing::{TestDatabase, cluster},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection, postgres::PgConnectOptions};

/// Machines that run tests are often busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A folder of one test, for the program's state and the test's files.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        // As root, Postgres runs as another user, who has to come through here.
        let open = Permissions::from_mode(0o711);
        Self(tempfile::Builder::new().prefix("formwork-cli-").permissions(open).tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The private cluster's folder.
    pub(crate) fn postgres(&self) -> PathBuf {
        self.path("state/postgres")
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The program with this folder, and with nothing that the caller's environment would tell it.
    pub(crate) fn formwork(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_formwork"));
        for (name, _) in std::env::vars_os() {
            let told = ["DATABASE_", "FORMWORK_", "RUST_", "XDG_"];
            if told.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.arg("--state-dir").arg(self.state()).args(arguments).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.formwork(arguments))
    }

    /// Does a server of the private cluster listen, or run at all?
    pub(crate) fn has_postgres(&self) -> bool {
        let socket = self.postgres().join("socket/.s.PGSQL.5432");
        UnixStream::connect(socket).is_ok() || self.postmaster().is_some()
    }

    /// The private server's process, where the system lists processes.
    pub(crate) fn postmaster(&self) -> Option<u32> {
        let data = self.postgres().join("data").into_os_string().into_encoded_bytes();
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find(|pid: &u32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0);
            arguments.next().is_some_and(|name| name.ends_with(b"postgres"))
                && arguments.any(|argument| argument == data)
        })
    }

    /// A connection to the private cluster as its superuser, whom row security does not hold.
    pub(crate) async fn superuser(&self) -> PgConnection {
        let secrets = fs::read_to_string(self.postgres().join("cluster.json")).unwrap();
        let secrets: Value = serde_json::from_str(&secrets).unwrap();
        let options = PgConnectOptions::new_without_pgpass()
            .socket(self.postgres().join("socket"))
            .username("postgres")
            .password(secrets["postgres"].as_str().unwrap())
            .database("formwork");
        PgConnection::connect_with(&options).await.unwrap()
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It failed with one sentence, which is answered, and nothing that only a programmer reads.
    #[track_caller]
    pub(crate) fn sentence(&self) -> &str {
        assert_eq!(self.code, Some(1), "{self:?}");
        let told: Vec<&str> = self.err.lines().filter(|line| line.starts_with("formwork: ")).collect();
        let [told] = told[..] else { panic!("{self:?}") };
        for noise in ["Error {", "Some(", "None", "pool", "sqlx", "RUST_BACKTRACE", "os error 0", "at line 1"]
        {
            assert!(!told.contains(noise), "{noise}: {told}");
        }
        told.strip_prefix("formwork: ").unwrap()
    }
}

/// A command that goes on, until it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    errors: PathBuf,
}

impl Running {
    pub(crate) fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::of(home, &mut home.formwork(arguments))
    }

    pub(crate) fn of(home: &Home, command: &mut Command) -> Self {
        let errors = home.path(&format!("errors-{}", next_number()));
        command.stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines, seen: Vec::new(), errors }
    }

    /// Waits for a line that has this in it; answers all lines until then.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) -> Vec<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("`{text}` was not printed ({error}): {:?} {}", self.seen, self.errors()),
            }
            if self.seen.last().is_some_and(|line| line.contains(text)) {
                return self.seen.clone();
            }
        }
    }

    /// Where it listens.
    #[track_caller]
    pub(crate) fn address(&mut self) -> String {
        let seen = self.until("listens on http://");
        let (_, address) = seen.last().unwrap().split_once("http://").unwrap();
        address.split(',').next().unwrap().to_owned()
    }

    /// What it has written to standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// `kill -9`, and its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Has it ended?
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Done {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.errors());
            std::thread::sleep(Duration::from_millis(5));
        };
        self.seen.extend(self.lines.iter());
        Done { code: status.code(), out: self.seen.join("\n"), err: self.errors() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    let sent =
        Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether the machine can tie Postgres to its program; else an orderly end or the next start ends it.
pub(crate) fn kernel_ends_postgres() -> bool {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--pdeathsig", "INT", "--", "true"]).stderr(Stdio::null());
    setpriv.status().is_ok_and(|status| status.success())
}

/// As the program finds them.
pub(crate) fn binaries() -> PgBinaries {
    PgBinaries::find(std::env::var_os("PG_BIN_DIR").map(PathBuf::from).as_deref()).unwrap()
}

fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A database that is named to the program, as an operator names it.
pub(crate) struct Named {
    pub(crate) home: Home,
    pub(crate) db: TestDatabase,
    app: String,
    owner: String,
    relay: String,
}

impl Named {
    /// Migrated, without tenants.
    pub(crate) async fn new() -> Self {
        let db = TestDatabase::new(&sets()).await;
        // Only the program is to be connected as the service.
        db.tenants().close().await;
        let cluster = cluster().await;
        let url = |role| cluster.url_of(role, db.name());
        let (app, owner, relay) = (url(LocalRole::App), url(LocalRole::Owner), url(LocalRole::Relay));
        Self { home: Home::new(), db, app, owner, relay }
    }

    pub(crate) fn formwork(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.formwork(arguments);
        command.env("DATABASE_URL", &self.app).env("DATABASE_OWNER_URL", &self.owner);
        command.env("DATABASE_RELAY_URL", &self.relay);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(&mut self.formwork(arguments))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(&self.home, &mut self.formwork(arguments))
    }

    /// A tenant with an owner and a member who may not make projects; both have the password [`PASSWORD`].
    pub(crate) fn tenant(&self, slug: &str, isolation: Isolation) {
        self.run(&["tenant", "create", slug, "--isolation", isolation.as_str(), "--currency", "USD"]).ok();
        for role in ["owner", "member"] {
            self.member(slug, &format!("{role}@{slug}.example"), role);
        }
    }

    pub(crate) fn member(&self, slug: &str, email: &str, role: &str) {
        let mut command =
            self.formwork(&["tenant", "add-member", slug, email, "--role", role, "--password-stdin"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        let mut child = spawned.unwrap();
        child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// A connection that row security does not hold.
    pub(crate) async fn superuser(&self) -> PgConnection {
        PgConnection::connect_with(&self.db.options(LocalRole::Superuser).await).await.unwrap()
    }

    pub(crate) async fn stored(&self, slug: &str) -> Stored {
        Stored::of(&mut self.superuser().await, slug).await
    }
}

/// Everybody's.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// How much a tenant has of what an import writes.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub(crate) struct Stored {
    pub(crate) projects: i64,
    /// Different keys of imported projects.
    pub(crate) keys: i64,
    /// Tuples on projects.
    pub(crate) tuples: i64,
    /// Changes of tuples on projects.
    pub(crate) changes: i64,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) imported: i64,
    pub(crate) events: i64,
    /// Projects that lack a tuple, a change or their event, or have one too many.
    pub(crate) torn: i64,
}

impl Stored {
    pub(crate) async fn of(superuser: &mut PgConnection, slug: &str) -> Self {
        let home = home_of(superuser, slug).await;
        let sql = STORED.replace("HOME", &home);
        sqlx::query_as(AssertSqlSafe(sql)).bind(slug).fetch_one(superuser).await.unwrap()
    }

    /// Every project is whole, none is there twice, and nothing is there of any other.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        let Self { projects, keys, tuples, changes, created, torn, .. } = *self;
        assert_eq!(
            (keys, tuples, changes, created, torn),
            (projects, 2 * projects, 2 * projects, projects, 0),
            "{self:?}"
        );
    }
}

/// The schema that holds the tenant's tables.
pub(crate) async fn home_of(superuser: &mut PgConnection, slug: &str) -> String {
    let sql = "select schema_name from platform.tenants where slug = $1";
    sqlx::query_scalar(sql).bind(slug).fetch_one(superuser).await.unwrap()
}

const STORED: &str = "
  with tenant as (select id from platform.tenants where slug = $1),
       p as (select * from HOME.projects where tenant_id = (table tenant)),
       t as (select object_id, count(*) n from HOME.permission_tuples
              where tenant_id = (table tenant) and namespace = 'project' group by 1),
       c as (select object_id, count(*) n from platform.permission_changes
              where tenant_id = (table tenant) and namespace = 'project' group by 1),
       e as (select * from HOME.audit_events where tenant_id = (table tenant)),
       m as (select entity_id, count(*) n from e where action = 'project.created' group by 1)
  select (select count(*) from p) as projects,
         (select count(distinct origin_id) from p) as keys,
         (select coalesce(sum(n), 0)::bigint from t) as tuples,
         (select coalesce(sum(n), 0)::bigint from c) as changes,
         (select count(*) from e where action = 'project.created') as created,
         (select count(*) from e where action = 'project.updated') as updated,
         (select count(*) from e where action = 'permits.imported') as imported,
         (select count(*) from e) as events,
         (select count(*) from p left join t on t.object_id = p.id::text left join c on c.object_id = p.id::text
                                 left join m on m.entity_id = p.id::text
           where t.n is distinct from 2 or c.n is distinct from 2 or m.n is distinct from 1) as torn";

/// A member of one tenant, over HTTP.
pub(crate) struct Caller {
    client: reqwest::Client,
    address: String,
    host: String,
    token: String,
}

impl Caller {
    pub(crate) async fn sign_in(address: &str, slug: &str, email: &str, password: &str) -> Self {
        let client = reqwest::Client::new();
        let mut caller = Self {
            client,
            address: address.to_owned(),
            host: format!("{slug}.localhost"),
            token: String::new(),
        };
        let credentials = serde_json::json!({"email": email, "password": password});
        let (status, body) = caller.send("POST", "/api/v1/auth/login", Some(credentials)).await;
        assert_eq!(status, 200, "{body}");
        caller.token = body["access_token"].as_str().unwrap().to_owned();
        caller
    }

    /// The same, of a service that may be gone.
    pub(crate) async fn try_sign_in(address: &str, slug: &str, email: &str, password: &str) -> Option<Self> {
        let (client, host) = (reqwest::Client::new(), format!("{slug}.localhost"));
        let mut caller = Self { client, address: address.to_owned(), host, token: String::new() };
        let credentials = serde_json::json!({"email": email, "password": password});
        let answer = caller.request("POST", "/api/v1/auth/login", Some(credentials)).send().await.ok()?;
        let body: Value = answer.json().await.ok()?;
        caller.token = body["access_token"].as_str()?.to_owned();
        Some(caller)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.request(method, path, body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    pub(crate) fn request(&self, method: &str, path: &str, body: Option<Value>) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        let request = self.client.request(method.parse().unwrap(), url).header("host", &self.host);
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        match body {
            Some(body) => request.json(&body),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None).await
    }

    /// Every project that the member may see.
    pub(crate) async fn projects(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut next = "/api/v1/projects?limit=200".to_owned();
        loop {
            let (status, page) = self.get(&next).await;
            assert_eq!(status, 200, "{page}");
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["page"]["next_cursor"].as_str() {
                Some(cursor) => next = format!("/api/v1/projects?limit=200&cursor={cursor}"),
                None => return all,
            }
        }
    }
}

/// Permissions of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
