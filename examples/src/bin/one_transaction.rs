//! How do a row, its permission, a link and the audit event become one transaction?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin one_transaction`.

use async_trait::async_trait;
use formwork_audit::{Audit, Event, Filter};
use formwork_authz::{Authz, Object, Schema, rel};
use formwork_entity_links::{EntityResolver, Link, LinkType, LinkTypes, Links};
use formwork_migrations::{AUDIT, AUTHZ, ENTITY_LINKS, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, Session, StorageError, TenantTx, Tenants, testing::TestDatabase};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const SCHEMA: &str = "
  definition user {}
  definition note {
    relation author: user
    relation reader: user
    permission view = reader + author
    permission link = author
  }";

/// Finds the application's entities: here, notes.
#[derive(Debug)]
struct Notes;

#[async_trait]
impl EntityResolver for Notes {
    async fn existing(&self, tx: &mut TenantTx, kind: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, StorageError> {
        let sql = "select id from notes where $1 = 'note' and id = any($2) for share";
        Ok(sqlx::query_scalar(sql).bind(kind).bind(ids).fetch_all(&mut **tx).await?)
    }
}

struct App {
    tenants: Tenants,
    authz: Authz,
    audit: Audit,
    links: Links,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, AUDIT, ENTITY_LINKS, notes_table()?]).await;
    let authz = Authz::new(Schema::parse(SCHEMA)?);
    let audit = Audit::new();
    let types = LinkTypes::new().with(LinkType::new("answers", "answered_by"))?;
    let links = Links::new(authz.clone(), audit.clone(), types, Notes);
    let app = App { tenants: db.tenants().clone(), authz, audit, links };

    // One tenant's rows stand in the shared schema, the other has a schema of its own.
    let acme = db.tenant("acme", Isolation::Shared).await;
    let bolt = db.tenant("bolt", Isolation::Schema).await;
    let anna = Uuid::now_v7();
    let at_acme = Session::new(&acme, Actor::user(anna)).request_id("example-1");

    let question = write(&app, &at_acme, "Which rebar?", None).await?;
    let answer = write(&app, &at_acme, "16 mm, see sheet S-201", Some(question)).await?;

    let at_bolt = Session::new(&bolt, Actor::user(anna));
    for session in [&at_acme, &at_bolt] {
        let mut tx = app.tenants.begin_read(session).await?;
        let rows: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&mut *tx).await?;
        let view = app.authz.check(&mut tx, session.actor(), "view", &Object::new("note", answer)).await?;
        let events = app.audit.list(&mut tx, &Filter::default(), None, 50).await?.events.len();
        println!(
            "{}: {rows} notes, may view: {}, {events} audit events",
            session.tenant().slug(),
            view.is_allowed()
        );
    }
    Ok(())
}

/// The row, the permission, the link and the audit event: all or nothing.
async fn write(app: &App, session: &Session, body: &str, answers: Option<Uuid>) -> Result<Uuid, Failure> {
    let mut tx = app.tenants.begin(session).await?;
    let note = Uuid::now_v7();
    let author = session.actor().id();
    sqlx::query("insert into notes (id, body) values ($1, $2)")
        .bind(note)
        .bind(body)
        .execute(&mut *tx)
        .await?;
    app.authz.touch(&mut tx, &rel!("note:{note}#author@user:{author}")).await?;
    if let Some(question) = answers {
        // Asks for `link` on both ends, and sees the tuple that was written a line above.
        app.links.link(&mut tx, Link::new(("note", note), "answers", ("note", question))).await?;
    }
    app.audit.record(&mut tx, Event::new("note.written").target(("note", note))).await?;
    let token = tx.commit().await?;
    println!("stored in transaction {:?}", token.xid());
    Ok(note)
}

/// The application's own table, with the generated row security.
fn notes_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table notes (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null, body text not null, primary key (tenant_id, id));
         {}",
        TenantTable::new("notes").sql()?
    );
    let home = vec![Migration { version: 1, name: "notes", sql: sql.leak() }];
    Ok(Set { name: "example/notes", platform: &[], database: &[], home: home.leak() })
}
