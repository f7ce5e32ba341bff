//! Behind a real PgBouncer in transaction mode, two tenants share one server connection.
//!
//! Without `transaction_pooler()` sqlx would prepare statements by name and answer one client with another one's
//! rows (measured with 1.18: hundreds of wrong answers in 3,600, and no error).

use std::{
    collections::BTreeSet,
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use formwork_tenancy::{
    Actor, CommitError, ConnectError, Isolation, RunError, Tenant, Tenants, TenantsBuilder, TxOptions,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, CancelFuzz, LongRound, TestDatabase, cluster, examine_pool},
};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};

use crate::isolation::{database, write_note};

/// `PGBOUNCER_BIN`, or where systems put it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("PGBOUNCER_BIN").map(PathBuf::from);
    let known = [
        "/usr/sbin/pgbouncer",
        "/usr/bin/pgbouncer",
        "/opt/homebrew/bin/pgbouncer",
        "/usr/local/bin/pgbouncer",
    ];
    named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.exists())
}

/// Major and minor version.
fn version(program: &Path) -> (u32, u32) {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().nth(1).unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or_default());
    (parts.next().unwrap(), parts.next().unwrap_or_default())
}

/// What one server connection for each pair of login and database is given to.
const TRANSACTION: &str = "pool_mode = transaction\ndefault_pool_size = 1";
const TAKES_SQLX: &str = "ignore_startup_parameters = extra_float_digits";

static BOUNCERS: AtomicUsize = AtomicUsize::new(0);

struct Bouncer {
    process: Child,
    folder: PathBuf,
}

impl Bouncer {
    /// With these lines of configuration; none where no pgbouncer is installed.
    async fn find(db: &TestDatabase, lines: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "pgbouncer is not installed: run script/bootstrap --tests"
            );
            eprintln!("pgbouncer is not installed: not tested (script/bootstrap --tests installs it)");
            return None;
        };
        let mut bouncer = Self::start(&program, &lines.join("\n")).await;
        bouncer.wait(db).await;
        Some(bouncer)
    }

    async fn start(program: &Path, lines: &str) -> Self {
        let number = BOUNCERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("formwork-bouncer-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let url = cluster().await.url(LocalRole::App);
        let (login, rest) = url.strip_prefix("postgres://").unwrap().split_once(':').unwrap();
        let password = rest.split('@').next().unwrap();
        let socket = cluster().await.connect_options(LocalRole::App, "x").get_socket().unwrap().clone();
        let config = format!(
            "[databases]\n* = host={socket} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
             unix_socket_dir = {folder}\nauth_type = trust\nauth_file = {folder}/users.txt\nmax_client_conn = 200\n{lines}\n",
            socket = socket.display(),
            folder = folder.display(),
        );
        fs::write(folder.join("users.txt"), format!("\"{login}\" \"{password}\"\n")).unwrap();
        fs::write(folder.join("pgbouncer.ini"), config).unwrap();
        let mut command = Command::new(program);
        command.arg(folder.join("pgbouncer.ini")).stdout(Stdio::null()).stderr(Stdio::null());
        // Like Postgres it refuses to be root: it runs as whoever owns the cluster's socket.
        let owner = fs::metadata(&socket).unwrap();
        if fs::metadata(&folder).unwrap().uid() != owner.uid() {
            for path in [folder.clone(), folder.join("users.txt"), folder.join("pgbouncer.ini")] {
                chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
            }
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        Self { process: command.spawn().unwrap(), folder }
    }

    fn options(&self, db: &TestDatabase) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.folder)
            .port(6432)
            .username(LocalRole::App.name())
            .database(db.name())
    }

    async fn wait(&mut self, db: &TestDatabase) {
        let begun = Instant::now();
        loop {
            let options = self.options(db).disable_statement_logging();
            match sqlx::PgConnection::connect_with(&options).await {
                Ok(conn) => return conn.close().await.unwrap(),
                // It answers.
                Err(sqlx::Error::Database(_)) => return,
                Err(error) => {
                    assert!(self.process.try_wait().unwrap().is_none(), "pgbouncer ended: {error}");
                    assert!(
                        begun.elapsed() < Duration::from_secs(30),
                        "pgbouncer takes no connections: {error}"
                    );
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

async fn through(
    bouncer: &Bouncer,
    db: &TestDatabase,
    builder: TenantsBuilder,
) -> Result<Tenants, ConnectError> {
    builder.base_domain(BASE_DOMAIN).connect_with(bouncer.options(db)).await
}

/// One in its own home, two in the shared one, with a row each.
async fn tenants_of(db: &TestDatabase) -> [Tenant; 3] {
    let mut tenants = Vec::new();
    for (slug, isolation) in [("a", Isolation::Shared), ("b", Isolation::Shared), ("s", Isolation::Schema)] {
        let tenant = db.tenant(slug, isolation).await;
        write_note(db, &tenant, slug).await;
        tenants.push(tenant);
    }
    tenants.try_into().unwrap()
}

/// Six tasks at once, each for one of three tenants; answers the server's processes that served them.
async fn mixed(tenants: &Tenants, db: &TestDatabase, of: &[Tenant; 3]) -> BTreeSet<i32> {
    let mut tasks = Vec::new();
    for (task, tenant) in of.iter().cycle().take(6).enumerate() {
        let (tenants, session) = (tenants.clone(), db.session(tenant, Actor::system("test")));
        tasks.push(tokio::spawn(async move {
            let mut servers = BTreeSet::new();
            for round in 0..50 {
                let mut tx = tenants.begin(&session).await.unwrap();
                // A text of its own for each task, bound and not.
                let sql = format!("select body, $1::int8, pg_backend_pid() from notes where {task} = {task}");
                let (body, echoed, server): (String, i64, i32) =
                    sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(round).fetch_one(&mut *tx).await.unwrap();
                assert_eq!((body.as_str(), echoed), (session.tenant().slug(), round));
                servers.insert(server);
                if round % 3 == 0 {
                    drop(tx);
                } else {
                    tx.commit().await.unwrap();
                }
            }
            servers
        }));
    }
    let mut servers = BTreeSet::new();
    for task in tasks {
        servers.extend(task.await.unwrap());
    }
    servers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_in_transaction_mode_mixes_nothing_up() {
    let db = database().await;
    let Some(bouncer) = Bouncer::find(&db, &[TRANSACTION, TAKES_SQLX]).await else { return };
    let builder = Tenants::builder().max_connections(6).transaction_pooler();
    let tenants = through(&bouncer, &db, builder).await.unwrap();
    let of = tenants_of(&db).await;
    assert_eq!(mixed(&tenants, &db, &of).await.len(), 1, "all tenants over one server connection");

    // Nothing is left on it: no prepared statement, no tenant.
    let mut tx = tenants.begin(&db.session(&of[0], Actor::system("test"))).await.unwrap();
    let left: i64 =
        sqlx::query_scalar("select count(*) from pg_prepared_statements").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(left, 0);
    drop(tx);
    let mut bare = sqlx::PgConnection::connect_with(&bouncer.options(&db)).await.unwrap();
    let row = sqlx::raw_sql(
        "select coalesce(current_setting('app.current_tenant', true), ''), count(*)::text from shared.notes",
    );
    let row = sqlx::Executor::fetch_one(&mut bare, row).await.unwrap();
    let seen: (String, String) = (sqlx::Row::get(&row, 0), sqlx::Row::get(&row, 1));
    assert_eq!(seen, (String::new(), "0".to_owned()));
}

/// A client that goes away in the middle leaves the server connection to the next client as it found it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_cancel_at_random_over_one_server_connection() {
    let long = LongRound::begin("cancel at random through pgbouncer", 100, 2_000);
    let rounds = long.count();
    let db = database().await;
    let Some(bouncer) = Bouncer::find(&db, &[TRANSACTION, TAKES_SQLX]).await else { return };
    let builder = Tenants::builder().max_connections(3).transaction_pooler();
    let tenants = through(&bouncer, &db, builder).await.unwrap();
    let of = tenants_of(&db).await;
    let report = CancelFuzz::new(&tenants)
        .rounds(rounds)
        .run(async |round| {
            let tenant = &of[round % 3];
            let mut tx = tenants.begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
            let seen: Vec<String> =
                sqlx::query_scalar("select body from notes").fetch_all(&mut *tx).await.unwrap();
            assert_eq!(seen, [tenant.slug()], "another tenant's rows");
            tx.commit().await.unwrap();
        })
        .await
        .unwrap();
    assert_eq!(report.finished + report.cancelled, rounds);
    mixed(&tenants, &db, &of).await;
}

#[tokio::test]
async fn pgbouncer_in_transaction_mode_that_was_not_declared_is_refused() {
    let db = database().await;
    // Round robin is the other way in which a pooler gives out its connections.
    let several = "pool_mode = transaction\ndefault_pool_size = 4\nserver_round_robin = 1";
    for lines in [TRANSACTION, "pool_mode = transaction\ndefault_pool_size = 4", several] {
        let Some(bouncer) = Bouncer::find(&db, &[lines, TAKES_SQLX]).await else { return };
        let error = through(&bouncer, &db, Tenants::builder()).await.unwrap_err();
        assert!(matches!(error, ConnectError::UndeclaredPooler), "{lines}: {error}");
        assert!(error.to_string().contains("say so (`transaction_pooler`)"), "{error}");
        through(&bouncer, &db, Tenants::builder().transaction_pooler()).await.unwrap();
    }
}

/// A connection of its own for each client: as good as none between.
#[tokio::test]
async fn pgbouncer_in_session_mode_is_as_the_server_itself() {
    let db = database().await;
    let session_mode = "pool_mode = session\ndefault_pool_size = 10\nserver_reset_query = discard all";
    let Some(bouncer) = Bouncer::find(&db, &[session_mode, TAKES_SQLX]).await else { return };
    let tenants = through(&bouncer, &db, Tenants::builder().max_connections(4)).await.unwrap();
    let of = tenants_of(&db).await;
    mixed(&tenants, &db, &of).await;
    assert!(examine_pool(tenants.pool_unguarded()).await.unwrap() <= 4);
}

#[tokio::test]
async fn pgbouncer_that_refuses_what_sqlx_sends_says_which_setting_it_lacks() {
    let db = database().await;
    let Some(bouncer) = Bouncer::find(&db, &[TRANSACTION]).await else { return };
    for builder in [Tenants::builder(), Tenants::builder().transaction_pooler()] {
        let error = through(&bouncer, &db, builder).await.unwrap_err();
        assert!(
            error.to_string().contains("set `ignore_startup_parameters = extra_float_digits`"),
            "{error}"
        );
    }
}

/// From 1.21 on it keeps its clients' statements apart, and nothing needs to be prepared anew each time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_with_prepared_statements_mixes_nothing_up() {
    let Some(program) = program() else { return };
    let version = version(&program);
    if version < (1, 21) {
        eprintln!(
            "pgbouncer {}.{} keeps no prepared statements: not tested (PGBOUNCER_BIN names a newer one)",
            version.0, version.1
        );
        return;
    }
    let db = database().await;
    let Some(bouncer) = Bouncer::find(&db, &[TRANSACTION, TAKES_SQLX, "max_prepared_statements = 100"]).await
    else {
        return;
    };
    let builder = Tenants::builder().max_connections(6).transaction_pooler_with_prepared_statements();
    let tenants = through(&bouncer, &db, builder).await.unwrap();
    let of = tenants_of(&db).await;
    assert_eq!(mixed(&tenants, &db, &of).await.len(), 1);
    let mut tx = tenants.begin(&db.session(&of[0], Actor::system("test"))).await.unwrap();
    let kept: i64 =
        sqlx::query_scalar("select count(*) from pg_prepared_statements").fetch_one(&mut *tx).await.unwrap();
    assert!(kept > 0, "statements are prepared once");
}

/// A pooler that gives up a statement tells so by an error of its own, and the server commits all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_the_pooler_gave_up_is_unknown_and_not_run_again() {
    let db = database().await;
    let lines = ["pool_mode = transaction\ndefault_pool_size = 5\nquery_timeout = 1", TAKES_SQLX];
    let Some(bouncer) = Bouncer::find(&db, &lines).await else { return };
    let builder = Tenants::builder().max_connections(3).transaction_pooler();
    let tenants = through(&bouncer, &db, builder).await.unwrap();
    let session = db.session(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
    let mut owner = db.options(LocalRole::Superuser).await.connect().await.unwrap();
    // Held up at the commit until the test lets go, which it does once the pooler has given up.
    sqlx::raw_sql(
        "create function platform.held_up() returns trigger language plpgsql as
           $$ begin perform pg_advisory_xact_lock(4711); return null; end $$;
         create constraint trigger held_up after insert on shared.notes deferrable initially deferred
           for each row execute function platform.held_up();
         select pg_advisory_lock(4711)",
    )
    .execute(&mut owner)
    .await
    .unwrap();
    let answer = tenants
        .run(&session, TxOptions::new(), |tx| {
            Box::pin(async move {
                sqlx::query("insert into notes (body) values ('once')").execute(&mut **tx).await
            })
        })
        .await;
    assert!(matches!(answer, Err(RunError::Commit(CommitError::Unknown(_)))), "{answer:?}");
    sqlx::raw_sql("select pg_advisory_unlock(4711)").execute(&mut owner).await.unwrap();
    loop {
        let count = "select count(*) from shared.notes where body = 'once'";
        let stored: i64 = sqlx::query_scalar(count).fetch_one(&mut owner).await.unwrap();
        assert!(stored <= 1, "stored {stored} times");
        if stored == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undeclared_pooler_before_another_database_is_refused() {
    let db = TestDatabase::with_databases(&[formwork_migrations::TENANCY], &["eu"]).await;
    let Some(bouncer) = Bouncer::find(&db, &[TRANSACTION, TAKES_SQLX]).await else { return };
    let eu = db.options_of("eu", LocalRole::App).await;
    let options = bouncer.options(&db).database(eu.get_database().unwrap());
    let main = db.options(LocalRole::App).await;
    let refused = Tenants::builder().database("eu", options).connect_with(main).await.unwrap_err();
    assert!(matches!(&refused, ConnectError::Database { name, .. } if name == "eu"), "{refused}");
}
