//! What does an audit event cost the business transaction that it stands in?
//!
//! Commits are durable (`fsync` on, on a disk). The same transaction, a read and an update of one row, is run with and
//! without its event, by one client and by eight; the two take turns, and the ratio is that of neighbours.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and tells its ratios"
)]

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use formwork_audit::{Audit, Event};
use formwork_migrations::{AUDIT, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, ControlPlane, Isolation, NewTenant, Session, Tenants,
    local_postgres::{Durability, LocalPostgres, LocalRole, PgBinaries, Settings},
};
use serde_json::json;
use uuid::Uuid;

const ROWS: u128 = 1_000;
const TURN: u32 = 20;
const TURNS: usize = 100;

#[derive(Clone)]
struct Setting {
    tenants: Tenants,
    session: Session,
    audit: Audit,
}

impl Setting {
    async fn new(postgres: &LocalPostgres) -> Self {
        postgres.create_database("bench", None).await.unwrap();
        let options = |role| postgres.connect_options(role, "bench");
        let sets = [TENANCY, AUDIT, tasks()];
        let control = ControlPlane::connect_with(options(LocalRole::Owner), &sets).await.unwrap();
        control.migrate().await.unwrap();
        let tenant = NewTenant::new("acme", "Acme", Isolation::Shared);
        let tenant = control.provision(&tenant).await.unwrap();
        let tenants = Tenants::builder().connect_with(options(LocalRole::App)).await.unwrap();
        let tenant = tenants.by_id(tenant).await.unwrap().unwrap();
        let session = Session::new(&tenant, Actor::user(Uuid::nil())).request_id("bench");
        let mut tx = tenants.begin(&session).await.unwrap();
        let ids: Vec<Uuid> = (0..ROWS).map(Uuid::from_u128).collect();
        sqlx::query(
            "insert into tasks (id, title, moves) select id, 'T', 0 from unnest($1::uuid[]) as i (id)",
        )
        .bind(ids)
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        Self { tenants, session, audit: Audit::new() }
    }

    async fn work(&self, nr: u128, with_event: bool) {
        let id = Uuid::from_u128(nr % ROWS);
        let mut tx = self.tenants.begin(&self.session).await.unwrap();
        let moves: i32 = sqlx::query_scalar("select moves from tasks where id = $1 for update")
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        sqlx::query("update tasks set moves = $2 where id = $1")
            .bind(id)
            .bind(moves + 1)
            .execute(&mut *tx)
            .await
            .unwrap();
        if with_event {
            let event = Event::new("task.moved").target(("task", id));
            let event = event.before(json!({"moves": moves})).after(json!({"moves": moves + 1}));
            self.audit.record(&mut tx, event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Mean time of a transaction of one client.
    async fn turn(&self, clients: u128, with_event: bool) -> Duration {
        let begun = Instant::now();
        let client = |client: u128| {
            let this = self.clone();
            tokio::spawn(async move {
                for nr in 0..u128::from(TURN) {
                    // Each client has rows of its own.
                    this.work(client + clients * nr, with_event).await;
                }
            })
        };
        for client in (0..clients).map(client).collect::<Vec<_>>() {
            client.await.unwrap();
        }
        begun.elapsed() / TURN
    }
}

fn tasks() -> Set {
    let table = TenantTable::new("tasks").column("id", "uuid not null").column("title", "text not null");
    let sql = table.column("moves", "int not null").key("id").sql().unwrap();
    let home = vec![Migration { version: 1, name: "tasks", sql: sql.leak() }];
    Set { name: "bench/tasks", platform: &[], database: &[], home: home.leak() }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(folder: &Folder) {
    let explicit = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let settings = Settings::new(PgBinaries::find(explicit.as_deref()).unwrap(), folder.0.join("cluster"));
    let postgres = LocalPostgres::start(settings.durability(Durability::Durable)).await.unwrap();
    let setting = Setting::new(&postgres).await;
    for clients in [1, 8] {
        let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..TURNS {
            // Who begins changes from turn to turn.
            let first = setting.turn(clients, turn % 2 == 0).await;
            let second = setting.turn(clients, turn % 2 == 1).await;
            let (event, none) = if turn % 2 == 0 { (first, second) } else { (second, first) };
            ratios.push(event.div_duration_f64(none));
            with.push(event.as_secs_f64() * 1e6);
            without.push(none.as_secs_f64() * 1e6);
        }
        println!(
            "audit/in the transaction, {clients} clients: {:.0} us without, {:.0} us with its event, {:.2} times its neighbour",
            median(without),
            median(with),
            median(ratios)
        );
    }
    setting.tenants.close().await;
    postgres.stop().await;
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn main() {
    // `cargo test --benches` only asks whether it can be begun.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    // On a disk: in memory every commit is durable at once.
    let folder = Folder(std::env::temp_dir().join(format!("formwork-bench-{}", std::process::id())));
    fs::create_dir(&folder.0).unwrap();
    // As root, Postgres runs as another user, who has to come through here.
    fs::set_permissions(&folder.0, Permissions::from_mode(0o711)).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(measure(&folder));
}
