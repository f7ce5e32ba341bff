//! The service over real HTTP, and the people who use it.
//!
//! A [`Service`] listens on a port of its own and has a database of its own; a [`Site`] is one tenant of it, at its
//! host name; a [`Member`] has signed in there and asks with a real token. An [`Answer`] is read as a client
//! would read it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use ed25519_dalek::SigningKey;
use formwork_authz::Relationship;
use formwork_service::{
    app::App,
    databases::sets,
    modules::members::{self, NewMember, Role},
    router::router,
    token::Tokens,
};
use formwork_tenancy::{
    Actor, HomePlace, Isolation, Session, Tenant, Tenants, TenantsBuilder,
    local_postgres::LocalRole,
    testing::{BASE_DOMAIN, TestDatabase},
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HOST, HeaderMap},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use uuid::Uuid;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
const CORRELATION: &str = "x-correlation-id";

/// The program, serving.
#[derive(Clone)]
pub(crate) struct Service {
    db: Arc<TestDatabase>,
    pub(crate) app: App,
    pub(crate) key: SigningKey,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Service {
    /// On a database of its own.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with other databases for homes beside it.
    pub(crate) async fn start_with(others: &[&str]) -> Self {
        let db = Arc::new(TestDatabase::with_databases(&sets(), others).await);
        let tenants = db.tenants().clone();
        Self::serve(db, tenants, SigningKey::from_bytes(&[7; 32])).await
    }

    /// Another process on the same database, with nothing in memory yet.
    pub(crate) async fn another(&self) -> Self {
        self.another_by(Tenants::builder()).await
    }

    /// The same, told what the builder says.
    pub(crate) async fn another_by(&self, builder: TenantsBuilder) -> Self {
        let tenants = self.db.connect(builder.supports(&sets())).await;
        Self::serve(self.db.clone(), tenants, self.key.clone()).await
    }

    /// Another process that was told of the main database alone.
    pub(crate) async fn another_of_main(&self) -> Self {
        let builder = Tenants::builder().base_domain(BASE_DOMAIN).supports(&sets());
        let tenants = builder.connect_with(self.db.options(LocalRole::App).await).await.unwrap();
        Self::serve(self.db.clone(), tenants, self.key.clone()).await
    }

    /// Its database.
    pub(crate) fn db(&self) -> &TestDatabase {
        &self.db
    }

    async fn serve(db: Arc<TestDatabase>, tenants: Tenants, key: SigningKey) -> Self {
        let app = App::new(tenants, Tokens::new(&key).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { db, app, key, address, client: reqwest::Client::new() }
    }

    /// A new tenant.
    pub(crate) async fn tenant(&self, slug: &str, isolation: Isolation) -> Site {
        Site { tenant: self.db.tenant(slug, isolation).await, service: self.clone() }
    }

    /// A new tenant with its home there.
    pub(crate) async fn tenant_at(&self, slug: &str, place: HomePlace) -> Site {
        Site { tenant: self.db.tenant_at(slug, place).await, service: self.clone() }
    }

    /// The same tenant, asked of another process.
    pub(crate) fn elsewhere(&self, site: &Site) -> Site {
        Site { tenant: site.tenant.clone(), service: self.clone() }
    }

    /// A connection of the owner's.
    pub(crate) async fn owner(&self) -> PgConnection {
        PgConnection::connect_with(&self.db.options(LocalRole::Owner).await).await.unwrap()
    }

    /// A connection of the service's own login, without any tenant.
    pub(crate) async fn login(&self) -> PgConnection {
        PgConnection::connect_with(&self.db.options(LocalRole::App).await).await.unwrap()
    }

    /// Asks at `host`, as whoever holds `token`.
    pub(crate) async fn ask(&self, host: &str, token: Option<&str>, ask: Ask) -> Answer {
        let mut request = self.client.request(ask.method, format!("http://{}{}", self.address, ask.path));
        request = request.header(HOST, host);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = ask.body {
            if ask.headers.iter().all(|(name, _)| *name != "content-type") {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(body);
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        Answer::read(request.send().await.unwrap()).await
    }

    /// Sends these bytes as they are, and reads what comes back until the connection ends. A request that HTTP
    /// clients refuse to send needs `Connection: close`.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// A tenant, at its host name.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) service: Service,
    pub(crate) tenant: Tenant,
}

impl Site {
    /// Its host name.
    pub(crate) fn host(&self) -> String {
        format!("{}.{BASE_DOMAIN}", self.tenant.slug())
    }

    /// The same tenant, served by another process.
    pub(crate) fn at(&self, service: &Service) -> Self {
        Self { service: service.clone(), tenant: self.tenant.clone() }
    }

    /// Asks here, as whoever holds `token`.
    pub(crate) async fn ask(&self, token: Option<&str>, ask: Ask) -> Answer {
        self.service.ask(&self.host(), token, ask).await
    }

    /// Signs in.
    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.ask(None, Ask::post("/api/v1/auth/login", json!({"email": email, "password": password}))).await
    }

    /// A person in this role, signed in.
    pub(crate) async fn member(&self, name: &str, role: Role) -> Member {
        let email = format!("{name}@example.com");
        let new = NewMember { email: &email, name, password: Some(PASSWORD), role };
        let id =
            members::add(&self.service.app, self.service.db.control(), &self.tenant, &new).await.unwrap();
        self.signed_in(id.user, &email).await
    }

    /// A person who may sign in but has no role.
    pub(crate) async fn outsider(&self, name: &str) -> Member {
        let email = format!("{name}@example.com");
        let hash = formwork_service::password::Passwords::hash(PASSWORD).unwrap();
        let control = self.service.db.control();
        let id = control.ensure_user(&email, name, Some(&hash)).await.unwrap().id;
        control.index_membership(self.tenant.id(), id).await.unwrap();
        self.signed_in(id, &email).await
    }

    async fn signed_in(&self, id: Uuid, email: &str) -> Member {
        let token = self.login(email, PASSWORD).await.is(200).json();
        let token = token["access_token"].as_str().unwrap().to_owned();
        Member { site: self.clone(), id, token }
    }

    /// Stores a relationship, written as text.
    pub(crate) async fn relate(&self, relationship: &str) {
        let relationship: Relationship = relationship.parse().unwrap();
        let session = Session::new(&self.tenant, Actor::system("test"));
        let mut tx = self.service.app.tenants.begin(&session).await.unwrap();
        self.service.app.authz.touch(&mut tx, &relationship).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Runs one statement inside the tenant, as the service's login.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let session = Session::new(&self.tenant, Actor::system("test"));
        let mut tx = self.service.app.tenants.begin(&session).await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Every row of the tenant: of its home, and of the streams.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Vec<String>> {
        let session = Session::new(&self.tenant, Actor::system("test"));
        let mut tx = self.service.app.tenants.begin_read(&session).await.unwrap();
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.oid::regclass::text from pg_class c
              where c.relkind in ('r', 'p') and not c.relispartition
                and (c.relnamespace = $1::text::regnamespace
                     or c.oid in ('platform.outbox'::regclass, 'platform.permission_changes'::regclass))",
        )
        .bind(self.tenant.schema_name())
        .fetch_all(&mut *tx)
        .await
        .unwrap();
        let mut rows = BTreeMap::new();
        for table in tables {
            let sql = format!("select to_jsonb(t)::text from {table} t order by 1");
            let found = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
            rows.insert(table, found);
        }
        rows
    }
}

/// A person who has signed in at a site.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) site: Site,
    pub(crate) id: Uuid,
    pub(crate) token: String,
}

impl Member {
    /// The same person, asking another process.
    pub(crate) fn at(&self, service: &Service) -> Self {
        Self { site: self.site.at(service), ..self.clone() }
    }

    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        self.site.ask(Some(&self.token), ask).await
    }

    pub(crate) async fn get(&self, path: impl Into<String>) -> Answer {
        self.send(Ask::get(path)).await
    }

    pub(crate) async fn post(&self, path: impl Into<String>, body: Value) -> Answer {
        self.send(Ask::post(path, body)).await
    }

    pub(crate) async fn patch(&self, path: impl Into<String>, body: Value) -> Answer {
        self.send(Ask::patch(path, body)).await
    }

    pub(crate) async fn delete(&self, path: impl Into<String>) -> Answer {
        self.send(Ask::delete(path)).await
    }

    /// Every row of a list, page by page. `path` has a query already.
    pub(crate) async fn walk(&self, path: &str) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(format!("{path}{cursor}")).await.is(200).json();
            rows.extend(page["data"].as_array().unwrap().iter().cloned());
            assert_eq!(page["page"]["has_more"], json!(!page["page"]["next_cursor"].is_null()));
            match page["page"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// Makes a project.
    pub(crate) async fn project(&self, name: &str) -> Uuid {
        self.post("/api/v1/projects", json!({"name": name})).await.is(201).id()
    }

    /// Makes a board with the columns that boards have when none are given; answers it and its columns.
    pub(crate) async fn board(&self, project: Option<Uuid>) -> (Uuid, Vec<Uuid>) {
        let board =
            self.post("/api/v1/task-boards", json!({"name": "Board", "project_id": project})).await.is(201);
        let columns =
            board.json()["columns"].as_array().unwrap().iter().map(|column| uuid(&column["id"])).collect();
        (board.id(), columns)
    }

    /// Makes a task at the end of a column.
    pub(crate) async fn task(&self, title: &str, board: Uuid, column: Uuid) -> Uuid {
        let new = json!({"title": title, "board_id": board, "column_id": column});
        self.post("/api/v1/tasks", new).await.is(201).id()
    }

    /// Links two entities; answers the link.
    pub(crate) async fn link(&self, source: (&str, Uuid), relationship: &str, target: (&str, Uuid)) -> Uuid {
        self.post("/api/v1/links", link(source, relationship, target)).await.is(201).id()
    }
}

/// The body of a new link.
pub(crate) fn link(source: (&str, Uuid), relationship: &str, target: (&str, Uuid)) -> Value {
    let end = |(kind, id): (&str, Uuid)| json!({"type": kind, "id": id});
    json!({"source": end(source), "relationship": relationship, "target": end(target)})
}

/// An id in an answer.
pub(crate) fn uuid(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

/// A request, to be sent by somebody.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    path: String,
    body: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Ask {
    pub(crate) fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.parse().unwrap(), path: path.into(), body: None, headers: Vec::new() }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new("POST", path).body(body.to_string())
    }

    pub(crate) fn patch(path: impl Into<String>, body: Value) -> Self {
        Self::new("PATCH", path).body(body.to_string())
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path)
    }

    pub(crate) fn body(mut self, text: impl Into<String>) -> Self {
        self.body = Some(text.into());
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    /// The status must be this one.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The `id` of what was answered.
    #[track_caller]
    pub(crate) fn id(&self) -> Uuid {
        uuid(&self.json()["id"])
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// It must be a whole problem document with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        assert_eq!((self.status, document["type"].as_str()), (status, Some(&*urn(code))), "{}", self.body);
        assert_eq!(document["status"], status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            document["instance"].as_str(),
            self.header(CORRELATION),
            "the instance is the correlation id"
        );
        for member in ["title", "detail"] {
            assert!(
                document[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {}",
                self.body
            );
        }
        document
    }

    /// It must refuse exactly one field.
    #[track_caller]
    pub(crate) fn refuses(&self, pointer: &str) -> Value {
        let document = self.problem(422, "invalid-request");
        let pointers: Vec<&str> = document["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert_eq!(pointers, [pointer], "{}", self.body);
        document
    }

    /// All that a client can see, except what tells one request from another.
    pub(crate) fn apart_from_correlation(&self) -> String {
        let correlation = self.header(CORRELATION).unwrap().to_owned();
        let mut headers: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| ![CORRELATION, "date", "x-commit-token"].contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        headers.sort();
        format!(
            "{}\n{}\n\n{}",
            self.status,
            headers.join("\n"),
            self.body.replace(&correlation, "<correlation>")
        )
    }
}

fn urn(code: &str) -> String {
    format!("urn:formwork:problem:{code}")
}

/// Compares with a text file that is checked in beside the tests; `BLESS=1` writes it instead.
#[track_caller]
pub(crate) fn snapshot(name: &str, actual: &str) {
    let path = format!("{}/tests/it/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} reads differently now. If that is meant, run the test with BLESS=1 and review the change.\n{actual}"
    );
}
