//! The private cluster: started for real, killed for real.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use formwork_tenancy::local_postgres::{
    Durability, LocalPostgres, LocalPostgresError, LocalRole, PgBinaries, Settings,
};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};

/// Names the cluster's folder to [`another_process`], which is an ordinary test without it.
const HELPER: &str = "FORMWORK_LOCAL_POSTGRES_HELPER";

/// A folder that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/formwork-it-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        // As root, Postgres runs as another user, who has to come through here.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o711)).unwrap();
        Self(path)
    }

    fn settings(&self) -> Settings {
        Settings::new(binaries(), self.0.join("cluster")).durability(Durability::Fast)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("cluster/socket/.s.PGSQL.5432")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn binaries() -> PgBinaries {
    let explicit = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    PgBinaries::find(explicit.as_deref()).unwrap()
}

async fn connect(postgres: &LocalPostgres, role: LocalRole) -> PgConnection {
    PgConnection::connect_with(&postgres.connect_options(role, "formwork")).await.unwrap()
}

async fn scalar<T>(connection: &mut PgConnection, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

fn listens(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

async fn within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(seconds), "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process of its own that serves the cluster in `folder` until it is killed or its input ends.
fn serve_elsewhere(folder: &Folder) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "local_postgres::another_process", "--nocapture"]).env(HELPER, &folder.0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("serving now")), "the helper ended");
    child
}

/// Whether the machine can tie Postgres to its program; else an orderly end or the next start ends it.
fn kernel_ends_it() -> bool {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--pdeathsig", "INT", "--", "true"]).stderr(Stdio::null());
    setpriv.status().is_ok_and(|status| status.success())
}

#[test]
fn another_process() {
    let Some(folder) = std::env::var_os(HELPER) else { return };
    let folder = std::mem::ManuallyDrop::new(Folder(folder.into()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let postgres = runtime.block_on(LocalPostgres::start(folder.settings())).unwrap();
    println!("\nserving now");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().lines().next();
    drop(postgres);
}

#[tokio::test]
async fn data_and_passwords_survive_a_restart() {
    let folder = Folder::new("restart");
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    let mut owner = connect(&postgres, LocalRole::Owner).await;
    owner.execute("create schema s; create table s.t (n int); insert into s.t values (7)").await.unwrap();
    let url = postgres.url(LocalRole::Owner);
    postgres.stop().await;
    assert!(!listens(&folder.socket()));

    let postgres = LocalPostgres::start(folder.settings().durability(Durability::Durable)).await.unwrap();
    assert!(!postgres.is_attached());
    assert_eq!(postgres.url(LocalRole::Owner), url);
    let mut owner = connect(&postgres, LocalRole::Owner).await;
    assert_eq!(scalar::<i32>(&mut owner, "select n from s.t").await, 7);
    assert_eq!(scalar::<String>(&mut owner, "show fsync").await, "on");
    assert_eq!(scalar::<String>(&mut owner, "show wal_level").await, "logical");
}

#[tokio::test]
async fn only_its_owner_reaches_it_and_only_with_a_password() {
    let folder = Folder::new("closed");
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    let mode = |path: &str| fs::metadata(folder.0.join("cluster").join(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("socket"), 0o700);
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("cluster.json"), 0o600);
    assert_eq!(mode("postgres.log"), 0o600);
    let mut app = connect(&postgres, LocalRole::App).await;
    assert_eq!(scalar::<String>(&mut app, "show listen_addresses").await, "");
    let wrong = postgres.connect_options(LocalRole::App, "formwork").password("guessed");
    let refused = PgConnection::connect_with(&wrong).await.unwrap_err();
    assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "28P01");
    assert!(!format!("{postgres:?}").contains(&postgres.url(LocalRole::App)[20..50]));
}

#[tokio::test]
async fn logins_have_no_more_rights_than_they_need() {
    let folder = Folder::new("rights");
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    for role in [LocalRole::Owner, LocalRole::App, LocalRole::Relay] {
        let mut connection = connect(&postgres, role).await;
        let power = "select rolsuper or rolbypassrls or rolcreatedb or rolcreaterole or rolreplication \
                     from pg_roles where rolname = current_user";
        assert!(!scalar::<bool>(&mut connection, power).await, "{role:?}");
    }
    postgres.create_database("cloned", Some("formwork")).await.unwrap();
    for database in ["formwork", "cloned"] {
        let options = postgres.connect_options(LocalRole::App, database);
        let mut app = PgConnection::connect_with(&options).await.unwrap();
        for statement in ["create temp table t (n int)", "create schema s", "create table public.t (n int)"] {
            let refused = app.execute(statement).await.unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
            assert_eq!(code, "42501", "{statement} in {database}");
        }
    }
    postgres.drop_database("cloned").await.unwrap();
    postgres.drop_database("cloned").await.unwrap();
}

#[tokio::test]
async fn a_url_reads_back_as_the_same_connection() {
    // A comma and a space: Postgres, too, has to be told where the path ends.
    let folder = Folder::new("a, b%+");
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    let options: PgConnectOptions = postgres.url(LocalRole::App).parse().unwrap();
    let mut app = PgConnection::connect_with(&options).await.unwrap();
    let here = scalar::<String>(&mut app, "select current_user || ' ' || current_database()").await;
    assert_eq!(here, "formwork_app formwork");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works() {
    let folder = Folder::new(&"long".repeat(25));
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    assert_eq!(scalar::<i32>(&mut connect(&postgres, LocalRole::App).await, "select 1").await, 1);
    let socket_folder = postgres.connect_options(LocalRole::App, "x").get_socket().cloned().unwrap();
    assert!(socket_folder.starts_with("/tmp"));
    postgres.stop().await;
    fs::remove_dir(socket_folder).unwrap();
}

#[tokio::test]
async fn of_many_starts_at_once_one_serves() {
    let folder = Folder::new("many");
    let starts = (0..4).map(|_| LocalPostgres::start(folder.settings()));
    let mut all: Vec<_> = futures::future::try_join_all(starts).await.unwrap();
    assert_eq!(all.iter().filter(|postgres| !postgres.is_attached()).count(), 1);
    for postgres in &all {
        connect(postgres, LocalRole::App).await;
    }
    // An attached one stops nothing ..
    let attached = all.iter().position(LocalPostgres::is_attached).unwrap();
    all.remove(attached).stop().await;
    assert!(listens(&folder.socket()));
    // .. and one of them takes over from the one that serves.
    let serving = all.iter().position(|postgres| !postgres.is_attached()).unwrap();
    all.remove(serving).stop().await;
    within(10, "another one serves", || all.iter().any(|p| !p.is_attached()) && listens(&folder.socket()))
        .await;
}

#[tokio::test]
async fn killed_with_its_program_and_started_again() {
    let folder = Folder::new("killed");
    let mut helper = serve_elsewhere(&folder);
    assert!(listens(&folder.socket()));
    helper.kill().unwrap();
    helper.wait().unwrap();
    if kernel_ends_it() {
        within(5, "Postgres ends with its program", || !listens(&folder.socket())).await;
    }
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    assert!(!postgres.is_attached());
    connect(&postgres, LocalRole::App).await;
}

#[tokio::test]
async fn a_start_right_after_a_kill_waits_for_the_old_server() {
    let folder = Folder::new("again");
    for _ in 0..5 {
        let mut helper = serve_elsewhere(&folder);
        helper.kill().unwrap();
        let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
        helper.wait().unwrap();
        connect(&postgres, LocalRole::App).await;
        postgres.stop().await;
    }
}

#[tokio::test]
async fn an_attached_process_takes_over() {
    let folder = Folder::new("takeover");
    let mut helper = serve_elsewhere(&folder);
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    assert!(postgres.is_attached());
    let url = postgres.url(LocalRole::App);
    helper.kill().unwrap();
    helper.wait().unwrap();
    within(10, "we serve", || !postgres.is_attached() && listens(&folder.socket())).await;
    assert_eq!(postgres.url(LocalRole::App), url);
    reconnect(&postgres).await;
}

#[tokio::test]
async fn a_server_that_dies_comes_back() {
    let folder = Folder::new("crash");
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    let old = server_pid(&folder);
    let mut app = connect(&postgres, LocalRole::App).await;
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {old}")]).status().unwrap().success());
    within(30, "a new server", || listens(&folder.socket()) && server_pid(&folder) != old).await;
    reconnect(&postgres).await;
    assert!(app.execute("select 1").await.is_err());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ctrl_c_in_a_terminal_is_not_for_the_server() {
    let folder = Folder::new("group");
    let _postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    // State, parent and group follow the name, which ends with a bracket.
    let group = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap().to_owned()
    };
    let pid = server_pid(&folder).to_string();
    assert_eq!(group(&pid), pid);
    assert_ne!(group(&pid), group("self"));
}

#[tokio::test]
async fn an_interrupted_initdb_leaves_nothing() {
    let folder = Folder::new("half");
    let half = folder.0.join("cluster/data.new");
    fs::create_dir_all(half.join("base")).unwrap();
    fs::write(half.join("PG_VERSION"), "15\n").unwrap();
    fs::write(folder.0.join("cluster/initdb.password"), "old").unwrap();
    let postgres = LocalPostgres::start(folder.settings()).await.unwrap();
    assert!(!half.exists() && !folder.0.join("cluster/initdb.password").exists());
    postgres.stop().await;
}

#[tokio::test]
async fn what_postgres_said_is_in_the_error() {
    let folder = Folder::new("said");
    LocalPostgres::start(folder.settings()).await.unwrap().stop().await;
    let conf = folder.0.join("cluster/data/postgresql.conf");
    fs::write(&conf, "no_such_setting = 1\n").unwrap();
    let error = LocalPostgres::start(folder.settings()).await.unwrap_err();
    assert!(matches!(error, LocalPostgresError::Start(_)), "{error:?}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn data_of_another_version_are_named() {
    let folder = Folder::new("version");
    LocalPostgres::start(folder.settings()).await.unwrap().stop().await;
    fs::write(folder.0.join("cluster/data/PG_VERSION"), "12\n").unwrap();
    let error = LocalPostgres::start(folder.settings()).await.unwrap_err().to_string();
    assert!(error.contains("made by Postgres 12") && error.contains("PG_BIN_DIR"), "{error}");
}

#[tokio::test]
async fn lost_passwords_are_named() {
    let folder = Folder::new("lost");
    LocalPostgres::start(folder.settings()).await.unwrap().stop().await;
    fs::remove_file(folder.0.join("cluster/cluster.json")).unwrap();
    let error = LocalPostgres::start(folder.settings()).await.unwrap_err().to_string();
    assert!(error.contains("cluster.json") && error.contains("missing"), "{error}");
}

#[tokio::test]
async fn a_temporary_cluster_leaves_nothing() {
    let postgres = LocalPostgres::temporary(binaries()).await.unwrap();
    let dir = postgres.dir().to_path_buf();
    let mut app = connect(&postgres, LocalRole::App).await;
    assert_eq!(scalar::<String>(&mut app, "show fsync").await, "off");
    postgres.stop().await;
    assert!(!dir.exists());
}

#[tokio::test]
async fn temporary_folders_of_the_dead_are_removed() {
    let first = LocalPostgres::temporary(binaries()).await.unwrap();
    let parent = first.dir().parent().unwrap();
    let mut dead = Command::new("sh").args(["-c", ":"]).spawn().unwrap();
    dead.wait().unwrap();
    let left = parent.join(format!("formwork-pg-{}-00000000", dead.id()));
    fs::create_dir(&left).unwrap();
    let second = LocalPostgres::temporary(binaries()).await.unwrap();
    assert!(!left.exists() && first.dir().exists());
    second.stop().await;
}

#[test]
fn without_binaries_it_says_what_to_type() {
    let folder = Folder::new("none");
    let error = PgBinaries::find(Some(&folder.0)).unwrap_err().to_string();
    assert!(error.contains("script/bootstrap") && error.contains("PG_BIN_DIR"), "{error}");
    assert!(error.contains("holds no `initdb` and `postgres`"), "{error}");
}

#[test]
fn old_binaries_are_passed_over_by_name() {
    let folder = Folder::new("old");
    for (program, text) in [("postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 12.3'\n"), ("initdb", "")] {
        fs::write(folder.0.join(program), text).unwrap();
        fs::set_permissions(folder.0.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let error = PgBinaries::find(Some(&folder.0)).unwrap_err().to_string();
    assert!(error.contains("version 12 is too old"), "{error}");
}

fn server_pid(folder: &Folder) -> u32 {
    let text = fs::read_to_string(folder.0.join("cluster/data/postmaster.pid")).unwrap_or_default();
    text.lines().next().and_then(|line| line.parse().ok()).unwrap_or_default()
}

/// Connects to a server that may still be recovering.
async fn reconnect(postgres: &LocalPostgres) {
    let options = postgres.connect_options(LocalRole::App, "formwork");
    for _ in 0..500 {
        if PgConnection::connect_with(&options).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no connection within 10 s");
}
