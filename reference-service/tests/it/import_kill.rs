//! `kill -9` in the middle of an import: what was committed is whole, and the same command goes on.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use formwork_tenancy::{
    Isolation,
    local_postgres::{LocalPostgres, LocalRole, Settings},
    testing::LongRound,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::cli::{Home, Named, PATIENCE, Running, Stored, binaries, home_of};

const ROWS: i64 = 20_000;
/// Rows that the program writes in one transaction.
const BATCH: i64 = 1_000;

/// A file in the form of a built-in mapping.
fn file(home: &Home) -> PathBuf {
    let columns = "OBJECTID,FILENO,ADDRESS,INDATE,ISSUEDATE,CONSTRUCTVALUE,FOLDERSTATUSDESC,WORKDESC";
    let row = |n: i64| format!("\n{n},24-{n},{n} Abbey Crt.,2024/10/03 00:00:00+00,,{n}.5,Issued,New");
    home.write("permits.csv", columns.to_owned() + &(0..ROWS).map(row).collect::<String>())
}

/// Where in a batch the program is killed: when it is about to write to this table, or wherever it is.
const MOMENTS: [Option<&str>; 4] = [Some("permission_tuples"), Some("audit_events"), None, Some("projects")];

/// The import as the database sees it.
struct Watched {
    superuser: PgConnection,
    home: String,
}

impl Watched {
    async fn new(mut superuser: PgConnection, slug: &str) -> Self {
        let home = home_of(&mut superuser, slug).await;
        Self { superuser, home }
    }

    /// Waits until more than `before` projects are stored.
    async fn more_than(&mut self, before: i64) {
        let sql = format!("select count(*) > $1 from {}.projects", self.home);
        self.holds(&sql, before, "the import stands still").await;
    }

    /// Lets the import come as far as `table` and no further; what it is doing in the batch before is let through.
    async fn halt_at(&mut self, table: &str) {
        let lock = format!("begin; lock table {}.{table} in share row exclusive mode", self.home);
        self.superuser.execute(AssertSqlSafe(lock)).await.unwrap();
        // Not pg_stat_activity, which stands still within a transaction.
        let sql = "select count(*) > $1 from pg_locks join pg_database on pg_database.oid = database
                    where datname = current_database() and not granted";
        self.holds(sql, 0, "the import does not come here").await;
    }

    /// Waits until the server has noticed that the program is gone.
    async fn forgotten(&mut self) {
        // There is no transaction after a moment without a halt; then this is a warning.
        self.superuser.execute("rollback").await.unwrap();
        let sql = "select $1 = count(*) from pg_stat_activity
                    where datname = current_database() and application_name = 'formwork'";
        self.holds(sql, 0, "the server keeps the connection of a dead program").await;
    }

    async fn holds(&mut self, sql: &str, number: i64, otherwise: &str) {
        let begun = Instant::now();
        loop {
            let asked = sqlx::query_scalar(AssertSqlSafe(sql)).bind(number);
            if asked.fetch_one(&mut self.superuser).await.unwrap() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{otherwise}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stored(&mut self, slug: &str) -> Stored {
        Stored::of(&mut self.superuser, slug).await
    }
}

/// So many kills in a row, then a run to the end.
async fn killed(isolation: Isolation, rounds: usize) {
    let named = Named::new().await;
    named.tenant("acme", isolation);
    let file = file(&named.home);
    let arguments = ["import", "permits", file.to_str().unwrap(), "--tenant", "acme"];
    let mut watched = Watched::new(named.superuser().await, "acme").await;
    let mut before = 0;
    for round in 0..rounds {
        let mut import = named.start(&arguments);
        watched.more_than(before).await;
        if let Some(table) = MOMENTS[round % MOMENTS.len()] {
            watched.halt_at(table).await;
        }
        import.kill();
        watched.forgotten().await;
        let stored = watched.stored("acme").await;
        stored.assert_whole();
        assert_eq!(stored.projects % BATCH, 0, "{stored:?}");
        assert!(stored.projects > before && stored.projects < ROWS, "{stored:?}");
        assert_eq!(stored.imported, round as i64 + 1);
        before = stored.projects;
    }
    let done = named.run(&arguments).ok();
    assert!(done.out.contains(&format!("{before}  unchanged")), "{done:?}");
    let stored = watched.stored("acme").await;
    stored.assert_whole();
    assert_eq!((stored.projects, stored.updated, stored.imported), (ROWS, 0, rounds as i64 + 1));
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on() {
    if !LongRound::is_asked_for() {
        return killed(Isolation::Schema, 3).await;
    }
    // A file has batches for so many kills.
    let long = LongRound::begin("imports killed and resumed", 3, 5);
    for isolation in [Isolation::Shared, Isolation::Schema].repeat(2) {
        killed(isolation, long.count()).await;
    }
}

#[tokio::test]
async fn the_service_that_lends_its_database_is_killed() {
    let home = Home::new();
    let file = file(&home);
    let mut demo = Running::start(&home, &["demo", "--port", "0"]);
    demo.until("Ctrl-C");
    let arguments = ["import", "permits", file.to_str().unwrap(), "--tenant", "bolt"];
    let mut import = Running::start(&home, &arguments);
    let mut watched = Watched::new(home.superuser().await, "bolt").await;
    watched.more_than(0).await;
    demo.kill();
    drop(watched);

    let done = import.end();
    let sentence = done.sentence();
    assert!(sentence.contains("the same command goes on from there"), "{sentence}");
    let (_, said) = sentence.rsplit_once("; ").unwrap();
    let told: i64 = said.split(' ').next().unwrap().parse().unwrap();

    let interrupted = stored(&home, "bolt").await;
    interrupted.assert_whole();
    // The answer to the last commit may have been lost.
    assert!([told, told + BATCH].contains(&interrupted.projects), "{told} {interrupted:?}");

    home.run(&arguments).ok();
    let whole = stored(&home, "bolt").await;
    whole.assert_whole();
    assert_eq!((whole.projects, whole.updated), (ROWS, 0));
}

/// Starts the private cluster for a look at it.
async fn stored(home: &Home, slug: &str) -> Stored {
    let postgres = LocalPostgres::start(Settings::new(binaries(), home.postgres())).await.unwrap();
    let options = postgres.connect_options(LocalRole::Superuser, "formwork");
    let mut superuser = PgConnection::connect_with(&options).await.unwrap();
    let stored = Stored::of(&mut superuser, slug).await;
    superuser.close().await.unwrap();
    postgres.stop().await;
    stored
}
