//! A column is replaced by two others while old and new programs write: expand, backfill, contract. See
//! `docs/schema-changes.md`, whose steps these are.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use formwork_migrations::{Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, ControlPlane, Isolation, MigrationRange, Session, Tenant, Tenants, TxOptions, fleet::FleetOptions,
    local_postgres::LocalRole, testing::TestDatabase,
};
use tokio::task::JoinHandle;

use crate::fleet::{owner, quick};

const SET: &str = "test/three_phase";

const PEOPLE: Migration = Migration {
    version: 1,
    name: "people",
    sql: "create table people (
            tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
            id uuid not null default gen_random_uuid(),
            name text not null,
            primary key (tenant_id, id));
          alter table people enable row level security;
          alter table people force row level security;
          create policy tenant_isolation_8c2860cb on people as permissive for all to public
            using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
            with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
          grant select, insert, update, delete on people to formwork_app",
};
const EXPAND: Migration = Migration {
    version: 2,
    name: "expand",
    sql: "alter table people add column given text, add column family text, alter column name drop not null",
};
/// Refuses to take away what has not been carried over: whoever forgot the backfill finds every home as it was.
const CONTRACT: Migration = Migration {
    version: 3,
    name: "contract",
    sql: "alter table people alter column given set not null, alter column family set not null, drop column name",
};

const fn set(home: &'static [Migration]) -> Set {
    Set { name: SET, platform: &[], database: &[], home }
}
const BEFORE: [Set; 2] = [TENANCY, set(&[PEOPLE])];
const EXPANDED: [Set; 2] = [TENANCY, set(&[PEOPLE, EXPAND])];
const CONTRACTED: [Set; 2] = [TENANCY, set(&[PEOPLE, EXPAND, CONTRACT])];

/// What a program writes, and the versions of a home that it can work with.
struct Program {
    insert: &'static str,
    versions: std::ops::RangeInclusive<i32>,
}
const OLD: Program = Program { insert: "insert into people (name) values ('Ada Lovelace')", versions: 1..=2 };
const BETWEEN: Program = Program {
    insert: "insert into people (name, given, family) values ('Grace Hopper', 'Grace', 'Hopper')",
    versions: 2..=2,
};
const NEW: Program =
    Program { insert: "insert into people (given, family) values ('Mary', 'Shelley')", versions: 2..=3 };

/// A program that runs: it writes to all tenants by turns until it is stopped.
struct Running {
    tenants: Tenants,
    stop: Arc<AtomicBool>,
    written: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(db: &TestDatabase, program: &'static Program) -> Self {
        let range = MigrationRange::new(SET, program.versions.clone());
        let tenants = db.connect(Tenants::builder().supports_range(range).max_connections(2)).await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let task =
            tokio::spawn(write(tenants.clone(), program.insert, Arc::clone(&stop), Arc::clone(&written)));
        let running = Self { tenants, stop, written, task };
        running.has_written_more().await;
        running
    }

    /// Waits until every tenant has been written to once more.
    async fn has_written_more(&self) {
        let enough = self.written.load(Ordering::SeqCst) + 2 * SLUGS.len();
        while self.written.load(Ordering::SeqCst) < enough {
            assert!(!self.task.is_finished(), "a program failed while the schema was changed");
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.written.load(Ordering::SeqCst)
    }
}

async fn write(tenants: Tenants, insert: &'static str, stop: Arc<AtomicBool>, written: Arc<AtomicUsize>) {
    for slug in SLUGS.iter().cycle() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let tenant = tenants.by_slug(slug).await.unwrap().unwrap();
        let session = Session::new(&tenant, Actor::system("program"));
        tenants
            .run(&session, TxOptions::new(), |tx| {
                Box::pin(async move { sqlx::query(insert).execute(&mut **tx).await.map(drop) })
            })
            .await
            .unwrap();
        written.fetch_add(1, Ordering::SeqCst);
    }
}

const SLUGS: [&str; 4] = ["s1", "s2", "o1", "o2"];

async fn fleet(db: &TestDatabase, sets: &[Set]) -> ControlPlane {
    ControlPlane::connect_with(db.options(LocalRole::Owner).await, sets).await.unwrap()
}

/// Carries over what is old, a few rows a transaction, so that nobody waits long for a row. Answers how many.
async fn backfill(tenants: &Tenants, tenant: &Tenant) -> u64 {
    let session = Session::new(tenant, Actor::system("backfill"));
    let mut carried = 0;
    loop {
        let (batch, _token) = tenants
            .run(&session, TxOptions::new(), |tx| {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "update people set given = split_part(name, ' ', 1), family = split_part(name, ' ', 2)
                          where id in (select id from people where given is null limit 10 for update skip locked)",
                    );
                    Ok::<_, sqlx::Error>(rows.execute(&mut **tx).await?.rows_affected())
                })
            })
            .await
            .unwrap();
        carried += batch;
        if batch == 0 {
            return carried;
        }
    }
}

async fn left_over(tenants: &Tenants, tenant: &Tenant) -> i64 {
    let session = Session::new(tenant, Actor::system("verify"));
    let mut tx = tenants.begin_read(&session).await.unwrap();
    sqlx::query_scalar("select count(*) from people where given is null").fetch_one(&mut *tx).await.unwrap()
}

async fn homes(db: &TestDatabase) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for slug in SLUGS {
        tenants.push(db.tenants().by_slug(slug).await.unwrap().unwrap());
    }
    tenants
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_column_is_replaced_in_three_phases_while_old_and_new_programs_write_and_no_row_is_lost() {
    let db = TestDatabase::new(&BEFORE).await;
    for slug in SLUGS {
        let isolation = if slug.starts_with('s') { Isolation::Shared } else { Isolation::Schema };
        db.tenant(slug, isolation).await;
    }
    let old = Running::start(&db, &OLD).await;

    // 1. Expand, under the old program's eyes; then the program that writes both ways, beside the old one.
    fleet(&db, &EXPANDED).await.fleet().run(&quick(), |_| ()).await.unwrap().into_result().unwrap();
    old.has_written_more().await;
    let between = Running::start(&db, &BETWEEN).await;

    // 2. Backfill tenant by tenant while both write. What the old program writes after it is left for the next round.
    let mut carried = 0;
    for tenant in homes(&db).await {
        carried += backfill(&between.tenants, &tenant).await;
    }
    assert!(carried > 0);
    old.has_written_more().await;
    let unready = fleet(&db, &CONTRACTED).await.fleet().run(&quick(), |_| ()).await.unwrap();
    assert_eq!(unready.migrated(), 0, "{unready}");
    assert!(unready.failures()[0].to_string().contains("contains null values"), "{unready}");
    let mut written = old.stop().await;
    for tenant in homes(&db).await {
        backfill(&between.tenants, &tenant).await;
        assert_eq!(left_over(&between.tenants, &tenant).await, 0);
    }

    // 3. The program that knows the new columns alone, in the place of the one before; then contract.
    let new = Running::start(&db, &NEW).await;
    written += between.stop().await;
    fleet(&db, &CONTRACTED)
        .await
        .fleet()
        .run(&FleetOptions::new(), |_| ())
        .await
        .unwrap()
        .into_result()
        .unwrap();
    new.has_written_more().await;
    written += new.stop().await;

    let mut found = 0;
    for tenant in homes(&db).await {
        let session = db.session(&tenant, Actor::system("verify"));
        let mut tx = db.tenants().begin_read(&session).await.unwrap();
        let names: Vec<(String, i64)> =
            sqlx::query_as("select given || ' ' || family, count(*) from people group by 1 order by 1")
                .fetch_all(&mut *tx)
                .await
                .unwrap();
        let who: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(who, ["Ada Lovelace", "Grace Hopper", "Mary Shelley"], "{}", tenant.slug());
        found += names.iter().map(|(_, count)| usize::try_from(*count).unwrap()).sum::<usize>();
    }
    assert_eq!(found, written);
    let columns: i64 = sqlx::query_scalar("select count(*) from information_schema.columns where table_name = 'people' and column_name = 'name'")
        .fetch_one(&mut owner(&db).await)
        .await
        .unwrap();
    assert_eq!(columns, 0);

    // An old program that was forgotten somewhere is refused, and writes nothing wrong.
    let range = MigrationRange::new(SET, OLD.versions);
    let forgotten = db.connect(Tenants::builder().supports_range(range)).await;
    let tenant = forgotten.by_slug("o1").await.unwrap().unwrap();
    let refused = forgotten.begin(&Session::new(&tenant, Actor::system("old"))).await.unwrap_err();
    assert!(refused.refusal().is_some());
}
