//! How does a job keep the tenant, and the person for whom it is done?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin tenant_job`.

use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, Envelope, Isolation, OutboxEvent, PublishedEvent, Session, Tenants, testing::TestDatabase,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// To print a note: what to do, and the context in which it was asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Print {
    note: Uuid,
    envelope: Envelope,
}

/// A request: the note and the job that prints it are stored together, or neither is.
async fn request(tenants: &Tenants, session: &Session, body: &str) -> Result<Uuid, Failure> {
    let note = Uuid::now_v7();
    let mut tx = tenants.begin(session).await?;
    sqlx::query("insert into notes (id, body) values ($1, $2)")
        .bind(note)
        .bind(body)
        .execute(&mut *tx)
        .await?;
    tx.publish(&[job(note, session)?]).await?;
    tx.commit().await?;
    Ok(note)
}

fn job(note: Uuid, session: &Session) -> Result<OutboxEvent, Failure> {
    let print = Print { note, envelope: session.envelope(None) };
    Ok(OutboxEvent::new("note.print", serde_json::to_value(print)?))
}

/// The worker. An event may come again, so what it does can be done twice.
async fn work(tenants: &Tenants, event: &PublishedEvent) -> Result<String, Failure> {
    let Print { note, envelope } = serde_json::from_value(event.payload().clone())?;
    // The database vouches for whose event it is, and nobody for what is written in it.
    if envelope.tenant() != event.tenant() {
        return Ok("dropped: the envelope is another tenant's".to_owned());
    }
    // The tenant as it is now: it may have moved since, and one that is suspended gets no session.
    let session = tenants.session_of(&envelope).await?;
    let mut tx = tenants.begin(&session).await?;
    sqlx::query("update notes set printed_for = $2 where id = $1")
        .bind(note)
        .bind(session.actor().to_string())
        .execute(&mut *tx)
        .await?;
    let token = tx.commit().await?;

    // With the token a read sees what was just written, also where a replica answers it.
    let session = session.at_least(&token);
    let mut tx = tenants.begin_read(&session).await?;
    let printed: Option<(String, String)> =
        sqlx::query_as("select body, printed_for from notes where id = $1")
            .bind(note)
            .fetch_optional(&mut *tx)
            .await?;
    let what = match printed {
        Some((body, person)) => format!("`{body}` printed for {person}"),
        None => "there is no such note".to_owned(),
    };
    let asked_in = session.correlation().unwrap_or("no request");
    Ok(format!("{}: {what}, asked in {asked_in}", session.tenant().slug()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, notes_table()?]).await;
    let tenants = db.tenants();
    let acme = db.tenant("acme", Isolation::Shared).await;
    let bolt = db.tenant("bolt", Isolation::Schema).await;
    let at_acme = Session::new(&acme, Actor::user(Uuid::from_u128(0xa))).request_id("request-1");
    let at_bolt = Session::new(&bolt, Actor::user(Uuid::from_u128(0xb))).request_id("request-2");
    request(tenants, &at_acme, "pour the slab").await?;
    let bolts_note = request(tenants, &at_bolt, "paint the door").await?;

    // Somebody at acme reaches for bolt's note: by its id, and by an envelope of bolt's.
    let forged = [job(bolts_note, &at_acme)?, job(bolts_note, &at_bolt)?];
    let mut tx = tenants.begin(&at_acme).await?;
    tx.publish(&forged).await?;
    tx.commit().await?;

    // In a process of its own, with a login that reads the events of all tenants and nothing else of theirs.
    let mut printer = db.relay().await.follow_outbox("printer");
    let mut done = 0;
    while done < 4 {
        let batch = printer.next().await?;
        for event in batch.rows() {
            println!("{}", work(tenants, event).await?);
        }
        printer.confirm(&batch).await?;
        done += batch.rows().len();
    }

    // Within a tenant its own events are all there is.
    for session in [&at_acme, &at_bolt] {
        let mut tx = tenants.begin_read(session).await?;
        let events: i64 =
            sqlx::query_scalar("select count(*) from platform.outbox").fetch_one(&mut *tx).await?;
        println!("{} sees {events} of 4 events", session.tenant().slug());
    }
    Ok(())
}

/// The application's own table, with the generated row security.
fn notes_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table notes (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null, body text not null, printed_for text, primary key (tenant_id, id));
         {}",
        TenantTable::new("notes").sql()?
    );
    let home = vec![Migration { version: 1, name: "notes", sql: sql.leak() }];
    Ok(Set { name: "example/notes", platform: &[], database: &[], home: home.leak() })
}
