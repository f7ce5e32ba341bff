//! How many events a second are sealed and verified?
//!
//! First what a core does alone: the leaf's bytes and hash, the tree, the signature; and the tree from hashes that are
//! there, which is what verifying needs besides the leaves. Then the same through Postgres, where a sealer and a verifier
//! read and write rows. The answers are asserted before they are timed.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and tells its rates"
)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use chrono::Utc;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use formwork_audit::{
    Audit, Event,
    seal::{EventRow, Frontier, SealKey, Sealer, Verifier},
};
use formwork_migrations::{AUDIT, TENANCY};
use formwork_tenancy::{Actor, Isolation, Session, Tenants, testing::TestDatabase};
use serde_json::json;
use tokio::runtime::Runtime;
use uuid::Uuid;

const EVENTS: usize = 20_000;
const ROUNDS: usize = 5;

fn rows() -> Vec<EventRow> {
    let tenant = Uuid::now_v7();
    let after =
        r#"{"name": "Foundation", "status": "open", "assignee": "0197a1c2-0000-7000-8000-000000000000"}"#;
    (0..EVENTS).map(|_| EventRow::sample(tenant, Uuid::now_v7(), Utc::now(), after.to_owned())).collect()
}

fn tree_of(rows: &[EventRow], scratch: &mut Vec<u8>) -> Frontier {
    let mut tree = Frontier::new();
    for row in rows {
        tree.push(row.hash(scratch));
    }
    tree
}

fn on_a_core(c: &mut Criterion) {
    let (rows, mut scratch) = (rows(), Vec::new());
    let key = SealKey::from_seed(&[7; 32]);
    assert_eq!(tree_of(&rows, &mut scratch).size(), EVENTS as u64);
    let mut group = c.benchmark_group("audit/core");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);
    group.bench_function("seal: leaves, tree, signature", |b| {
        b.iter(|| {
            let root = tree_of(black_box(&rows), &mut scratch).root();
            black_box(key.sample_signature(&root))
        });
    });
    group.bench_function("verify: leaves, tree, signature", |b| {
        let root = tree_of(&rows, &mut scratch).root();
        let signature = key.sample_signature(&root);
        b.iter(|| {
            let found = tree_of(black_box(&rows), &mut scratch).root();
            assert!(key.public().verifies_sample(&found, &signature));
        });
    });
    group.finish();
}

struct Setting {
    tenants: Tenants,
    session: Session,
}

impl Setting {
    async fn new() -> Self {
        let db = TestDatabase::new(&[TENANCY, AUDIT]).await;
        let session = Session::new(&db.tenant("a", Isolation::Shared).await, Actor::system("bench"));
        Self { tenants: db.tenants().clone(), session }
    }

    async fn record(&self) -> Duration {
        let audit = Audit::new();
        let after = json!({"name": "Foundation", "status": "open"});
        let events: Vec<Event> = (0..EVENTS)
            .map(|_| Event::new("task.updated").target(("task", Uuid::now_v7())).after(after.clone()))
            .collect();
        let begun = Instant::now();
        let mut tx = self.tenants.begin(&self.session).await.unwrap();
        for page in events.chunks(1_000) {
            audit.record_many(&mut tx, page).await.unwrap();
        }
        tx.commit().await.unwrap();
        begun.elapsed()
    }

    async fn seal(&self, sealer: &Sealer) -> Duration {
        let begun = Instant::now();
        let mut tx = self.tenants.begin(&self.session).await.unwrap();
        let sealed = sealer.seal(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(sealed.events(), EVENTS as u64);
        begun.elapsed()
    }

    async fn verify(&self, verifier: &Verifier) -> (u64, Duration) {
        let begun = Instant::now();
        let mut tx = self.tenants.begin_read(&self.session).await.unwrap();
        let found = verifier.verify(&mut tx).await.unwrap();
        assert!(found.is_intact() && found.unsealed() == 0, "{found:?}");
        (found.events(), begun.elapsed())
    }
}

/// Not criterion's: a sealing changes what the next one begins with. The three take turns in one run.
fn through_postgres(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let setting = Setting::new().await;
        let key = SealKey::from_seed(&[7; 32]);
        let verifier = Verifier::new([key.public()]);
        let sealer = Sealer::new(key);
        for round in 0..ROUNDS {
            let record = setting.record().await;
            let seal = setting.seal(&sealer).await;
            let (events, verify) = setting.verify(&verifier).await;
            let rate = |events: u64, time: Duration| events as f64 / time.as_secs_f64();
            println!(
                "audit/postgres round {round}: record {:.0}/s, seal {:.0}/s, verify {:.0}/s of {events}",
                rate(EVENTS as u64, record),
                rate(EVENTS as u64, seal),
                rate(events, verify),
            );
        }
    });
}

criterion_group!(benches, on_a_core, through_postgres);
criterion_main!(benches);
