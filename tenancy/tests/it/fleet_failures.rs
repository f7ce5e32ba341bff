//! What a run does when something is in its way: a poisoned home, a lock, a kill, another run.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use formwork_migrations::{Migration, Set, TENANCY};
use formwork_tenancy::{
    ControlError, ControlPlane,
    fleet::{Busy, Canary, FleetEvent, FleetOptions, Wave},
    local_postgres::LocalRole,
    testing::{TestDatabase, cluster},
};

use crate::fleet::{BASE, COLUMN, NEW, execute, fleet, owner, quick, schema_of, set, size, states, version};

/// Names the database to [`another_process`], which is an ordinary test without it.
const HELPER: &str = "FORMWORK_FLEET_HELPER";

async fn poison(db: &TestDatabase, slugs: &[&str]) {
    let mut conn = owner(db).await;
    for slug in slugs {
        let schema = schema_of(db, slug).await;
        execute(&mut conn, format!("create table {schema}.labels (n int)")).await;
    }
}

#[tokio::test]
async fn a_poisoned_tenant_fails_alone_with_its_reason_and_is_put_right_by_the_next_run() {
    let db = fleet(20).await;
    poison(&db, &["t5", "t11"]).await;
    let control = version(&db, NEW).await;
    let report = control.fleet().run(&quick(), |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.stopped(), report.not_tried()), (19, None, 0), "{report}");
    let mut failed: Vec<_> = report.failures().iter().map(ToString::to_string).collect();
    failed.sort();
    let expected = format!(
        "tenant `t5` ({}): test/small/0003_labels: relation \"labels\" already exists (42P07)",
        schema_of(&db, "t5").await
    );
    assert_eq!((failed.len(), &failed[1]), (2, &expected));
    // The column of the step before went with it; what is left of the poison is the table itself.
    assert_eq!(states(&db).await, (2, 19, 0));
    assert_eq!(recorded(&db).await, 2);

    let mut conn = owner(&db).await;
    for slug in ["t5", "t11"] {
        let schema = schema_of(&db, slug).await;
        execute(&mut conn, format!("drop table {schema}.labels")).await;
    }
    let report = control.fleet().run(&quick(), |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.failures().len()), (2, 0));
    assert_eq!((states(&db).await, recorded(&db).await), ((0, 21, 0), 0));
}

async fn recorded(db: &TestDatabase) -> i64 {
    sqlx::query_scalar(
        "select count(*) from platform.migration_failures where reason like '%already exists%'",
    )
    .fetch_one(&mut owner(db).await)
    .await
    .unwrap()
}

#[tokio::test]
async fn the_stop_rule_stops_and_a_canary_stops_at_once() {
    let db = fleet(20).await;
    poison(&db, &["t3", "t4", "t5"]).await;
    let control = version(&db, NEW).await;
    let canary = quick().canary(Canary::Tenants(vec!["t4".to_owned()]));
    let report = control.fleet().run(&canary, |_| ()).await.unwrap();
    assert_eq!((report.stopped(), report.migrated(), report.not_tried()), (Some(Wave::Canary), 1, 19));

    let report = control.fleet().run(&quick().connections(1).stop_after(2), |_| ()).await.unwrap();
    assert_eq!(report.stopped(), Some(Wave::Fleet(1)));
    // The canary and two more before the first failure; one at a time, nothing after the second.
    assert_eq!((report.migrated(), report.failures().len(), report.not_tried()), (3, 2, 15), "{report}");
    assert_eq!(states(&db).await, (17, 4, 0));

    let error = control.migrate().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("migration `test/small/0003_labels` failed in `{}`", schema_of(&db, "t3").await)
    );
    let unknown = quick().canary(Canary::Tenants(vec!["nobody".to_owned()]));
    let error = control.fleet().run(&unknown, |_| ()).await.unwrap_err();
    assert_eq!(error.to_string(), "tenant `nobody` has no schema of its own, so it cannot be the canary");
}

#[tokio::test]
async fn a_lock_on_one_tenants_table_is_waited_for_in_turns_and_holds_nobody_else() {
    let db = fleet(6).await;
    let control = version(&db, NEW).await;
    let schema = schema_of(&db, "t2").await;
    let mut holder = owner(&db).await;
    let lock = format!("begin; lock table {schema}.tasks in access share mode");
    execute(&mut holder, lock.clone()).await;

    let twice = quick().attempts(2);
    let report = control.fleet().run(&twice, |_| ()).await.unwrap();
    assert_eq!((report.migrated(), report.failures().len()), (6, 1), "{report}");
    let line = report.failures()[0].to_string();
    assert!(line.ends_with("canceling statement due to lock timeout (55P03) (tried 2 times)"), "{line}");

    let (retried, third_retry) = tokio::sync::oneshot::channel();
    let (retried, count) = (Mutex::new(Some(retried)), AtomicUsize::new(0));
    let release = async {
        third_retry.await.unwrap();
        execute(&mut holder, "rollback".to_owned()).await;
    };
    let (options, fleet) = (quick(), control.fleet());
    let run = fleet.run(&options, |event| {
        if matches!(event, FleetEvent::Retry { .. }) && count.fetch_add(1, Ordering::Relaxed) == 2 {
            retried.lock().unwrap().take().unwrap().send(()).unwrap();
        }
    });
    let (report, ()) = tokio::join!(run, release);
    assert_eq!((report.unwrap().migrated(), states(&db).await), (1, (0, 7, 0)));
}

#[tokio::test]
async fn two_runs_at_once_do_each_step_once() {
    let db = fleet(20).await;
    let (one, two) = (version(&db, NEW).await, version(&db, NEW).await);
    let (options, waited) = (quick(), AtomicUsize::new(0));
    let progress = |event: FleetEvent<'_>| {
        if matches!(event, FleetEvent::Waiting) {
            waited.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (first, second) = (one.fleet(), two.fleet());
    let (first, second) = tokio::join!(first.run(&options, progress), second.run(&options, progress));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.steps() + second.steps(), 42, "{first}; {second}");
    assert_eq!((states(&db).await, waited.into_inner()), ((0, 21, 0), 1));
}

#[tokio::test]
async fn a_run_that_may_not_wait_says_so() {
    let db = fleet(1).await;
    let control = version(&db, NEW).await;
    let mut other = owner(&db).await;
    execute(&mut other, "select pg_advisory_lock(hashtext('formwork.migrate'))".to_owned()).await;
    let error = control.fleet().run(&quick().busy(Busy::Refuse), |_| ()).await.unwrap_err();
    assert!(matches!(error, ControlError::Busy), "{error}");
    assert_eq!(states(&db).await, (2, 0, 0));
}

/// As the rest of a killed process does: the server finishes what it was sent.
#[tokio::test]
async fn steps_that_somebody_else_is_doing_are_waited_for_and_not_done_again() {
    let db = fleet(3).await;
    let control = version(&db, NEW).await;
    let schema = schema_of(&db, "t1").await;
    let mut other = owner(&db).await;
    let ledger: Vec<(i32, String, Vec<u8>)> = {
        // Both steps, as they will stand in the ledger.
        let elsewhere = fleet(1).await;
        version(&elsewhere, NEW).await.migrate().await.unwrap();
        sqlx::query_as("select version, name, checksum from platform.migration_ledger where home = 'shared' and set_name = 'test/small' and version > 1")
            .fetch_all(&mut owner(&elsewhere).await)
            .await
            .unwrap()
    };
    execute(&mut other, format!("begin; set local search_path = {schema}")).await;
    for (version, name, checksum) in ledger {
        sqlx::query("insert into platform.migration_ledger (home, set_name, version, name, checksum) values ($1, 'test/small', $2, $3, $4)")
            .bind(&schema).bind(version).bind(name).bind(checksum).execute(&mut other).await.unwrap();
    }
    for step in &NEW.home[1..] {
        execute(&mut other, step.sql.to_owned()).await;
    }
    let (retried, first_retry) = tokio::sync::oneshot::channel();
    let retried = Mutex::new(Some(retried));
    let commit = async {
        first_retry.await.unwrap();
        execute(&mut other, "commit".to_owned()).await;
    };
    let (options, fleet) = (quick(), control.fleet());
    let run = fleet.run(&options, |event| {
        if matches!(event, FleetEvent::Retry { .. })
            && let Some(retried) = retried.lock().unwrap().take()
        {
            retried.send(()).unwrap();
        }
    });
    let (report, ()) = tokio::join!(run, commit);
    let report = report.unwrap();
    assert_eq!((report.failures().len(), report.steps(), states(&db).await), (0, 6, (0, 4, 0)), "{report}");
}

#[tokio::test]
async fn a_changed_step_is_refused_before_anything_is_run() {
    const CHANGED: Set = set(&[Migration { version: 1, name: "small", sql: "select 'other'" }, COLUMN]);
    let db = fleet(2).await;
    let control = version(&db, CHANGED).await;
    for error in [
        control.fleet().plan().await.unwrap_err(),
        control.fleet().run(&quick(), |_| ()).await.unwrap_err(),
        control.migrate().await.unwrap_err(),
    ] {
        let text = "migration `test/small/0001_small` of `shared` was changed after it was applied: \
                    restore its text and add a new one";
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(states(&db).await, (3, 0, 0));
}

#[tokio::test]
async fn a_step_that_cannot_be_part_of_a_transaction_is_refused_before_anything_is_run() {
    const CONCURRENT: Set = set(&[
        BASE,
        COLUMN,
        Migration { version: 3, name: "index", sql: "-- fast\ncreate index concurrently i on tasks (id)" },
    ]);
    let db = fleet(1).await;
    let error = version(&db, CONCURRENT).await.fleet().run(&quick(), |_| ()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "migration `test/small/0003_index` cannot be run, line 2: `create index concurrently`: \
         it cannot run inside a transaction, and a home's steps are one: do it apart"
    );
    assert_eq!(states(&db).await, (2, 0, 0));
}

#[tokio::test]
async fn a_syntax_error_names_its_step_and_line() {
    const TYPO: Set = set(&[
        BASE,
        COLUMN,
        Migration { version: 3, name: "typo", sql: "select 'ä';\n\nalter table tasks add column x int y" },
        Migration { version: 4, name: "after", sql: "select 1" },
    ]);
    let db = fleet(1).await;
    let report = version(&db, TYPO).await.fleet().run(&quick(), |_| ()).await.unwrap();
    let line = report.failures()[0].to_string();
    assert_eq!(line, "`shared`: test/small/0003_typo line 3: syntax error at or near \"y\" (42601)");
    assert_eq!(report.stopped(), Some(Wave::Shared));
}

/// Runs a fleet until it is killed; says which homes are done.
#[test]
fn another_process() {
    let Some(url) = std::env::var_os(HELPER) else { return };
    let url = url.into_string().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let control = ControlPlane::connect(&url, &[TENANCY, NEW]).await.unwrap();
        let options = FleetOptions::new().wave(10);
        let progress = |event: FleetEvent<'_>| {
            if let FleetEvent::Done { home, .. } = event {
                println!("\ndone {}", home.schema());
                std::io::stdout().flush().unwrap();
            }
        };
        control.fleet().run(&options, progress).await.unwrap();
    });
}

/// The server does not hear at once that a process is gone: what it had begun to commit may be committed yet.
async fn statements_end(db: &TestDatabase) {
    const ANY: &str = "select exists (select from pg_stat_activity where datname = current_database()
        and backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid())";
    let mut conn = owner(db).await;
    while sqlx::query_scalar::<_, bool>(ANY).fetch_one(&mut conn).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_a_run_is_resumed_by_running_again() {
    let long = size("fleet: homes, run killed and resumed", 100);
    let count = long.count();
    let db = fleet(count).await;
    let url = cluster().await.url_of(LocalRole::Owner, db.name());
    let (total, mut done_before) = (count as i64 + 1, 0);
    for kill_after in [count / 10, count / 4, count / 3] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "fleet_failures::another_process", "--nocapture"]).env(HELPER, &url);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let seen = lines.filter(|line| line.starts_with("done ")).take(kill_after).count();
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, kill_after, "the helper ended by itself");
        statements_end(&db).await;
        let (untouched, complete, broken) = states(&db).await;
        assert_eq!((broken, untouched + complete), (0, total), "a home is untouched or complete");
        assert!(
            complete >= done_before + kill_after as i64 && untouched > 0,
            "{untouched} untouched, {complete} complete"
        );
        done_before = complete;
    }
    let control = version(&db, NEW).await;
    let report = control.fleet().run(&FleetOptions::new(), |_| ()).await.unwrap();
    assert_eq!(report.failures().len(), 0, "{report}");
    assert_eq!(states(&db).await, (0, total, 0));
    let once: bool = sqlx::query_scalar(
        "select bool_and(n = 3) from (select count(*) n from platform.migration_ledger
          where set_name = 'test/small' group by home) l",
    )
    .fetch_one(&mut owner(&db).await)
    .await
    .unwrap();
    assert!(once, "every step stands in the ledger once for each home");
    eprintln!("fleet: killed three times, {} of {total} homes left for the last run", report.migrated());
}

/// The server goes away under a run and comes back.
#[tokio::test]
async fn lost_connections_are_replaced() {
    let db = fleet(10).await;
    let control = version(&db, NEW).await;
    let mut superuser =
        <sqlx::PgConnection as sqlx::Connection>::connect_with(&db.options(LocalRole::Superuser).await)
            .await
            .unwrap();
    let schema = schema_of(&db, "t9").await;
    let mut holder = owner(&db).await;
    execute(&mut holder, format!("begin; lock table {schema}.tasks in access share mode")).await;
    let (retried, first_retry) = tokio::sync::oneshot::channel();
    let retried = Mutex::new(Some(retried));
    let cut = async {
        first_retry.await.unwrap();
        // The workers', not the one that holds the lock of the run.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity a where datname = current_database()
              and application_name = 'formwork-control'
              and not exists (select from pg_locks l where l.pid = a.pid and locktype = 'advisory')",
        )
        .execute(&mut superuser)
        .await
        .unwrap();
        execute(&mut holder, "rollback".to_owned()).await;
    };
    let options = quick().lock_timeout(Duration::from_millis(200));
    let fleet = control.fleet();
    let run = fleet.run(&options, |event| {
        if matches!(event, FleetEvent::Retry { .. })
            && let Some(retried) = retried.lock().unwrap().take()
        {
            retried.send(()).unwrap();
        }
    });
    let (report, ()) = tokio::join!(run, cut);
    assert_eq!((report.unwrap().failures().len(), states(&db).await), (0, (0, 11, 0)));
}
