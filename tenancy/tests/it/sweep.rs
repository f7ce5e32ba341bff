//! Work over many tenants: those that have some are visited, and now and then all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use formwork_tenancy::{
    Actor, Isolation, Status, Sweep, SweepError, Tenant, TenantId, TenantTx, local_postgres::LocalRole,
    testing::TestDatabase,
};
use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection};

use crate::{
    isolation::{database, notes, write_note},
    snapshot_cursor::{Dice, begin, rounds},
};

const SOON: Duration = Duration::from_secs(60);

/// Who was visited, how often.
#[derive(Clone, Default)]
struct Visits(Arc<Mutex<BTreeMap<TenantId, u32>>>);

impl Visits {
    fn count(&self, tx: &TenantTx) {
        *self.0.lock().unwrap().entry(tx.tenant_id()).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<TenantId, u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn work(&self) -> impl for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>> + use<> {
        let visits = self.clone();
        visit(move |tx| {
            visits.count(tx);
            Box::pin(async { Ok(()) })
        })
    }
}

/// Tells the compiler what a closure is to be.
fn visit<F>(work: F) -> F
where
    F: for<'a> Fn(&'a mut TenantTx) -> BoxFuture<'a, Result<(), SweepError>>,
{
    work
}

fn once<'a>(tenants: impl IntoIterator<Item = &'a TenantId>) -> BTreeMap<TenantId, u32> {
    tenants.into_iter().map(|tenant| (*tenant, 1)).collect()
}

async fn owner(db: &TestDatabase) -> PgConnection {
    PgConnection::connect_with(&db.options(LocalRole::Owner).await).await.unwrap()
}

async fn hint(db: &TestDatabase, tenant: &Tenant, kind: &str) {
    let mut tx = begin(db, tenant).await;
    tx.hint(kind).await.unwrap();
    tx.commit().await.unwrap();
}

async fn hints_of(db: &TestDatabase, tenant: &Tenant) -> i64 {
    let mut tx = begin(db, tenant).await;
    sqlx::query_scalar("select count(*) from platform.sweep_hints").fetch_one(&mut *tx).await.unwrap()
}

async fn sweep(db: &TestDatabase, kind: &str) -> Sweep {
    db.tenants().sweep(kind, &db.relay().await)
}

#[tokio::test]
async fn of_a_thousand_tenants_the_three_with_work_are_visited() {
    let db = database().await;
    let mut owner = owner(&db).await;
    let ids: Vec<TenantId> = sqlx::query_scalar::<_, uuid::Uuid>(
        "with made as (
           insert into platform.tenants (id, slug, name, status, isolation, schema_name)
           select gen_random_uuid(), 't' || n, 't', 'active', 'shared', 'shared' from generate_series(1, 1000) n
           returning id)
         insert into platform.homes (tenant_id, epoch, schema_name) select id, 1, 'shared' from made
         returning tenant_id",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap()
    .into_iter()
    .map(TenantId::from)
    .collect();
    // Left open all the while.
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut owner).await.unwrap();
    let (mut sweep, visits) = (sweep(&db, "expiry").await, Visits::default());
    let chosen = [ids[7], ids[500], ids[999]];
    for id in chosen {
        let tenant = db.tenants().by_id(id).await.unwrap().unwrap();
        for kind in ["expiry", "expiry", "expiry", "another"] {
            hint(&db, &tenant, kind).await;
        }
    }
    let round = sweep.round(visits.work()).await.unwrap();
    assert_eq!(visits.take(), once(&chosen), "many hints of a tenant are one visit");
    assert_eq!((round.visited(), round.failed().len(), round.skipped()), (3, 0, 0));
    assert_eq!(round.to_string(), "round of expiry: 3 visited, 0 failed, 0 skipped");
    assert!(sweep.round(visits.work()).await.unwrap().is_empty(), "what was done is done");
    assert_eq!(visits.take(), once(&[]));

    // A hint that was lost: only the full round finds the work.
    let lost = db.tenants().by_id(ids[42]).await.unwrap().unwrap();
    write_note(&db, &lost, "work").await;
    hint(&db, &lost, "expiry").await;
    let mut tx = begin(&db, &lost).await;
    sqlx::query("delete from platform.sweep_hints").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let work = visit(|tx| {
        Box::pin(async move {
            sqlx::query("delete from notes").execute(&mut **tx).await?;
            Ok(())
        })
    });
    assert!(sweep.round(work).await.unwrap().is_empty());
    assert_eq!(notes(&db, &lost).await, ["work"]);
    let round = sweep.full_round(work).await.unwrap().unwrap();
    assert_eq!((round.visited(), round.is_full()), (1_000, true));
    assert_eq!(notes(&db, &lost).await, [""; 0]);
}

#[tokio::test]
async fn a_visit_is_held_by_row_security_and_takes_its_hints_with_it() {
    let db = database().await;
    let tenants = [db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await];
    for tenant in &tenants {
        for body in ["one", "two"] {
            write_note(&db, tenant, body).await;
        }
    }
    hint(&db, &tenants[1], "archive").await;
    let mut sweep = sweep(&db, "archive").await;
    let round = sweep
        .round(|tx| {
            Box::pin(async move {
                assert_eq!(*tx.session().actor(), Actor::system("archive"));
                sqlx::query("update notes set body = 'archived'").execute(&mut **tx).await?;
                // Its own hint, for what it leaves to a later visit, outlives it.
                tx.hint("archive").await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    assert_eq!(round.visited(), 1);
    assert_eq!(notes(&db, &tenants[0]).await, ["one", "two"]);
    assert_eq!(notes(&db, &tenants[1]).await, ["archived", "archived"]);
    assert_eq!(hints_of(&db, &tenants[1]).await, 1);
}

#[tokio::test]
async fn a_hint_that_commits_during_the_round_is_found_by_the_next() {
    let db = Arc::new(database().await);
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let (mut sweep, visits) = (sweep(&db, "expiry").await, Visits::default());
    let mut late = begin(&db, &b).await;
    late.hint("expiry").await.unwrap();
    let mut undone = begin(&db, &a).await;
    undone.hint("expiry").await.unwrap();
    undone.rollback().await.unwrap();
    hint(&db, &a, "expiry").await;
    let late = Arc::new(tokio::sync::Mutex::new(Some(late)));
    let (counted, within) = (visits.clone(), (Arc::clone(&db), a.clone()));
    let work = visit(move |tx| {
        counted.count(tx);
        let (late, (db, a)) = (Arc::clone(&late), within.clone());
        Box::pin(async move {
            // The other tenant's, and one more of this one, while the visit is under way.
            late.lock().await.take().unwrap().commit().await?;
            hint(&db, &a, "expiry").await;
            Ok(())
        })
    });
    sweep.round(work).await.unwrap();
    assert_eq!(visits.take(), once(&[a.id()]));
    sweep.round(visits.work()).await.unwrap();
    assert_eq!(visits.take(), once(&[a.id(), b.id()]));
    sweep.round(visits.work()).await.unwrap();
    assert_eq!(visits.take(), once(&[]));
}

#[tokio::test]
async fn a_failing_tenant_stops_nobody_and_is_visited_again() {
    let db = database().await;
    let mut tenants = Vec::new();
    for slug in ["good", "fails", "panics", "better"] {
        let tenant = db.tenant(slug, Isolation::Shared).await;
        write_note(&db, &tenant, "work").await;
        hint(&db, &tenant, "expiry").await;
        tenants.push(tenant);
    }
    let mut sweep = sweep(&db, "expiry").await;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let work = visit(move |tx| {
        let broken = is_broken.load(Ordering::Relaxed);
        Box::pin(async move {
            sqlx::query("delete from notes").execute(&mut **tx).await?;
            let slug = tx.tenant().slug().to_owned();
            match slug.as_str() {
                "fails" if broken => {
                    Err(sqlx::query("select 1 / 0").execute(&mut **tx).await.unwrap_err().into())
                }
                "panics" if broken => panic!("seeded"),
                _ => Ok(()),
            }
        })
    });
    let round = sweep.round(&work).await.unwrap();
    assert_eq!((round.visited(), round.failed().len()), (2, 2));
    assert!(round.failed()[&tenants[1].id()].to_string().contains("division by zero"));
    assert_eq!(round.failed()[&tenants[2].id()].to_string(), "the work panicked");
    for (tenant, left) in tenants.iter().zip([0, 1, 1, 0]) {
        assert_eq!((notes(&db, tenant).await.len(), hints_of(&db, tenant).await), (left, left as i64));
    }
    let at_once = sweep.round(&work).await.unwrap();
    assert_eq!((at_once.visited(), at_once.failed().len(), at_once.skipped()), (0, 0, 2), "a pause first");
    broken.store(false, Ordering::Relaxed);
    tokio::time::timeout(SOON, async {
        let stop = tokio::sync::Notify::new();
        tokio::select! {
            ended = sweep.run(&work, |round| if round.is_full() { stop.notify_one() }) => {
                panic!("a sweep does not end: {ended:?}")
            }
            () = stop.notified() => {}
        }
        while hints_of(&db, &tenants[1]).await + hints_of(&db, &tenants[2]).await > 0 {
            sweep.round(&work).await.unwrap();
        }
    })
    .await
    .unwrap();
    for tenant in &tenants {
        assert_eq!((notes(&db, tenant).await.len(), hints_of(&db, tenant).await), (0, 0));
    }
}

#[tokio::test]
async fn a_tenant_that_is_not_in_service_waits() {
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    hint(&db, &b, "expiry").await;
    let mut owner = owner(&db).await;
    let set = async |owner: &mut PgConnection, status: Status| {
        sqlx::query("update platform.tenants set status = $1 where slug = 'b'")
            .bind(status.as_str())
            .execute(owner)
            .await
            .unwrap();
    };
    set(&mut owner, Status::Suspended).await;
    let visits = Visits::default();
    // A handle of its own: what another one knows of the tenant may be a second old.
    let fresh = async || {
        let tenants = db.connect(formwork_tenancy::Tenants::builder()).await;
        tenants.sweep("expiry", &db.relay().await)
    };
    let mut sweep = fresh().await;
    let round = sweep.round(visits.work()).await.unwrap();
    assert_eq!((round.visited(), round.skipped(), round.is_empty()), (0, 1, true));
    sweep.full_round(visits.work()).await.unwrap().unwrap();
    assert_eq!(visits.take(), once(&[a.id()]));
    set(&mut owner, Status::Active).await;
    fresh().await.round(visits.work()).await.unwrap();
    assert_eq!(visits.take(), once(&[b.id()]), "its hint was kept");
}

#[tokio::test]
async fn a_hint_for_later_is_followed_later() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    let mut tx = begin(&db, &a).await;
    let now = chrono::Utc::now();
    tx.hint_at("expiry", now + chrono::Duration::days(1)).await.unwrap();
    tx.commit().await.unwrap();
    let (mut sweep, visits) = (sweep(&db, "expiry").await, Visits::default());
    sweep.round(visits.work()).await.unwrap();
    assert_eq!(visits.take(), once(&[]));
    let mut tx = begin(&db, &a).await;
    tx.hint_at("expiry", now - chrono::Duration::days(1)).await.unwrap();
    tx.commit().await.unwrap();
    sweep.round(visits.work()).await.unwrap();
    assert_eq!(
        (visits.take(), hints_of(&db, &a).await),
        (once(&[a.id()]), 1),
        "only what is due is taken away"
    );
}

#[tokio::test]
async fn two_processes_do_not_do_the_same_work_at_once() {
    let db = database().await;
    let a = db.tenant("a", Isolation::Shared).await;
    hint(&db, &a, "expiry").await;
    let (mut one, two) = (sweep(&db, "expiry").await, sweep(&db, "expiry").await);
    let other_kind = sweep(&db, "sealing").await;
    hint(&db, &a, "sealing").await;
    let visits = Visits::default();
    let within = Arc::new(tokio::sync::Mutex::new(Some((two, other_kind))));
    let counted = visits.clone();
    let work = visit(move |tx| {
        counted.count(tx);
        let (within, visits) = (Arc::clone(&within), counted.clone());
        Box::pin(async move {
            let (mut two, mut other_kind) = within.lock().await.take().unwrap();
            let round = two.round(visits.work()).await?;
            assert_eq!((round.visited(), round.skipped()), (0, 1), "somebody is with it");
            assert!(two.full_round(visits.work()).await?.is_none(), "somebody is at it");
            assert_eq!(other_kind.round(|_| Box::pin(async { Ok(()) })).await?.visited(), 1);
            Ok(())
        })
    });
    let full = one.full_round(work).await.unwrap().unwrap();
    assert!(full.failed().is_empty(), "{:?}", full.failed());
    assert_eq!(visits.take(), once(&[a.id()]));
}

#[tokio::test]
async fn an_interrupted_full_round_goes_on_where_it_was() {
    let db = database().await;
    let mut conn = owner(&db).await;
    sqlx::raw_sql(
        "insert into platform.tenants (id, slug, name, status, isolation, schema_name)
         select gen_random_uuid(), 't' || n, 't', 'active', 'shared', 'shared' from generate_series(1, 450) n;
         insert into platform.homes (tenant_id, epoch, schema_name) select id, 1, schema_name from platform.tenants",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let visits = Visits::default();
    let mut one = sweep(&db, "expiry").await.at_once(8);
    {
        let mut round = Box::pin(one.full_round(visits.work()));
        while visits.0.lock().unwrap().len() < 300 {
            assert!(futures::poll!(&mut round).is_pending());
            tokio::task::yield_now().await;
        }
    }
    // Given up in its second page of 200: the first is not visited again.
    let before = visits.take();
    let mut two = sweep(&db, "expiry").await;
    let round = loop {
        // The server may not have noticed yet that the first one's connection is gone.
        if let Some(round) = two.full_round(visits.work()).await.unwrap() {
            break round;
        }
    };
    assert_eq!(round.visited(), 250);
    let after = visits.take();
    let all: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    assert_eq!(all.len(), 450);
    let due: bool = sqlx::query_scalar("select ended_at is null from platform.sweep_rounds")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert!(!due, "it has ended, and the next one comes when its time has come");
    let mut rounds = 0;
    let mut three = sweep(&db, "expiry").await.every(Duration::from_secs(3_600));
    let visited = db.tenants().by_slug("t1").await.unwrap().unwrap();
    hint(&db, &visited, "expiry").await;
    tokio::time::timeout(SOON, async {
        let stop = tokio::sync::Notify::new();
        tokio::select! {
            ended = three.run(visits.work(), |round| { assert!(!round.is_full()); rounds += 1; stop.notify_one() }) => panic!("{ended:?}"),
            () = stop.notified() => {}
        }
    })
    .await
    .unwrap();
    assert_eq!((rounds, visits.take()), (1, once(&[visited.id()])));
}

/// Given up at random: whatever was done is done once, with its hint, or is still to be done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_is_given_up_anywhere_loses_and_doubles_nothing() {
    let db = database().await;
    let mut tenants = Vec::new();
    for slug in ["a", "b", "c", "d"] {
        tenants.push(db.tenant(slug, Isolation::Shared).await);
    }
    let mut dice = Dice::new(5);
    let mut expected = BTreeMap::new();
    let work = visit(|tx| {
        Box::pin(async move {
            let shout = "update notes set body = body || '!' where body not like '%!'";
            sqlx::query(shout).execute(&mut **tx).await?;
            Ok(())
        })
    });
    for round in 0..rounds(40, 1_000) {
        let tenant = &tenants[dice.below(4) as usize];
        let mut tx = begin(&db, tenant).await;
        let body = format!("{round:04}");
        sqlx::query("insert into notes (body) values ($1)").bind(&body).execute(&mut *tx).await.unwrap();
        tx.hint("shout").await.unwrap();
        tx.commit().await.unwrap();
        expected.entry(tenant.slug().to_owned()).or_insert_with(Vec::new).push(format!("{body}!"));
        let mut sweep = sweep(&db, "shout").await;
        let patience = Duration::from_micros(dice.below(8_000));
        let _ = tokio::time::timeout(patience, sweep.run(work, |_| ())).await;
    }
    tokio::time::timeout(SOON, async {
        for tenant in &tenants {
            while hints_of(&db, tenant).await > 0 {
                sweep(&db, "shout").await.round(work).await.unwrap();
            }
        }
    })
    .await
    .unwrap();
    for tenant in &tenants {
        assert_eq!(Some(&notes(&db, tenant).await), expected.get(tenant.slug()));
    }
}
