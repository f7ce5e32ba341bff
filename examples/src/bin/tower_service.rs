//! How does a tower service, without a web framework, get the tenant of each request?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin tower_service`.

use std::convert::Infallible;

use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, Isolation, NewApiKey, NewTenant, Resolution, ResolveLayer, Resolver, Session, StorageError,
    Tenants, TrustedCaller, testing::TestDatabase,
};
use http::{HeaderName, Request, Response, StatusCode, request::Builder};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

type Failure = Box<dyn std::error::Error>;
type App = BoxCloneService<Request<()>, Response<String>, Infallible>;

/// Who names the tenant, in which order, and what is answered when nobody does. All who do must agree.
fn app(tenants: Tenants) -> Result<App, Failure> {
    let resolver = Resolver::builder(&tenants)
        .host()
        .path("/t")
        .header(HeaderName::from_static("x-tenant"))
        .api_key(HeaderName::from_static("x-api-key"))
        .shared_host("api.example.com")
        .refuse_untrusted()
        .build()?;
    let layer = ResolveLayer::answering(resolver, |error, _| answer(error.status(), error.code().to_owned()));
    let boards = service_fn(move |request| boards(tenants.clone(), request));
    Ok(ServiceBuilder::new().layer(layer.strip_path()).service(boards).boxed_clone())
}

/// The application. It is called with a tenant or not at all.
async fn boards(tenants: Tenants, request: Request<()>) -> Result<Response<String>, Infallible> {
    let Some(resolution) = request.extensions().get::<Resolution>() else {
        return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, "no tenant".to_owned()));
    };
    let notes = match notes(&tenants, resolution).await {
        Ok(1) => "1 note".to_owned(),
        Ok(count) => format!("{count} notes"),
        Err(error) => return Ok(answer(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    };
    let named_by: Vec<_> = resolution.named_by().iter().map(|source| source.as_str()).collect();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let name = resolution.tenant().name();
    Ok(answer(StatusCode::OK, format!("{name} ({}): {path}, {notes}", named_by.join(", "))))
}

async fn notes(tenants: &Tenants, resolution: &Resolution) -> Result<i64, StorageError> {
    let actor = resolution.actor().unwrap_or_else(|| Actor::system("boards"));
    let mut tx = tenants.begin_read(&Session::new(resolution.tenant(), actor)).await?;
    Ok(sqlx::query_scalar("select count(*) from notes").fetch_one(&mut *tx).await?)
}

fn answer(status: StatusCode, text: String) -> Response<String> {
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, notes_table()?]).await;
    let tenants = db.connect(Tenants::builder().base_domain("example.com")).await;
    let control = db.control().clone().base_domain("example.com")?;
    let operator = Actor::system("example");
    let acme = control.provision(&NewTenant::new("acme", "Acme", Isolation::Shared)).await?;
    control.provision(&NewTenant::new("bolt", "Bolt", Isolation::Schema)).await?;
    let entry = tenants.by_id(acme).await?.ok_or("acme is known")?;
    let mut tx = tenants.begin(&Session::new(&entry, operator.clone())).await?;
    sqlx::query("insert into notes (body) values ('pour the slab')").execute(&mut *tx).await?;
    tx.commit().await?;

    // The owner of a domain shows it by a record in DNS; here, as if it had been found there.
    let claim = control.add_domain(acme, "build.acme.example").await?;
    control.verify_domain(acme, claim.host(), &[claim.record_value()], &operator).await?;
    let (_, key) = control.create_api_key(acme, &NewApiKey::new("export", &operator)).await?;
    let (old, revoked) = control.create_api_key(acme, &NewApiKey::new("old export", &operator)).await?;
    control.revoke_api_key(acme, old.id(), &operator).await?;

    let mut app = app(tenants)?;
    let get = |host: &str, path: &str| Request::get(path).header("host", host);
    let (api, x_tenant) = ("api.example.com", "x-tenant");
    let requests: [(&str, Builder); 9] = [
        ("", get("acme.example.com", "/boards")),
        ("", get("build.acme.example", "/boards")),
        ("", get(api, "/t/bolt/boards?page=2")),
        (" with a key", get(api, "/boards").header("x-api-key", key.reveal())),
        // Set by whoever knows the caller: from a client's certificate, or on an internal listener.
        (" from our gateway", get(api, "/boards").header(x_tenant, "bolt").extension(TrustedCaller)),
        (" with a header of a stranger's", get("acme.example.com", "/boards").header(x_tenant, "bolt")),
        (" with acme's key", get("bolt.example.com", "/boards").header("x-api-key", key.reveal())),
        ("", get("nobody.example.com", "/boards")),
        (" with a revoked key", get(api, "/boards").header("x-api-key", revoked.reveal())),
    ];
    for (what, request) in requests {
        let request = request.body(())?;
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let target = format!("{host}{}{what}", request.uri());
        let answer = app.ready().await?.call(request).await?;
        println!("{target} -> {} {}", answer.status().as_u16(), answer.body());
    }
    Ok(())
}

/// The application's own table, with the generated row security.
fn notes_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table notes (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null default gen_random_uuid(), body text not null, primary key (tenant_id, id));
         {}",
        TenantTable::new("notes").sql()?
    );
    let home = vec![Migration { version: 1, name: "notes", sql: sql.leak() }];
    Ok(Set { name: "example/notes", platform: &[], database: &[], home: home.leak() })
}
