//! Behind a real PgBouncer in transaction mode, two tenants share one server connection.
//!
//! Without `transaction_pooler()` sqlx would prepare statements by name and answer one client with another one's
//! rows (measured with 1.18: hundreds of wrong answers in 3,600, and no error).

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use formwork_tenancy::{
    Actor, Isolation, Tenants,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, TestDatabase, cluster},
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

struct Bouncer {
    process: Child,
    folder: PathBuf,
}

impl Bouncer {
    /// One server connection for each pair of login and database.
    async fn start(program: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("formwork-bouncer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let url = cluster().await.url(LocalRole::App);
        let (login, rest) = url.strip_prefix("postgres://").unwrap().split_once(':').unwrap();
        let password = rest.split('@').next().unwrap();
        let socket = cluster().await.connect_options(LocalRole::App, "x").get_socket().unwrap().clone();
        let config = format!(
            "[databases]\n* = host={socket} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
             unix_socket_dir = {folder}\nauth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\n\
             default_pool_size = 1\nmax_client_conn = 200\nignore_startup_parameters = extra_float_digits\n",
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pgbouncer_in_transaction_mode_mixes_nothing_up() {
    let Some(program) = program() else {
        assert!(std::env::var_os("CI").is_none(), "pgbouncer is not installed: run script/bootstrap --tests");
        eprintln!("pgbouncer is not installed: not tested (script/bootstrap --tests installs it)");
        return;
    };
    let db = database().await;
    let mut bouncer = Bouncer::start(&program).await;
    bouncer.wait(&db).await;
    let builder = Tenants::builder().base_domain(BASE_DOMAIN).max_connections(6).transaction_pooler();
    let tenants = builder.connect_with(bouncer.options(&db)).await.unwrap();
    let (a, s) = (db.tenant("a", Isolation::Shared).await, db.tenant("s", Isolation::Schema).await);
    for tenant in [&a, &s] {
        write_note(&db, tenant, tenant.slug()).await;
    }
    let mut tasks = Vec::new();
    for task in 0..6 {
        let tenant = if task % 2 == 0 { a.clone() } else { s.clone() };
        let (tenants, session) = (tenants.clone(), db.session(&tenant, Actor::system("test")));
        tasks.push(tokio::spawn(async move {
            let mut servers = std::collections::BTreeSet::new();
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
    let mut servers = std::collections::BTreeSet::new();
    for task in tasks {
        servers.extend(task.await.unwrap());
    }
    assert_eq!(servers.len(), 1, "both tenants over one server connection");

    // Nothing is left on it: no prepared statement, no tenant.
    let session = db.session(&a, Actor::system("test"));
    let mut tx = tenants.begin(&session).await.unwrap();
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
