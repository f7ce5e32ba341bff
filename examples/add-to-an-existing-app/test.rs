//! Each step of the README is run, on a Postgres of the test's own, and keeps what it promises.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use formwork_tenancy::{
    TenantTx, assert_isolated,
    local_postgres::LocalRole,
    testing::{TestDatabase, cluster},
};
use reqwest::{Method, StatusCode, header::HOST};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

#[path = "schema.rs"]
mod schema;

const DATABASE: &str = "an_existing_app";

/// A step's service, until it is dropped.
struct Service {
    process: Child,
    address: String,
    client: reqwest::Client,
}

impl Service {
    async fn start(program: &str, role: LocalRole) -> Self {
        let mut process = Command::new(program)
            .env("DATABASE_URL", cluster().await.url_of(role, DATABASE))
            .env("BASE_DOMAIN", "notes.test")
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{program}: {line}"));
        Self { address: format!("http://{address}"), process, client: reqwest::Client::new() }
    }

    /// Status and body, as `host` would be answered.
    async fn ask(&self, host: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.address)).header(HOST, host);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn get(&self, host: &str, path: &str) -> (StatusCode, Value) {
        self.ask(host, Method::GET, path, None).await
    }

    /// What was made, with its id.
    async fn post(&self, host: &str, path: &str, body: Value) -> (Value, String) {
        let (status, made) = self.ask(host, Method::POST, path, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let id = made["id"].as_str().unwrap().to_owned();
        (made, id)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn connect(role: LocalRole) -> PgConnection {
    PgConnection::connect_with(&cluster().await.connect_options(role, DATABASE)).await.unwrap()
}

async fn count(role: LocalRole, sql: &str) -> i64 {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query_scalar(sql).fetch_one(&mut connect(role).await).await.unwrap()
}

/// Runs a step that ends by itself, and answers what it said.
async fn run(program: &str, arguments: &[&str]) -> String {
    let url = cluster().await.url_of(LocalRole::Owner, DATABASE);
    let output = Command::new(program).args(arguments).env("DATABASE_OWNER_URL", url).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_app_becomes_multi_tenant_step_by_step() {
    cluster().await.create_database(DATABASE, None).await.unwrap();
    let (kept_boards, kept_notes, board, note) = step_0().await;
    step_1(&kept_boards, &kept_notes, &board, &note).await;
    step_2(&board, &note).await;
}

/// The app as it was found, with rows.
async fn step_0() -> (Value, Value, String, String) {
    let mut owner = connect(LocalRole::Owner).await;
    sqlx::raw_sql(include_str!("step_0.sql")).execute(&mut owner).await.unwrap();
    let app = Service::start(env!("CARGO_BIN_EXE_step_0_single_tenant"), LocalRole::Owner).await;
    let (_, board) = app.post("any", "/boards", json!({"name": "Harbour"})).await;
    let (_, note) = app.post("any", &format!("/boards/{board}/notes"), json!({"body": "16 mm"})).await;
    app.post("any", &format!("/boards/{board}/notes"), json!({"body": "order rebar"})).await;
    let again = app.ask("any", Method::POST, "/boards", Some(json!({"name": "Harbour"}))).await;
    assert_eq!(again.0, StatusCode::CONFLICT);
    assert_eq!(app.get("any", &format!("/notes/{}", Uuid::new_v4())).await.0, StatusCode::NOT_FOUND);
    let boards = app.get("any", "/boards").await.1;
    let notes = app.get("any", &format!("/boards/{board}/notes")).await.1;
    assert_eq!((boards.as_array().unwrap().len(), notes.as_array().unwrap().len()), (1, 2));
    (boards, notes, board, note)
}

/// The same answers, to a login that gets nothing without a tenant.
async fn step_1(boards: &Value, notes: &Value, board: &str, note: &str) {
    assert!(
        run(env!("CARGO_BIN_EXE_step_1_adopt"), &["first", "First customer"]).await.contains("adopted by")
    );
    let app = Service::start(env!("CARGO_BIN_EXE_step_1_one_tenant"), LocalRole::App).await;
    assert_eq!(app.get("any", "/boards").await, (StatusCode::OK, boards.clone()));
    assert_eq!(app.get("any", &format!("/boards/{board}/notes")).await, (StatusCode::OK, notes.clone()));
    assert_eq!(app.get("any", &format!("/notes/{note}")).await.1["body"], "16 mm");
    let again = app.ask("any", Method::POST, "/boards", Some(json!({"name": "Harbour"}))).await;
    assert_eq!(again.0, StatusCode::CONFLICT);
    let (_, late) = app.post("any", &format!("/boards/{board}/notes"), json!({"body": "late"})).await;
    assert_eq!(
        app.ask("any", Method::DELETE, &format!("/notes/{late}"), None).await.0,
        StatusCode::NO_CONTENT
    );

    assert_eq!(count(LocalRole::Superuser, "select count(*) from shared.notes").await, 2);
    for role in [LocalRole::App, LocalRole::Owner] {
        assert_eq!(count(role, "select count(*) from shared.notes").await, 0, "{role:?}");
    }
}

/// Tenants by host name, in two kinds of home, the second made while the service runs.
async fn step_2(board: &str, note: &str) {
    let made = run(env!("CARGO_BIN_EXE_new_tenant"), &["bolt", "Bolt Ltd", "shared"]).await;
    assert!(made.contains("healthy: 0 errors"), "{made}");
    let app = Service::start(env!("CARGO_BIN_EXE_step_2_many_tenants"), LocalRole::App).await;
    let made = run(env!("CARGO_BIN_EXE_new_tenant"), &["vault", "Vault plc", "schema"]).await;
    assert!(made.contains("healthy: 0 errors"), "{made}");
    assert!(made.contains("2 homes agree"), "the adopted home is as a new one: {made}");

    assert_eq!(app.get("first.notes.test", &format!("/notes/{note}")).await.1["body"], "16 mm");
    for host in ["bolt.notes.test", "vault.notes.test"] {
        assert_eq!(app.get(host, "/boards").await, (StatusCode::OK, json!([])));
        assert_eq!(app.get(host, &format!("/boards/{board}/notes")).await, (StatusCode::OK, json!([])));
        assert_eq!(app.get(host, &format!("/notes/{note}")).await.0, StatusCode::NOT_FOUND);
        let delete = app.ask(host, Method::DELETE, &format!("/notes/{note}"), None).await;
        assert_eq!(delete.0, StatusCode::NOT_FOUND);
        // As on a board that is nobody's.
        for board in [board, &Uuid::new_v4().to_string()] {
            let path = format!("/boards/{board}/notes");
            let planted = app.ask(host, Method::POST, &path, Some(json!({"body": "planted"}))).await;
            assert_eq!(planted.0, StatusCode::CONFLICT);
        }
        // A name that another tenant has is free here.
        let (_, own) = app.post(host, "/boards", json!({"name": "Harbour"})).await;
        app.post(host, &format!("/boards/{own}/notes"), json!({"body": "own"})).await;
    }
    let first = app.get("first.notes.test", &format!("/boards/{board}/notes")).await.1;
    assert_eq!(first.as_array().unwrap().len(), 2);
    assert_eq!(app.get("first.notes.test", &format!("/notes/{note}")).await.0, StatusCode::OK);
    assert_eq!(app.get("nobody.notes.test", "/boards").await.0, StatusCode::NOT_FOUND);
    assert_eq!(app.get("notes.test", "/boards").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn boards_and_notes_are_isolated() {
    let db = TestDatabase::new(schema::SETS).await;
    // As B: a board with a note, and what is known of them.
    let seed = async |b: &mut TenantTx| -> Vec<Uuid> {
        let add = "insert into boards (name) values ('Harbour') returning id";
        let board: Uuid = sqlx::query_scalar(add).fetch_one(&mut **b).await.unwrap();
        let add = "insert into notes (board_id, body) values ($1, 'secret') returning id";
        let note = sqlx::query_scalar(add).bind(board).fetch_one(&mut **b).await.unwrap();
        vec![board, note]
    };
    // As A: every statement of the service, with B's ids.
    let attack = async |a: &mut TenantTx, ids: &Vec<Uuid>| {
        let read = sqlx::query_scalar::<_, String>("select body from notes where id = $1 or board_id = $2");
        let read = read.bind(ids[1]).bind(ids[0]).fetch_all(&mut **a).await.unwrap();
        let delete =
            sqlx::query("delete from notes where id = $1").bind(ids[1]).execute(&mut **a).await.unwrap();
        let same =
            sqlx::query("insert into boards (name) values ('Harbour')").execute(&mut **a).await.is_ok();
        let plant = sqlx::query("insert into notes (board_id, body) values ($1, 'x')").bind(ids[0]);
        let planted = plant.execute(&mut **a).await.is_ok();
        (read, delete.rows_affected(), same, planted)
    };
    assert_isolated!(db, seed, attack);
}

/// What the README shows is what is run.
#[test]
fn the_readme_shows_the_steps_as_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("add-to-an-existing-app");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let mut shown = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        let Some((language, file)) = line.strip_prefix("```").and_then(|info| info.split_once(" file="))
        else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let source =
            std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let source: Vec<&str> = source.lines().collect();
        let is_there = source.windows(block.len()).any(|window| window == block);
        assert!(is_there, "{file} has no such lines:\n{}", block.join("\n"));
        assert!(file.ends_with(if language == "sql" { ".sql" } else { ".rs" }), "{file} as {language}");
        shown.push(file);
    }
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let is_step = name != "README.md" && name != "test.rs";
        assert!(!is_step || shown.contains(&name.as_str()), "{name} is not shown in the README");
    }
    assert!(readme.contains("test.rs"));
}

/// The walls of `home.sql` are those that the generator writes.
#[test]
fn the_walls_are_the_generated_ones() {
    for table in ["boards", "notes"] {
        let walls = formwork_migrations::TenantTable::new(table).sql().unwrap();
        assert!(include_str!("home.sql").contains(&walls), "{walls}");
    }
}
