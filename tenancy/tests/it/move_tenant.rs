//! A tenant is moved between homes while it is read and written.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use formwork_migrations::{AUDIT, AUTHZ, Migration, Set, TENANCY};
use formwork_tenancy::{
    Actor, CommitError, HomePlace, IsolationLevel, OutboxEvent, StorageError, Tenant, TenantTx, TxOptions,
    doctor::DoctorConfig,
    local_postgres::LocalRole,
    moves::{MoveError, MoveEvent, MoveRefusal, MoveStep},
    testing::TestDatabase,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::{sync::watch, task::JoinHandle};

use crate::database_mode::connect;

macro_rules! walled {
    ($name:literal) => {
        concat!(
            "alter table ", $name, " enable row level security;
             alter table ", $name, " force row level security;
             create policy tenant_isolation_8c2860cb on ", $name, " as permissive for all to public
               using (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid))
               with check (tenant_id = (select nullif(current_setting('app.current_tenant', true), '')::uuid));
             grant select, insert, update, delete on ", $name, " to formwork_app;\n"
        )
    };
}

/// Names in the wrong order for their keys, a table that refers to itself, two that refer to each other, and columns of
/// every kind that a copy has to think of.
pub(crate) const SITE: Set = Set {
    name: "test/site",
    platform: &[],
    database: &[],
    home: &[Migration {
        version: 1,
        name: "site",
        sql: concat!(
            "create table sites (
               tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
               id text not null, n bigint not null default 0, head bigint,
               primary key (tenant_id, id));",
            "create table \"Entries\" (
               tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
               nr bigint generated always as identity,
               site text not null, seq bigint not null, before bigint,
               text text generated always as (site || '-' || seq) stored,
               xid xid8 not null default pg_current_xact_id(),
               amount numeric(12,2) not null default 1.50, at timestamptz not null default clock_timestamp(),
               tags text[] not null default '{a,\"b c\",NULL}', detail jsonb not null default '{\"k\": [1, null]}',
               bytes bytea not null default '\\x00ff', ratio double precision not null default 0.1::float8 + 0.2,
               note text,
               primary key (tenant_id, nr), unique (tenant_id, site, seq),
               foreign key (tenant_id, site) references sites (tenant_id, id),
               foreign key (tenant_id, before) references \"Entries\" (tenant_id, nr));",
            // Before the walls: the owner is blind behind them, and a key looks at the rows that are there.
            "alter table sites add foreign key (tenant_id, head) references \"Entries\" (tenant_id, nr)
               deferrable initially immediate;",
            walled!("sites"),
            walled!("\"Entries\""),
        ),
    }],
};

pub(crate) async fn database() -> TestDatabase {
    TestDatabase::with_databases(&[TENANCY, AUTHZ, AUDIT, SITE], &["eu"]).await
}

/// One entry at a site, its number counted up, the site's head set, a tuple and an audit event, all in one transaction.
async fn add(tx: &mut TenantTx, site: &str) -> Result<i64, sqlx::Error> {
    let seq: i64 = sqlx::query_scalar(
        "insert into sites (id, n) values ($1, 1)
         on conflict (tenant_id, id) do update set n = sites.n + 1 returning n",
    )
    .bind(site)
    .fetch_one(&mut **tx)
    .await?;
    sqlx::query(
        "with entry as (
           insert into \"Entries\" (site, seq, before) values ($1, $2, (select head from sites where id = $1)) returning nr)
         update sites set head = (select nr from entry) where id = $1",
    )
    .bind(site)
    .bind(seq)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "insert into permission_tuples (namespace, object_id, relation, subject_ns, subject_id)
         values ('entry', $1 || $2::text, 'author', 'user', 'anna')",
    )
    .bind(site)
    .bind(seq)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "insert into audit_events (id, actor_type, actor_id, action) values (gen_random_uuid(), 'user', 'anna', 'entry.added')",
    )
    .execute(&mut **tx)
    .await?;
    Ok(seq)
}

pub(crate) async fn add_one(db: &TestDatabase, tenant: &Tenant, site: &str) -> i64 {
    let session = db.session(tenant, Actor::system("test"));
    let site = site.to_owned();
    let added = db.tenants().run(&session, TxOptions::new(), move |tx| {
        let site = site.clone();
        Box::pin(async move { add(tx, &site).await })
    });
    added.await.unwrap().0
}

/// Site and number of each entry; that of every table there is one row an entry is looked at too.
pub(crate) async fn entries(db: &TestDatabase, tenant: &Tenant) -> BTreeSet<(String, i64)> {
    let mut tx = db.tenants().begin_read(&db.session(tenant, Actor::system("test"))).await.unwrap();
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as("select site, seq, text from \"Entries\"").fetch_all(&mut *tx).await.unwrap();
    assert!(rows.iter().all(|(site, seq, text)| *text == format!("{site}-{seq}")));
    let set: BTreeSet<_> = rows.iter().map(|(site, seq, _)| (site.clone(), *seq)).collect();
    assert_eq!(set.len(), rows.len());
    for table in ["permission_tuples", "audit_events where action = 'entry.added'"] {
        let count = format!("select count(*) from {table}");
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(count as usize, rows.len(), "{table}");
    }
    set
}

pub(crate) async fn now(db: &TestDatabase, tenant: &Tenant) -> Tenant {
    let fresh = db.connect(formwork_tenancy::Tenants::builder()).await;
    fresh.by_id(tenant.id()).await.unwrap().unwrap()
}

/// Writers that go on until they are told to stop, and answer how many of their entries were stored.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    stored: watch::Receiver<u64>,
    tasks: Vec<JoinHandle<i64>>,
}

impl Writers {
    pub(crate) fn start(db: &TestDatabase, tenant: &Tenant, leg: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stored) = watch::channel(0);
        let count = Arc::new(count);
        let levels =
            [IsolationLevel::ReadCommitted, IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead];
        let one = |(nr, level)| {
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            let (tenants, session) = (db.tenants().clone(), db.session(tenant, Actor::system("writer")));
            tokio::spawn(async move {
                let site = format!("leg{leg}-{nr}");
                let mut mine = 0;
                while !stop.load(Ordering::SeqCst) {
                    let options = TxOptions::new().isolation_level(level);
                    let site = site.clone();
                    let added = tenants.run(&session, options, move |tx| {
                        let site = site.clone();
                        Box::pin(async move { add(tx, &site).await })
                    });
                    let (seq, _) = added.await.unwrap();
                    mine += 1;
                    assert_eq!(seq, mine, "no write is lost and none is done twice");
                    count.send_modify(|count| *count += 1);
                }
                mine
            })
        };
        let tasks = levels.into_iter().enumerate().map(one).collect();
        Self { stop, stored, tasks }
    }

    /// Until so many more are stored.
    pub(crate) async fn stored(&mut self, more: u64) {
        let until = *self.stored.borrow() + more;
        self.stored.wait_for(|count| *count >= until).await.unwrap();
    }

    pub(crate) async fn stop(self) -> Vec<i64> {
        self.stop.store(true, Ordering::SeqCst);
        let mut counts = Vec::new();
        for task in self.tasks {
            counts.push(task.await.unwrap());
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_committed_write_is_there_after_a_move_in_each_direction() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let mut neighbours = Vec::new();
    for (slug, place) in [("near", HomePlace::shared()), ("far", HomePlace::shared_in("eu"))] {
        let neighbour = db.tenant_at(slug, place).await;
        add_one(&db, &neighbour, slug).await;
        neighbours.push(neighbour);
    }
    let legs = [
        HomePlace::schema(),
        HomePlace::database("eu"),
        HomePlace::shared_in("eu"),
        HomePlace::schema(),
        HomePlace::shared(),
        HomePlace::shared_in("eu"),
        HomePlace::shared(),
        HomePlace::database("eu"),
        HomePlace::shared(),
    ];
    let mut expected = BTreeSet::new();
    let short = if std::env::var_os("FORMWORK_LONG").is_some() { legs.len() } else { 5 };
    for (leg, place) in legs.into_iter().take(short).enumerate() {
        let before = now(&db, &tenant).await;
        let mut writers = Writers::start(&db, &before, leg);
        writers.stored(5).await;
        let report = db.control().move_tenant(tenant.id(), &place, |_| ()).await.unwrap();
        writers.stored(5).await;
        for (nr, count) in writers.stop().await.into_iter().enumerate() {
            expected.extend((1..=count).map(|seq| (format!("leg{leg}-{nr}"), seq)));
        }
        let after = now(&db, &tenant).await;
        assert_eq!((after.isolation(), after.database_name()), (place.isolation(), place.database_name()));
        assert_eq!(after.schema_name() != "shared", place.has_own_schema());
        assert_eq!((after.epoch(), after.version()), (before.epoch() + 1, before.version() + 1));
        assert_eq!(after.region(), if place.database_name() == "eu" { "eu" } else { "local" });
        assert_eq!(entries(&db, &after).await, expected, "{place}");
        for table in ["sites", "\"Entries\"", "permission_tuples", "audit_events"] {
            let moved = report.tables().iter().find(|moved| moved.table().ends_with(table));
            assert!(moved.is_some_and(|moved| moved.rows() > 0), "{table}: {report}");
        }
        db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
        assert_eq!(entries(&db, &after).await, expected, "after the old home is gone");
        for neighbour in &neighbours {
            assert_eq!(
                entries(&db, neighbour).await,
                [(neighbour.slug().to_owned(), 1)].into(),
                "a neighbour"
            );
        }
        let doctor = db.control().doctor(&DoctorConfig::new()).await.unwrap();
        assert!(doctor.is_healthy(), "{doctor}");
    }
    assert!(db.control().fleet().drift().await.unwrap().drifted().is_empty());
    assert!(db.control().fleet().plan().await.unwrap().is_up_to_date());
}

/// Reads go on through freeze and flip, and never go back in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_read_while_it_is_moved() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "first").await;
    let stop = Arc::new(AtomicBool::new(false));
    let (reads, seen) = std::sync::mpsc::channel();
    let reader = {
        let (tenants, session) = (db.tenants().clone(), db.session(&tenant, Actor::system("reader")));
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut last = 0;
            while !stop.load(Ordering::SeqCst) {
                let mut tx = tenants.begin_read(&session).await.unwrap();
                let count: i64 =
                    sqlx::query_scalar("select count(*) from \"Entries\"").fetch_one(&mut *tx).await.unwrap();
                tx.commit().await.unwrap();
                assert!(count >= 1 && count >= last, "{count} after {last}");
                last = count;
                reads.send(()).unwrap();
            }
        })
    };
    let mut writers = Writers::start(&db, &tenant, 0);
    writers.stored(5).await;
    // The move waits at each step from the freeze on, until one more read was begun, answered and committed; the first
    // was perhaps on its way before.
    let seen = std::sync::Mutex::new(seen);
    db.control()
        .move_tenant(tenant.id(), &HomePlace::database("eu"), |event| {
            if let MoveEvent::Reached { step } = event
                && step >= MoveStep::Frozen
            {
                let seen = seen.lock().unwrap();
                while seen.try_recv().is_ok() {}
                seen.recv().unwrap();
                seen.recv().unwrap();
            }
        })
        .await
        .unwrap();
    writers.stored(5).await;
    stop.store(true, Ordering::SeqCst);
    reader.await.unwrap();
    writers.stop().await;
}

/// Begun in the old home, written there, committed after the flip: refused by the database, whatever is cached.
#[tokio::test]
async fn a_write_that_began_in_the_old_home_cannot_be_committed() {
    let (db, mut nr) = (database().await, 0);
    for level in [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable]
    {
        for place in [HomePlace::schema(), HomePlace::shared_in("eu")] {
            nr += 1;
            let tenant = db.tenant_at(&format!("t{nr}"), HomePlace::shared()).await;
            add_one(&db, &tenant, "kept").await;
            let session = db.session(&tenant, Actor::system("test"));
            let options = TxOptions::new().isolation_level(level);
            let mut late = db.tenants().begin_with(&session, options).await.unwrap();
            add(&mut late, "late").await.unwrap();
            db.control().move_tenant(tenant.id(), &place, |_| ()).await.unwrap();
            match late.commit().await {
                Err(CommitError::RolledBack(error)) => {
                    assert!(error.is_retryable(), "{error:?}");
                    assert_eq!(error.is_moving(), level == IsolationLevel::ReadCommitted, "{error:?}");
                }
                other => panic!("{level:?}: {other:?}"),
            }
            assert_eq!(entries(&db, &now(&db, &tenant).await).await, [("kept".to_owned(), 1)].into());
        }
    }
}

/// Frozen, and nobody goes on with the move: reads work, writes are told, and `run` ends in the new home.
#[tokio::test]
async fn a_frozen_tenant_is_read_and_a_run_waits_for_the_end_of_its_move() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let place = HomePlace::database("eu");
    crate::move_failures::cut_off(db.control().clone(), &tenant, &place, MoveStep::Frozen).await;
    assert_eq!(entries(&db, &tenant).await.len(), 1);
    let session = db.session(&tenant, Actor::system("test"));
    let mut tx = db.tenants().begin(&session).await.unwrap();
    add(&mut tx, "site").await.unwrap();
    let Err(CommitError::RolledBack(error)) = tx.commit().await else { panic!("it was stored") };
    assert!(error.is_moving() && error.is_retryable() && !error.is_unavailable());
    // A transaction that has written nothing has nothing to ask.
    db.tenants().begin(&session).await.unwrap().commit().await.unwrap();

    let refused = Arc::new(tokio::sync::Notify::new());
    let waiting = {
        let (tenants, refused) = (db.tenants().clone(), Arc::clone(&refused));
        tokio::spawn(async move {
            let mut runs = 0;
            let done = tenants.run(&session, TxOptions::new(), |tx| {
                runs += 1;
                if runs == 2 {
                    refused.notify_one();
                }
                Box::pin(async move {
                    add(tx, "site").await?;
                    Ok::<_, StorageError>(tx.tenant().database_name().to_owned())
                })
            });
            done.await.unwrap()
        })
    };
    refused.notified().await;
    db.control().resume_move(tenant.id(), |_| ()).await.unwrap();
    let (database, token) = waiting.await.unwrap();
    assert_eq!((database.as_str(), token.epoch()), ("eu", 2));
    assert_eq!(entries(&db, &now(&db, &tenant).await).await.len(), 2);
}

/// What authz and the relay follow: the log of the same database does not tell of a removal that is none.
#[tokio::test]
async fn streams_stay_true() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    tx.publish(&[OutboxEvent::new("entry.added", serde_json::json!({}))]).await.unwrap();
    tx.commit().await.unwrap();
    for place in [HomePlace::schema(), HomePlace::shared(), HomePlace::database("eu")] {
        db.control().move_tenant(tenant.id(), &place, |_| ()).await.unwrap();
        db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    }
    let log = "select op, count(*) from platform.permission_changes group by op order by op";
    let mut main = connect(&db, "main", LocalRole::Relay).await;
    let changes: Vec<(String, i64)> = sqlx::query_as(log).fetch_all(&mut main).await.unwrap();
    assert_eq!(changes, [("touch".to_owned(), 1)], "once, whatever home it stood in, and never deleted");
    let pending: i64 =
        sqlx::query_scalar("select count(*) from platform.outbox").fetch_one(&mut main).await.unwrap();
    assert_eq!(pending, 1, "what is not delivered yet is delivered from where it was written");
    let mut eu = connect(&db, "eu", LocalRole::Relay).await;
    let changes: Vec<(String, i64)> = sqlx::query_as(log).fetch_all(&mut eu).await.unwrap();
    assert_eq!(changes, [("touch".to_owned(), 1)]);
    // A tuple that the tenant takes away itself is logged as before.
    let tenant = now(&db, &tenant).await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("delete from permission_tuples").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let changes: Vec<(String, i64)> = sqlx::query_as(log).fetch_all(&mut eu).await.unwrap();
    assert_eq!(changes, [("delete".to_owned(), 1), ("touch".to_owned(), 1)]);
}

/// Numbers that were given out in a home of the tenant's own are not given out again, whatever was deleted.
#[tokio::test]
async fn sequences_go_on_behind_what_was_given_out() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::schema()).await;
    for _ in 0..3 {
        add_one(&db, &tenant, "site").await;
    }
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    sqlx::query("update sites set head = null").execute(&mut *tx).await.unwrap();
    sqlx::query("delete from \"Entries\" where seq = 3").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    db.control().move_tenant(tenant.id(), &HomePlace::database("eu"), |_| ()).await.unwrap();
    let tenant = now(&db, &tenant).await;
    add_one(&db, &tenant, "site").await;
    let mut tx = db.tenants().begin(&db.session(&tenant, Actor::system("test"))).await.unwrap();
    let numbers: Vec<i64> =
        sqlx::query_scalar("select nr from \"Entries\" order by nr").fetch_all(&mut *tx).await.unwrap();
    assert_eq!(numbers, [1, 2, 4]);
}

#[tokio::test]
async fn what_cannot_be_moved_is_refused_before_anything_is_begun() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let control = db.control();
    let refusal = |error: MoveError| match error {
        MoveError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let nobody = formwork_tenancy::TenantId::generate();
    let error = refusal(control.move_tenant(nobody, &HomePlace::schema(), |_| ()).await.unwrap_err());
    assert!(matches!(error, MoveRefusal::UnknownTenant { .. }), "{error}");
    let error = refusal(control.move_tenant(tenant.id(), &HomePlace::shared(), |_| ()).await.unwrap_err());
    assert!(matches!(error, MoveRefusal::AlreadyThere), "{error}");
    let error =
        refusal(control.move_tenant(tenant.id(), &HomePlace::database("us"), |_| ()).await.unwrap_err());
    assert!(error.to_string().contains("`us`"), "{error}");
    for error in [
        control.resume_move(tenant.id(), |_| ()).await.unwrap_err(),
        control.abort_move(tenant.id()).await.unwrap_err(),
        control.finish_move(tenant.id(), Duration::ZERO).await.unwrap_err(),
    ] {
        assert!(matches!(refusal(error), MoveRefusal::NotOpen));
    }
    assert!(control.open_move(tenant.id()).await.unwrap().is_none());

    control.move_tenant(tenant.id(), &HomePlace::schema(), |_| ()).await.unwrap();
    let error = refusal(control.move_tenant(tenant.id(), &HomePlace::shared(), |_| ()).await.unwrap_err());
    assert!(matches!(error, MoveRefusal::Open { step: MoveStep::Released }), "{error}");
    assert!(matches!(refusal(control.abort_move(tenant.id()).await.unwrap_err()), MoveRefusal::PastFlip));
    let hour = Duration::from_secs(3600);
    let error = refusal(control.finish_move(tenant.id(), hour).await.unwrap_err());
    assert!(matches!(error, MoveRefusal::TooEarly { left } if left > hour / 2 && left <= hour), "{error}");
    control.finish_move(tenant.id(), Duration::ZERO).await.unwrap();

    let mut main = connect(&db, "main", LocalRole::Owner).await;
    sqlx::raw_sql("update platform.tenants set status = 'deleting'").execute(&mut main).await.unwrap();
    let error = refusal(control.move_tenant(tenant.id(), &HomePlace::shared(), |_| ()).await.unwrap_err());
    assert!(matches!(error, MoveRefusal::NotMovable { .. }), "{error}");
}

async fn is_denied(conn: &mut PgConnection, sql: &str, expected: &str) {
    let error = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *conn).await.unwrap_err();
    assert!(error.to_string().contains(expected), "{sql}: {error}");
    sqlx::raw_sql("rollback").execute(conn).await.unwrap();
}

/// The service login can neither move, nor thaw, nor remove a trail; and the owner only what a tenant has left.
#[tokio::test]
async fn the_service_login_can_do_none_of_it() {
    let db = database().await;
    let tenant = db.tenant_at("acme", HomePlace::shared()).await;
    let neighbour = db.tenant_at("near", HomePlace::shared()).await;
    add_one(&db, &tenant, "site").await;
    add_one(&db, &neighbour, "site").await;
    db.control().move_tenant(tenant.id(), &HomePlace::schema(), |_| ()).await.unwrap();
    let (id, other) = (tenant.id(), neighbour.id());
    let as_removal = |tenant| {
        format!("begin; set local app.current_tenant = '{tenant}'; set local app.removing_home = 'shared'")
    };
    let delete = format!("{}; delete from shared.audit_events", as_removal(id));
    let mut login = connect(&db, "main", LocalRole::App).await;
    for sql in [
        "begin; update platform.homes set state = 'live'",
        "begin; select from platform.homes",
        "begin; insert into platform.tenant_moves (id) values (gen_random_uuid())",
        "begin; select from platform.tenant_moves",
        "begin; update platform.tenants set schema_name = 'shared'",
        &delete,
    ] {
        is_denied(&mut login, sql, "permission denied").await;
    }
    // A login that was given DELETE by mistake meets the trigger, which does not believe the setting.
    let mut owner = connect(&db, "main", LocalRole::Owner).await;
    sqlx::raw_sql("grant delete on shared.audit_events to formwork_app").execute(&mut owner).await.unwrap();
    is_denied(&mut login, &delete, "append-only").await;
    let says: bool =
        sqlx::query_scalar("select platform.is_removing_home('shared')").fetch_one(&mut login).await.unwrap();
    assert!(!says);
    // Of a tenant that lives there, the owner cannot remove it either; nor update what a tenant has left.
    is_denied(&mut owner, &format!("{}; delete from shared.audit_events", as_removal(other)), "append-only")
        .await;
    is_denied(
        &mut owner,
        &format!("{}; update shared.audit_events set reason = ''", as_removal(id)),
        "append-only",
    )
    .await;
    is_denied(
        &mut owner,
        "begin; set local app.removing_home = 'shared'; delete from shared.audit_events",
        "append-only",
    )
    .await;
    // The log of the tuples is not to be got round by the setting.
    let mut tx = db.tenants().begin(&db.session(&neighbour, Actor::system("test"))).await.unwrap();
    sqlx::query("select set_config('app.removing_home', 'shared', true)").execute(&mut *tx).await.unwrap();
    sqlx::query("delete from permission_tuples").execute(&mut *tx).await.unwrap();
    let logged: i64 =
        sqlx::query_scalar("select count(*) from platform.permission_changes where op = 'delete'")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!(logged, 1);
    tx.rollback().await.unwrap();
    db.control().finish_move(tenant.id(), Duration::ZERO).await.unwrap();
    assert_eq!(entries(&db, &neighbour).await.len(), 1);
}
