//! A fleet of homes, brought up to date: what a run plans, does and leaves alone.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use formwork_migrations::{Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, ControlPlane, Isolation, NewTenant,
    fleet::{Canary, FleetEvent, FleetOptions, Wave},
    local_postgres::LocalRole,
    testing::{TestDatabase, cluster},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

macro_rules! tenant_table {
    ($name:literal, $columns:literal) => {
        concat!(
            "create table ", $name, " (
               tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
               id uuid not null default gen_random_uuid(), ", $columns, " primary key (tenant_id, id));
             alter table ", $name, " enable row level security;
             alter table ", $name, " force row level security;
             create policy tenant_isolation on ", $name, " as permissive for all to public
               using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
               with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
             grant select, insert, update, delete on ", $name, " to formwork_app;\n"
        )
    };
}

pub(crate) const BASE: Migration = Migration {
    version: 1,
    name: "small",
    sql: concat!(
        tenant_table!("projects", "name text not null,"),
        tenant_table!(
            "tasks",
            "project_id uuid, title text not null, foreign key (tenant_id, project_id) references projects (tenant_id, id),"
        ),
        tenant_table!("comments", "body text not null,"),
        "create index tasks_of_project on tasks (tenant_id, project_id); -- the last line is a comment"
    ),
};
pub(crate) const COLUMN: Migration = Migration {
    version: 2,
    name: "priority",
    sql: "alter table tasks add column priority integer not null default 0",
};
pub(crate) const TABLE: Migration = Migration {
    version: 3,
    name: "labels",
    sql: concat!(
        tenant_table!("labels", "name text,"),
        "create index labels_by_name on labels (tenant_id, name)"
    ),
};
pub(crate) const OLD: Set = set(&[BASE]);
pub(crate) const NEW: Set = set(&[BASE, COLUMN, TABLE]);

pub(crate) const fn set(home: &'static [Migration]) -> Set {
    Set { name: "test/small", platform: &[], home }
}

/// A fleet of `count` tenants with a schema each, at the old version.
pub(crate) async fn fleet(count: usize) -> TestDatabase {
    let db = TestDatabase::new(&[TENANCY, OLD]).await;
    for nr in 0..count {
        provision(db.control(), &format!("t{nr}")).await;
    }
    db
}

pub(crate) async fn provision(control: &ControlPlane, slug: &str) {
    control.provision(&NewTenant::new(slug, slug, Isolation::Schema)).await.unwrap();
}

/// The owner's side as another version of the program has it.
pub(crate) async fn version(db: &TestDatabase, set: Set) -> ControlPlane {
    ControlPlane::connect_with(db.options(LocalRole::Owner).await, &[TENANCY, set]).await.unwrap()
}

pub(crate) async fn owner(db: &TestDatabase) -> PgConnection {
    PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap()
}

pub(crate) async fn execute(conn: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.unwrap();
}

pub(crate) async fn schema_of(db: &TestDatabase, slug: &str) -> String {
    sqlx::query_scalar("select schema_name from platform.tenants where slug = $1")
        .bind(slug)
        .fetch_one(&mut owner(db).await)
        .await
        .unwrap()
}

/// Of the shared home and the tenants' own: untouched, complete, anything else. What the catalogue says of a home
/// and what the ledger says are looked at together.
pub(crate) async fn states(db: &TestDatabase) -> (i64, i64, i64) {
    sqlx::query_as(
        "with home as (
           select h.name, exists (select from pg_attribute a where a.attrelid = to_regclass(h.name || '.tasks')
                                     and attname = 'priority' and not attisdropped) as has_column,
                  to_regclass(h.name || '.labels_by_name') is not null as has_table,
                  (select count(*) from platform.migration_ledger l
                    where l.home = h.name and l.set_name = 'test/small') as steps
             from (select 'shared' union all select schema_name from platform.tenants
                    where isolation = 'schema') h (name))
         select count(*) filter (where not has_column and not has_table and steps = 1),
                count(*) filter (where has_column and has_table and steps = 3),
                count(*) filter (where (has_column, has_table, steps) not in ((false, false, 1), (true, true, 3)))
           from home",
    )
    .fetch_one(&mut owner(db).await)
    .await
    .unwrap()
}

pub(crate) fn quick() -> FleetOptions {
    FleetOptions::new()
        .backoff(Duration::from_millis(5))
        .lock_timeout(Duration::from_millis(50))
        .attempts(100)
}

pub(crate) fn size(short: usize) -> usize {
    if std::env::var_os("FORMWORK_LONG").is_some() { 1_000 } else { short }
}

#[tokio::test]
async fn a_plan_and_a_dry_run_change_nothing() {
    let db = fleet(4).await;
    let control = version(&db, NEW).await;
    let before = catalogue(&db).await;
    let plan = control.fleet().plan().await.unwrap();
    assert_eq!(plan.steps(), 10);
    assert_eq!(
        plan.to_string(),
        "`shared`: test/small/0002_priority, test/small/0003_labels\n\
         4 tenants: test/small/0002_priority, test/small/0003_labels"
    );
    let report = control.fleet().dry_run(&quick(), |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.steps(), report.failures().len()), (5, 10, 0));
    assert_eq!(catalogue(&db).await, before);
    assert_eq!(states(&db).await, (5, 0, 0));
    assert!(db.control().fleet().plan().await.unwrap().is_up_to_date());
}

/// Also of a database in which nothing has ever been run, where a home's steps rest on the platform's.
#[tokio::test]
async fn a_dry_run_of_a_new_database_finds_what_would_fail_and_leaves_nothing() {
    let cluster = cluster().await;
    cluster.create_database("fleet_new", None).await.unwrap();
    let options = cluster.connect_options(LocalRole::Owner, "fleet_new");
    const BROKEN: Set = set(&[
        BASE,
        Migration {
            version: 2,
            name: "broken",
            sql: "select 1;\n\nselect count(*) from platform.tenants, nowhere",
        },
    ]);
    for (set, failures) in [(NEW, 0), (BROKEN, 1)] {
        let control = ControlPlane::connect_with(options.clone(), &[TENANCY, set]).await.unwrap();
        assert_eq!(control.fleet().plan().await.unwrap().pending().count(), 2);
        let report = control.fleet().dry_run(&quick(), |_| ()).await.unwrap();
        assert_eq!(report.failures().len(), failures);
        if let [failure] = report.failures() {
            assert_eq!(
                failure.to_string(),
                "`shared`: test/small/0002_broken line 3: relation \"nowhere\" does not exist (42P01)"
            );
        }
        let mut conn = PgConnection::connect_with(&options).await.unwrap();
        let schemas: i64 =
            sqlx::query_scalar("select count(*) from pg_namespace where nspname in ('platform', 'shared')")
                .fetch_one(&mut conn)
                .await
                .unwrap();
        assert_eq!(schemas, 0);
    }
}

#[tokio::test]
async fn a_run_brings_every_home_up_to_date_and_the_next_is_one_query() {
    let count = size(100);
    let db = fleet(count).await;
    let control = version(&db, NEW).await;
    let waves = Mutex::new(Vec::new());
    let last = Mutex::new(None);
    let options = FleetOptions::new().canary(Canary::Tenants(vec!["t7".to_owned()])).wave(40);
    let begun = std::time::Instant::now();
    let report = control
        .fleet()
        .run(&options, |event| match event {
            FleetEvent::WaveBegun { wave, homes } => waves.lock().unwrap().push((wave, homes)),
            FleetEvent::Done { home, counts } => {
                if waves.lock().unwrap().last() == Some(&(Wave::Canary, 1)) {
                    assert_eq!(home.slug(), Some("t7"));
                }
                *last.lock().unwrap() = Some(counts);
            }
            _ => {}
        })
        .await
        .unwrap();
    eprintln!("fleet: {count} homes in {:?}", begun.elapsed());
    assert_eq!((report.migrated(), report.steps()), (count + 1, 2 * (count + 1)), "{report}");
    assert_eq!(states(&db).await, (0, count as i64 + 1, 0));
    let waves = waves.into_inner().unwrap();
    assert_eq!(waves[..3], [(Wave::Shared, 1), (Wave::Canary, 1), (Wave::Fleet(1), 40)]);
    let last = last.into_inner().unwrap().unwrap();
    assert_eq!((last.total, last.done, last.failed), (count + 1, count + 1, 0));

    // Only this database's statements are in the log.
    let mut superuser = PgConnection::connect_with(&db.options(LocalRole::Superuser).await).await.unwrap();
    execute(
        &mut superuser,
        format!("alter role formwork_owner in database {} set log_statement = 'all'", db.name()),
    )
    .await;
    let control = version(&db, NEW).await;
    let log = cluster().await.log_file();
    let before = fs::read_to_string(&log).unwrap().len();
    let report = control.fleet().run(&options, |_| ()).await.unwrap();
    let log = fs::read_to_string(&log).unwrap().split_off(before);
    assert_eq!((report.migrated(), report.homes()), (0, count + 2));
    let statements = log.lines().filter(|line| line.contains("platform.migration_ledger")).count();
    assert_eq!(statements, 1, "{log}");
}

/// As the documentation of `fleet` has it.
#[tokio::test]
async fn a_backfill_visits_the_tenants_and_without_that_is_an_error() {
    const FORGETFUL: Set =
        set(&[BASE, Migration { version: 2, name: "x", sql: "update comments set body = upper(body)" }]);
    const BACKFILL: Set = set(&[
        BASE,
        Migration {
            version: 2,
            name: "x",
            sql: "do $$
                  declare tenant uuid;
                  begin
                    set local row_security = on;
                    for tenant in select id from platform.tenants where schema_name = current_schema() loop
                      perform set_config('app.current_tenant', tenant::text, true);
                      update comments set body = upper(body);
                    end loop;
                  end $$",
        },
    ]);
    let db = fleet(0).await;
    let tenants = [
        db.tenant("a", Isolation::Shared).await,
        db.tenant("b", Isolation::Shared).await,
        db.tenant("c", Isolation::Schema).await,
    ];
    for tenant in &tenants {
        let mut tx = db.tenants().begin(&db.session(tenant, Actor::system("test"))).await.unwrap();
        sqlx::query("insert into comments (body) values ($1)")
            .bind(tenant.slug())
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    let report = version(&db, FORGETFUL).await.fleet().run(&quick(), |_| ()).await.unwrap();
    let reason = report.failures()[0].reason();
    assert!(reason.contains("query would be affected by row-level security policy"), "{reason}");
    let report = version(&db, BACKFILL).await.fleet().run(&quick(), |_| ()).await.unwrap();
    assert_eq!(report.migrated(), 2, "{report}");
    for (tenant, expected) in tenants.iter().zip(["A", "B", "C"]) {
        let mut tx = db.tenants().begin_read(&db.session(tenant, Actor::system("test"))).await.unwrap();
        let bodies: Vec<String> =
            sqlx::query_scalar("select body from comments").fetch_all(&mut *tx).await.unwrap();
        assert_eq!(bodies, [expected]);
    }
}

/// The older program goes on making homes while the run is at work; the last home is held until one is made.
#[tokio::test]
async fn a_home_made_meanwhile_by_an_older_program_is_not_left_behind() {
    let db = Arc::new(fleet(3).await);
    let control = version(&db, NEW).await;
    let mut blocker = owner(&db).await;
    let schema = schema_of(&db, "t2").await;
    execute(&mut blocker, format!("begin; lock table {schema}.tasks in access share mode")).await;
    let (retried, first_retry) = tokio::sync::oneshot::channel();
    let retried = Mutex::new(Some(retried));
    let late = Mutex::new(0);
    let meanwhile = async {
        first_retry.await.unwrap();
        provision(db.control(), "late").await;
        execute(&mut blocker, "rollback".to_owned()).await;
    };
    let options = quick();
    let run = control.fleet();
    let run = run.run(&options, |event| match event {
        FleetEvent::Retry { .. } => {
            if let Some(retried) = retried.lock().unwrap().take() {
                retried.send(()).unwrap();
            }
        }
        FleetEvent::WaveBegun { wave: Wave::Late, homes } => *late.lock().unwrap() += homes,
        _ => {}
    });
    let (report, ()) = tokio::join!(run, meanwhile);
    let report = report.unwrap();
    assert_eq!((report.migrated(), report.failures().len()), (5, 0), "{report}");
    assert_eq!(*late.lock().unwrap(), 1);
    assert_eq!(states(&db).await, (0, 5, 0));
}

/// Every row that the catalogue has of the database, and the ledger's.
async fn catalogue(db: &TestDatabase) -> (i64, i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from pg_class), (select count(*) from pg_attribute),
                (select count(*) from pg_namespace), (select count(*) from platform.migration_ledger)",
    )
    .fetch_one(&mut owner(db).await)
    .await
    .unwrap()
}
