//! Where a tenant is served, by which connections, and what a commit's token is good for: as clients see it.

use std::{panic::AssertUnwindSafe, time::Duration};

use formwork_service::modules::members::Role;
use formwork_tenancy::{
    Actor, CommitToken, HomePlace, Isolation, Session, Tenants, TenantsBuilder,
    admission::Fairness,
    local_postgres::LocalRole,
    moves::{MoveEvent, MoveStep},
    testing::Replica,
};
use futures::FutureExt;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::kit::{Ask, Member, PASSWORD, Service};

const COMMIT_TOKEN: &str = "x-commit-token";

async fn names(member: &Member, token: Option<&str>) -> Vec<String> {
    let ask = Ask::get("/api/v1/projects");
    let ask = match token {
        Some(token) => ask.header(COMMIT_TOKEN, token),
        None => ask,
    };
    let list = member.send(ask).await.is(200).json();
    let name = |project: &Value| project["name"].as_str().unwrap().to_owned();
    list["data"].as_array().unwrap().iter().map(name).collect()
}

/// Makes a project; answers the commit's token.
async fn project(member: &Member, name: &str) -> String {
    let made = member.post("/api/v1/projects", json!({"name": name})).await.is(201);
    made.header(COMMIT_TOKEN).unwrap().to_owned()
}

#[tokio::test]
async fn a_tenant_of_another_region_is_sent_there() {
    let service = Service::start().await;
    let ada = service.tenant("acme", Isolation::Shared).await.member("ada", Role::Owner).await;
    let far = || Tenants::builder().region("eu");
    for place in [None, Some("https://local.example.com")] {
        service.db().control().put_region("local", place).await.unwrap();
        let here = ada.at(&service.another_by(far()).await);
        for answer in [here.get("/api/v1/tenant").await, here.site.login("ada@example.com", PASSWORD).await] {
            let document = answer.problem(421, "wrong-region");
            assert_eq!((&document["region"], &document["place"]), (&json!("local"), &json!(place)));
            assert_eq!(answer.header("location"), place);
            assert_eq!(answer.header("retry-after"), None, "later it is the wrong place too");
        }
    }
    ada.at(&service.another_by(Tenants::builder().region("local")).await).get("/api/v1/tenant").await.is(200);
}

#[tokio::test]
async fn a_tenant_in_a_database_that_the_process_was_not_told_of_is_elsewhere() {
    let service = Service::start_with(&["eu"]).await;
    let near = service.tenant("near", Isolation::Shared).await.member("ada", Role::Owner).await;
    let far = service.tenant_at("far", HomePlace::shared_in("eu")).await.member("ben", Role::Owner).await;
    far.get("/api/v1/tenant").await.is(200);
    let main = service.another_of_main().await;
    let answer = far.at(&main).get("/api/v1/tenant").await;
    answer.problem(503, "tenant-elsewhere");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(!answer.body.contains("eu"), "{}", answer.body);
    near.at(&main).get("/api/v1/tenant").await.is(200);
}

#[tokio::test]
async fn a_tenant_with_too_much_under_way_is_busy_and_the_next_one_is_not() {
    let service = Service::start_with(&["eu"]).await;
    let place = HomePlace::shared_in("eu");
    let noisy = service.tenant_at("noisy", place.clone()).await.member("ada", Role::Owner).await;
    let quiet = service.tenant_at("quiet", place).await.member("ben", Role::Owner).await;
    let fairness = Fairness::new().at_most(1).queue(4);
    let builder = Tenants::builder().max_connections(4).fairness(fairness);
    let small = service.another_by(builder.acquire_timeout(Duration::from_secs(60))).await;
    let (noisy, quiet) = (noisy.at(&small), quiet.at(&small));
    let tenants = &small.app.tenants;
    let session = Session::new(&noisy.site.tenant, Actor::system("test"));
    let held = tenants.begin(&session).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (tenants, session) = (tenants.clone(), session.clone());
        waiting.spawn(async move { tenants.begin(&session).await.unwrap().rollback().await.unwrap() });
    }
    while tenants.waiting(&noisy.site.tenant) < 4 {
        tokio::task::yield_now().await;
    }
    let answer = noisy.get("/api/v1/tenant").await;
    answer.problem(503, "tenant-busy");
    assert_eq!(answer.header("retry-after"), Some("1"));
    quiet.get("/api/v1/tenant").await.is(200);
    held.rollback().await.unwrap();
    waiting.join_all().await;
    noisy.get("/api/v1/tenant").await.is(200);
}

#[tokio::test]
async fn writes_answer_a_token_and_reads_take_it_back() {
    let service = Service::start().await;
    let ada = service.tenant("acme", Isolation::Shared).await.member("ada", Role::Owner).await;
    let ben = service.tenant("bolt", Isolation::Schema).await.member("ben", Role::Owner).await;
    let (ours, theirs) = (project(&ada, "one").await, project(&ben, "two").await);
    let token: CommitToken = ours.parse().unwrap();
    assert_eq!((token.tenant(), token.epoch()), (ada.site.tenant.id(), ada.site.tenant.epoch()));
    assert!(token.xid().is_some());
    let read = ada.get("/api/v1/projects").await.is(200);
    assert_eq!(read.header(COMMIT_TOKEN), None, "a read has stored nothing");
    let refused = ada.post("/api/v1/projects", json!({"name": ""})).await;
    assert_eq!((refused.status, refused.header(COMMIT_TOKEN)), (422, None));
    // What it must see in another tenant says nothing about this one, and opens nothing of the other.
    for token in [&ours, &theirs] {
        assert_eq!(names(&ada, Some(token)).await, ["one"]);
    }
    for text in ["x", "", "v1", &ours.replace("v1.", "v2.")] {
        ada.send(Ask::get("/api/v1/projects").header(COMMIT_TOKEN, text)).await.refuses(COMMIT_TOKEN);
    }
}

fn behind(replica: &Replica, service: &Service) -> TenantsBuilder {
    let (hour, minute) = (Duration::from_secs(3_600), Duration::from_secs(60));
    let builder = Tenants::builder().replica("main", replica.options(LocalRole::App, service.db()));
    // However busy the machine is, the standby is not given up.
    builder.read_staleness(hour).replica_patience(minute)
}

async fn at_standby(replica: &Replica, service: &Service, sql: &'static str) {
    let options = replica.options(LocalRole::Superuser, service.db());
    let mut standby = PgConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut standby).await.unwrap();
}

/// A real standby that stands still: an old answer is good enough until somebody says what it must show.
#[tokio::test]
async fn whoever_sends_a_token_sees_what_was_written_although_the_standby_does_not() {
    let service = Service::start().await;
    let ada = service.tenant("acme", Isolation::Shared).await.member("ada", Role::Owner).await;
    let Some(replica) = Replica::start().await else {
        eprintln!("pg_basebackup is not installed beside the server: not tested");
        return;
    };
    let ada = ada.at(&service.another_by(behind(&replica, &service)).await);
    let first: CommitToken = project(&ada, "one").await.parse().unwrap();
    replica.has_replayed(first.wal()).await;
    at_standby(&replica, &service, "select pg_wal_replay_pause()").await;
    let second = project(&ada, "two").await;
    // It is asked what it is before it is asked for rows, and the primary answers meanwhile.
    let stale = async {
        while names(&ada, None).await != ["one"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), stale).await.expect("the standby answers");
    let mut seen = names(&ada, Some(&second)).await;
    seen.sort_unstable();
    assert_eq!(seen, ["one", "two"]);
    at_standby(&replica, &service, "select pg_wal_replay_resume()").await;
    replica.stop().await;
}

/// Counts in a way that no rollback undoes.
const COUNTED: &str = "
  create sequence public.tries;
  create function public.count_try() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$ begin perform nextval('public.tries'); return new; end $$;
  create trigger count_try before insert on shared.projects for each row execute function public.count_try()";

/// Frozen by a move, the tenant takes no commit: the request waits for the end of the move, and writes there.
#[tokio::test]
async fn a_write_that_meets_a_move_ends_in_the_new_home() {
    let service = Service::start().await;
    let ada = service.tenant("acme", Isolation::Shared).await.member("ada", Role::Owner).await;
    ada.project("one").await;
    let mut owner = service.owner().await;
    sqlx::raw_sql(COUNTED).execute(&mut owner).await.unwrap();
    let (control, acme) = (service.db().control(), ada.site.tenant.id());
    let own = HomePlace::schema();
    let moving = control.move_tenant(acme, &own, |event| {
        if matches!(event, MoveEvent::Reached { step: MoveStep::Frozen }) {
            std::panic::resume_unwind(Box::new("cut off"));
        }
    });
    assert!(AssertUnwindSafe(moving).catch_unwind().await.is_err(), "it was cut off");
    assert_eq!(names(&ada, None).await, ["one"], "it is read meanwhile");

    let writer = ada.clone();
    let write = tokio::spawn(async move { writer.post("/api/v1/projects", json!({"name": "two"})).await });
    let refused = async {
        let tries = "select case when is_called then last_value else 0 end from public.tries";
        while sqlx::query_scalar::<_, i64>(tries).fetch_one(&mut owner).await.unwrap() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), refused).await.expect("it is tried again");
    control.resume_move(acme, |_| ()).await.unwrap();
    let written = write.await.unwrap().is(201);
    let token: CommitToken = written.header(COMMIT_TOKEN).unwrap().parse().unwrap();
    assert_eq!(token.epoch(), ada.site.tenant.epoch() + 1);
    let mut seen = names(&ada, Some(&token.to_string())).await;
    seen.sort_unstable();
    assert_eq!(seen, ["one", "two"], "once, although it was tried more than once");
}
