//! How fast is a step over a fleet of schemas, against sqlx's migrator run on one schema after another?
//!
//! Commits are durable (`fsync` on) in both. The fleets are made anew for each round, half of the rounds begin with
//! the peer, and each side's result is looked at after it was timed. `FLEET_HOMES` sets the size, 1,000 when it does
//! not.
//!
//! Then: what does it cost to make a tenant with the reference service's home by one message of all steps, against
//! sqlx's migrator in a new schema, and against copying the tables of a template (`like .. including all`, with
//! policies and grants, but without the foreign keys and triggers that Postgres does not copy: less than a home)?
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, SERVICE, Set, TENANCY};
use formwork_tenancy::{
    ControlPlane, Isolation, NewTenant,
    fleet::FleetOptions,
    local_postgres::{Durability, LocalPostgres, LocalRole, PgBinaries, Settings},
};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, SqlSafeStr,
    migrate::{Migration as PeerMigration, MigrationType, Migrator},
    postgres::PgConnectOptions,
};

const ROUNDS: usize = 3;

const TABLES: &str = "
create table projects (tenant_id uuid not null, id uuid not null, name text not null, primary key (tenant_id, id));
create table tasks (tenant_id uuid not null, id uuid not null, project_id uuid, title text not null,
  primary key (tenant_id, id), foreign key (tenant_id, project_id) references projects (tenant_id, id));
create index tasks_of_project on tasks (tenant_id, project_id);
create table comments (tenant_id uuid not null, id uuid not null, body text not null, primary key (tenant_id, id));
";
const COLUMN: &str = "alter table tasks add column priority integer not null default 0";

const OLD: Set = Set {
    name: "bench",
    platform: &[],
    database: &[],
    home: &[Migration { version: 1, name: "tables", sql: TABLES }],
};
const NEW: Set = Set {
    name: "bench",
    platform: &[],
    database: &[],
    home: &[
        Migration { version: 1, name: "tables", sql: TABLES },
        Migration { version: 2, name: "column", sql: COLUMN },
    ],
};

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let homes = std::env::var("FLEET_HOMES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    // On a disk: in memory every commit is durable at once.
    let folder = Folder(std::env::temp_dir().join(format!("formwork-bench-{}", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    // As root, Postgres runs as another user, who has to come through here.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o711)).unwrap();
    runtime.block_on(compare(&folder, homes));
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn compare(folder: &Folder, homes: usize) {
    let explicit = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let settings = Settings::new(PgBinaries::find(explicit.as_deref()).unwrap(), folder.0.join("cluster"));
    let postgres = LocalPostgres::start(settings.durability(Durability::Durable)).await.unwrap();
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let (ours, peers) = (format!("ours_{round}"), format!("peers_{round}"));
        for name in [&ours, &peers] {
            postgres.create_database(name, None).await.unwrap();
        }
        let (ours, peers) = (
            postgres.connect_options(LocalRole::Owner, &ours),
            postgres.connect_options(LocalRole::Owner, &peers),
        );
        let created = prepare_ours(&ours, homes).await;
        prepare_peers(&peers, homes).await;
        let (ours, peers) = if round % 2 == 0 {
            let ours = time_ours(&ours, homes).await;
            (ours, time_peers(&peers, homes).await)
        } else {
            let peers = time_peers(&peers, homes).await;
            (time_ours(&ours, homes).await, peers)
        };
        let ratio = peers.as_secs_f64() / ours.as_secs_f64();
        println!(
            "round {round}: {homes} schemas, one column: fleet {ours:.2?} ({:.0} a second), sqlx {peers:.2?} ({:.0} a \
             second): {ratio:.1} times; a tenant with its schema is made in {:.1?}",
            homes as f64 / ours.as_secs_f64(),
            homes as f64 / peers.as_secs_f64(),
            created / u32::try_from(homes).unwrap(),
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("fleet/sqlx: median ratio {:.1}", ratios[ROUNDS / 2]);
    create(&postgres).await;
    postgres.stop().await;
}

async fn prepare_ours(options: &PgConnectOptions, homes: usize) -> Duration {
    let control = ControlPlane::connect_with(options.clone(), &[TENANCY, OLD]).await.unwrap();
    control.migrate().await.unwrap();
    let begun = Instant::now();
    for nr in 0..homes {
        let slug = format!("t{nr}");
        control.provision(&NewTenant::new(&slug, &slug, Isolation::Schema)).await.unwrap();
    }
    let created = begun.elapsed();
    control.close().await;
    created
}

async fn time_ours(options: &PgConnectOptions, homes: usize) -> Duration {
    let control = ControlPlane::connect_with(options.clone(), &[TENANCY, NEW]).await.unwrap();
    let begun = Instant::now();
    let report = control.fleet().run(&FleetOptions::new(), |_| ()).await.unwrap();
    let elapsed = begun.elapsed();
    // The shared home is one of ours more.
    assert_eq!(report.migrated(), homes + 1, "{report}");
    assert_eq!(columns(options).await, homes as i64 + 1);
    control.close().await;
    elapsed
}

/// The tables of the shared home, to be made again wherever the search path leads.
const COPIES: &str = "select string_agg(format('create table %1$s (like shared.%1$s including all);
     alter table %1$s enable row level security; alter table %1$s force row level security;
     create policy tenant_isolation_8c2860cb on %1$s
       using (tenant_id = (select nullif(current_setting(''app.current_tenant'', true), '''')::uuid))
       with check (tenant_id = (select nullif(current_setting(''app.current_tenant'', true), '''')::uuid));
     grant select, insert, update, delete on %1$s to formwork_app;', relname), '')
   from pg_class where relnamespace = 'shared'::regnamespace and relkind = 'r'";

/// Makes tenants in three ways by turns, and prints the median of each.
async fn create(postgres: &LocalPostgres) {
    const TENANTS: usize = 60;
    let own = [TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
    let sets: Vec<Set> = own.into_iter().chain(SERVICE.iter().copied()).collect();
    postgres.create_database("create", None).await.unwrap();
    let options = postgres.connect_options(LocalRole::Owner, "create");
    let control = ControlPlane::connect_with(options.clone(), &sets).await.unwrap();
    control.migrate().await.unwrap();
    let mut conn = PgConnection::connect_with(&options).await.unwrap();
    let steps: Vec<_> =
        (1..).zip(sets.iter().flat_map(|set| set.home)).map(|(nr, step)| (nr, step.name, step.sql)).collect();
    let migrator = migrator(&steps);
    let copies: String = sqlx::query_scalar(COPIES).fetch_one(&mut conn).await.unwrap();
    let mut times = [const { Vec::new() }; 3];
    for nr in 0..TENANTS {
        let begun = Instant::now();
        let slug = format!("t{nr}");
        control.provision(&NewTenant::new(&slug, &slug, Isolation::Schema)).await.unwrap();
        times[0].push(begun.elapsed());

        let begun = Instant::now();
        let made = |name: &str| {
            format!(
                "create schema {name}{nr}; grant usage on schema {name}{nr} to formwork_app; set search_path = {name}{nr}"
            )
        };
        sqlx::raw_sql(AssertSqlSafe(made("peer"))).execute(&mut conn).await.unwrap();
        migrator.run(&mut conn).await.unwrap();
        times[1].push(begun.elapsed());

        let begun = Instant::now();
        let text = format!("begin; {}; {copies} commit", made("copy"));
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
        times[2].push(begun.elapsed());
    }
    let [message, migrator, copy] = times.map(|mut times| {
        times.sort();
        times[TENANTS / 2].as_secs_f64() * 1_000.0
    });
    println!(
        "a tenant with a home of {} steps: one message {message:.1} ms, sqlx {migrator:.1} ms ({:.1} times), copies \
         of the tables alone {copy:.1} ms ({:.2} times)",
        steps.len(),
        migrator / message,
        copy / message,
    );
    control.close().await;
}

fn migrator(steps: &[(i64, &'static str, &'static str)]) -> Migrator {
    let step = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        PeerMigration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

async fn prepare_peers(options: &PgConnectOptions, homes: usize) {
    let mut conn = PgConnection::connect_with(options).await.unwrap();
    let migrator = migrator(&[(1, "tables", TABLES)]);
    for nr in 0..homes {
        let text = format!("create schema t{nr}; set search_path = t{nr}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
        migrator.run(&mut conn).await.unwrap();
    }
}

/// On one connection, as kind to the peer as can be: a connection for each schema would cost more.
async fn time_peers(options: &PgConnectOptions, homes: usize) -> Duration {
    let mut conn = PgConnection::connect_with(options).await.unwrap();
    let migrator = migrator(&[(1, "tables", TABLES), (2, "column", COLUMN)]);
    let begun = Instant::now();
    for nr in 0..homes {
        let text = format!("set search_path = t{nr}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
        migrator.run(&mut conn).await.unwrap();
    }
    let elapsed = begun.elapsed();
    assert_eq!(columns(options).await, homes as i64);
    elapsed
}

async fn columns(options: &PgConnectOptions) -> i64 {
    let mut conn = PgConnection::connect_with(options).await.unwrap();
    sqlx::query_scalar("select count(*) from pg_attribute where attname = 'priority' and not attisdropped")
        .fetch_one(&mut conn)
        .await
        .unwrap()
}
