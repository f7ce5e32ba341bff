//! What does it cost that relationships are rows: to write, to load, to follow, and to ask Postgres itself?
//!
//! 1,000,000 relationships of one tenant (`STORE_TUPLES` says otherwise), the organisation of the bench `check`, under row
//! security. Peers on the same work in the same run: `select 1` for a check with `full` consistency, and one indexed
//! query for a check through SQL. Every answer is looked at before its time is told.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::time::{Duration, Instant};

use formwork_authz::{Authz, Budget, Consistency, Decision, Object, Relationship, Schema, Subject, View};
use formwork_benches::workload::{KINDS, SCHEMA, Workload};
use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::{
    Actor, Isolation, Relay, Session, TenantTx, Tenants, local_postgres::LocalRole, testing::TestDatabase,
};
use sqlx::{Connection, PgConnection};

const ROUNDS: usize = 201;

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let tuples = std::env::var("STORE_TUPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let site = Site::new(tuples).await;
        site.load().await;
        site.full().await;
        site.through_sql().await;
        site.follow().await;
        site.propagation().await;
        site.writes().await;
    });
}

fn authz() -> Authz {
    Authz::new(Schema::parse(SCHEMA).unwrap())
}

struct Site {
    db: TestDatabase,
    session: Session,
    workload: Workload,
}

/// The median and the 99th percentile, in microseconds.
fn tell(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let (median, last) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("{what:<60} {:>10.1} us, p99 {:>10.1} us", micros(median), micros(last));
    median
}

fn against(what: &str, ours: Duration, theirs: Duration) {
    println!("{what:<60} {:>10.2} times", ours.as_secs_f64() / theirs.as_secs_f64());
}

impl Site {
    async fn new(tuples: usize) -> Self {
        let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
        let tenant = db.tenant("measured", Isolation::Shared).await;
        let session = db.session(&tenant, Actor::system("bench"));
        let site = Self { db, session, workload: Workload::of(tuples) };
        site.import().await;
        let mut root =
            PgConnection::connect_with(&site.db.options(LocalRole::Superuser).await).await.unwrap();
        sqlx::raw_sql("vacuum analyze shared.permission_tuples").execute(&mut root).await.unwrap();
        let (rows, heap, indexes): (i64, i64, i64) = sqlx::query_as(
            "select count(*), pg_relation_size('shared.permission_tuples'), pg_indexes_size('shared.permission_tuples')
               from shared.permission_tuples",
        )
        .fetch_one(&mut root)
        .await
        .unwrap();
        println!(
            "{rows} relationships, {} bytes each, {} of them in indexes",
            (heap + indexes) / rows,
            indexes / rows
        );
        root.close().await.unwrap();
        site
    }

    async fn begin(&self) -> TenantTx {
        self.db.tenants().begin(&self.session).await.unwrap()
    }

    async fn import(&self) {
        let authz = authz();
        let begun = Instant::now();
        let mut tx = self.begin().await;
        let mut import = authz.import();
        for relationship in self.workload.relationships() {
            import.push(&mut tx, relationship).await.unwrap();
        }
        let count = import.finish(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        println!(
            "import: {count} relationships, {:.0} a second",
            count as f64 / begun.elapsed().as_secs_f64()
        );
    }

    /// A node that has nothing.
    async fn load(&self) {
        for _ in 0..3 {
            let authz = authz();
            let begun = Instant::now();
            let graph = authz.graph(&mut self.begin().await).await.unwrap();
            let took = begun.elapsed();
            println!(
                "load: {} relationships in {:.2} s, {:.1} bytes each with their ids",
                graph.len(),
                took.as_secs_f64(),
                graph.memory_bytes() as f64 / graph.len() as f64
            );
        }
    }

    /// A check that must see all that was committed, beside the shortest statement there is.
    async fn full(&self) {
        let authz = authz();
        authz.graph(&mut self.begin().await).await.unwrap();
        let question = self.workload.question(KINDS[0], 1);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let mut tx = self.begin().await;
            let begun = Instant::now();
            let one: i32 = sqlx::query_scalar("select 1").fetch_one(&mut *tx).await.unwrap();
            theirs.push(begun.elapsed());
            let begun = Instant::now();
            let answer =
                authz.check(&mut tx, &question.subject, question.permission, &question.object).await.unwrap();
            ours.push(begun.elapsed());
            assert_eq!((one, answer), (1, question.answer.clone()));
            tx.rollback().await.unwrap();
        }
        let (theirs, ours) =
            (tell("full: select 1", theirs), tell("full: first check of a transaction", ours));
        against("full: against select 1", ours, theirs);
    }

    /// Postgres answers: one compiled statement, beside one query for one row by its index.
    async fn through_sql(&self) {
        const INDEXED: &str = "select exists (select from permission_tuples
             where namespace = 'document' and object_id = $1 and relation = 'viewer' and subject_ns = 'user'
               and subject_id = $2 and subject_rel is null)";
        let authz = authz().with_budget(0, Budget::none());
        let mut tx = self.begin().await;
        for kind in KINDS {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for question in (0..ROUNDS).map(|n| self.workload.question(kind, n)) {
                let begun = Instant::now();
                let answer = authz
                    .check(&mut tx, &question.subject, question.permission, &question.object)
                    .await
                    .unwrap();
                ours.push(begun.elapsed());
                assert_eq!(answer, question.answer, "{question:?}");
                let begun = Instant::now();
                sqlx::query_scalar::<_, bool>(INDEXED)
                    .bind(question.object.id())
                    .bind(question.subject.id())
                    .fetch_one(&mut *tx)
                    .await
                    .unwrap();
                theirs.push(begun.elapsed());
            }
            let ours = tell(&format!("through SQL: {kind}"), ours);
            let theirs = tell("  one indexed query", theirs);
            against("  against it", ours, theirs);
        }
        let begun = Instant::now();
        let listed =
            authz.lookup_objects(&mut tx, &self.workload.lister(), "edit", "document").await.unwrap();
        println!(
            "through SQL: {} objects of a user in {:.2} ms",
            listed.len(),
            begun.elapsed().as_secs_f64() * 1e3
        );
        tx.rollback().await.unwrap();
    }

    /// A look of a follower that finds nothing, and one that finds many changes: read, decoded, put into the graph.
    async fn follow(&self) {
        const CHANGES: usize = 50_000;
        let node = authz();
        let relay = self.db.relay().await;
        let mut following = node.follow("main", &relay);
        following.step().await.unwrap();
        node.graph(&mut self.begin().await).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            following.step().await.unwrap();
            times.push(begun.elapsed());
        }
        tell("follow: a look that finds nothing", times);
        let added: Vec<Relationship> = (0..CHANGES)
            .map(|n| {
                let subject = Subject::new("user", format_args!("u{}", n % 1_000));
                Relationship::new(Object::new("document", format_args!("fresh{n}")), "viewer", subject)
            })
            .collect();
        let mut tx = self.begin().await;
        authz().touch_many(&mut tx, &added).await.unwrap();
        tx.commit().await.unwrap();
        let begun = Instant::now();
        following.step().await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(node.metrics().followed, CHANGES as u64);
        println!("follow: {CHANGES} changes in one look, {:.1} us each", took * 1e6 / CHANGES as f64);
    }

    /// From the commit on one node to the answer of another one, which is told by NOTIFY.
    async fn propagation(&self) {
        let (writer, node) = (authz(), authz().with_consistency(Consistency::MinimizeLatency(Duration::MAX)));
        let notifying = self.db.connect(Tenants::builder().notify_followers()).await;
        let relay = self.db.relay_by(Relay::builder().listen()).await;
        let mut following = node.follow("main", &relay);
        following.step().await.unwrap();
        let view = async || -> View { node.view(self.db.tenants(), &self.session).await.unwrap() };
        view().await;
        let task = tokio::spawn(following.run());
        let mut times = Vec::new();
        for n in 0..ROUNDS {
            let (subject, object) =
                (Subject::new("user", format_args!("new{n}")), Object::new("document", "d1"));
            let relationship = Relationship::new(object.clone(), "editor", subject.clone());
            let mut tx = notifying.begin(&self.session).await.unwrap();
            writer.touch(&mut tx, &relationship).await.unwrap();
            tx.commit().await.unwrap();
            let begun = Instant::now();
            while view().await.check(&subject, "edit", &object).unwrap() != Decision::Allowed {
                tokio::task::yield_now().await;
            }
            times.push(begun.elapsed());
        }
        task.abort();
        tell("propagation: from the commit to another node's answer", times);
    }

    /// One relationship in a transaction, of a tenant that has adopted no schema, and of one that has.
    async fn writes(&self) {
        let authz = authz();
        let mut medians = Vec::new();
        for (adopts, what) in [(false, "write: no schema adopted"), (true, "write: a schema adopted")] {
            if adopts {
                let mut tx = self.begin().await;
                let begun = Instant::now();
                authz.adopt_schema(&mut tx).await.unwrap();
                println!("a schema is adopted in {:.2} s", begun.elapsed().as_secs_f64());
                tx.commit().await.unwrap();
            }
            let mut times = Vec::new();
            for n in 0..ROUNDS {
                let subject = Subject::new("user", format_args!("{adopts}{n}"));
                let relationship = Relationship::new(Object::new("document", "d2"), "editor", subject);
                let mut tx = self.begin().await;
                let begun = Instant::now();
                authz.touch(&mut tx, &relationship).await.unwrap();
                times.push(begun.elapsed());
                tx.commit().await.unwrap();
            }
            medians.push(tell(what, times));
        }
        against("write: with a schema against without", medians[1], medians[0]);
    }
}
