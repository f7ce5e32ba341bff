//! How long does a tenant wait for its transaction while another one asks for far more than its share?
//!
//! One tenant, the victim, runs one small transaction after the other; another has 64 going at all times, each of which
//! holds its connection for 5 ms, on a pool of 8. With the fair queue and without it, and without the noisy one, in turns
//! of the same run. Afterwards what the queue costs when nobody waits.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and tells its table"
)]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use formwork_migrations::TENANCY;
use formwork_tenancy::{
    Actor, Isolation, Session, TenantId, Tenants,
    admission::{FairQueue, Fairness},
    testing::TestDatabase,
};

const CONNECTIONS: u32 = 8;
const CROWD: usize = 64;
const TURNS: usize = 6;
const A_TURN: usize = 100;

struct Setting {
    name: &'static str,
    tenants: Tenants,
    is_noisy: bool,
    took: Vec<Duration>,
    noise: u64,
    lasted: Duration,
}

async fn work(tenants: &Tenants, session: &Session, sql: &'static str) {
    let mut tx = tenants.begin(session).await.unwrap();
    sqlx::query(sql).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

impl Setting {
    async fn new(db: &TestDatabase, name: &'static str, fairness: Fairness, is_noisy: bool) -> Self {
        let builder = Tenants::builder().acquire_timeout(Duration::from_secs(60));
        let tenants = db.connect(builder.max_connections(CONNECTIONS).fairness(fairness)).await;
        Self { name, tenants, is_noisy, took: Vec::new(), noise: 0, lasted: Duration::ZERO }
    }

    async fn turn(&mut self, victim: &Session, noisy: &Session) {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let crowd: Vec<_> = (0..if self.is_noisy { CROWD } else { 0 })
            .map(|_| {
                let (tenants, session) = (self.tenants.clone(), noisy.clone());
                let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        work(&tenants, &session, "select pg_sleep(0.005)").await;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // The crowd has to be there.
        for _ in 0..20 {
            work(&self.tenants, victim, "select 1").await;
        }
        done.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        for _ in 0..A_TURN {
            let begun = Instant::now();
            work(&self.tenants, victim, "select 1").await;
            self.took.push(begun.elapsed());
        }
        self.lasted += begun.elapsed();
        self.noise += done.load(Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        for task in crowd {
            task.await.unwrap();
        }
    }

    fn tell(&mut self) {
        self.took.sort();
        let at = |share: f64| {
            let index = (share * (self.took.len() - 1) as f64).round() as usize;
            self.took.get(index).unwrap().as_secs_f64() * 1e3
        };
        let noise = self.noise as f64 / self.lasted.as_secs_f64();
        println!("{:34} {:9.2} {:9.2} {:9.2} {:12.0}", self.name, at(0.5), at(0.99), at(1.0), noise);
    }
}

async fn neighbours() {
    let db = TestDatabase::new(&[TENANCY]).await;
    let session = async |slug| {
        let tenant = db.tenant(slug, Isolation::Shared).await;
        Session::new(&tenant, Actor::system("bench"))
    };
    let (victim, noisy) = (session("victim").await, session("noisy").await);
    let queue = Fairness::new();
    let mut settings = [
        Setting::new(&db, "alone", queue, false).await,
        Setting::new(&db, "noisy neighbour, fair queue", queue, true).await,
        Setting::new(&db, "noisy neighbour, share alone (8)", queue.at_most(CONNECTIONS), true).await,
        Setting::new(&db, "noisy neighbour, first come", Fairness::first_come_first_served(), true).await,
    ];
    for _ in 0..TURNS {
        for setting in &mut settings {
            setting.turn(&victim, &noisy).await;
        }
    }
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>12}",
        "the victim's transaction, ms", "p50", "p99", "worst", "noisy tx/s"
    );
    settings.iter_mut().for_each(Setting::tell);
}

/// The best of several turns: what it costs when nothing else runs.
fn nanos_of(mut one: impl FnMut()) -> f64 {
    const TIMES: u32 = 200_000;
    let turn = |_| {
        let begun = Instant::now();
        for _ in 0..TIMES {
            one();
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES)
    };
    (0..20).map(turn).fold(f64::INFINITY, f64::min)
}

fn cost() {
    let tenants: Vec<TenantId> = (0..64).map(|_| TenantId::generate()).collect();
    let queue = FairQueue::new(20, Fairness::new());
    let mut turn = 0;
    let fair = nanos_of(|| {
        turn += 1;
        let who = tenants.get(turn % tenants.len()).copied().unwrap();
        let mut entering = std::pin::pin!(queue.enter(who));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(black_box(entering.as_mut().poll(&mut context)).is_ready());
    });
    let semaphore = Arc::new(tokio::sync::Semaphore::new(20));
    let bare = nanos_of(|| drop(black_box(Arc::clone(&semaphore).try_acquire_owned()).unwrap()));
    println!("in and out, nobody waits: {fair:.0} ns; a bare semaphore of tokio's {bare:.0} ns");
}

fn main() {
    tokio::runtime::Runtime::new().unwrap().block_on(neighbours());
    cost();
}
