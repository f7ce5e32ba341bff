//! How does another part of the system, such as a search index, come to know what has changed?
//!
//! A watch gives the committed changes of one tenant with a checkpoint. Here the index is a table of the same database, and
//! the checkpoint is stored in the transaction that changes it: each change is handled exactly once, also if the
//! program is killed anywhere.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin watch_changes`.

use formwork_authz::{Authz, Change, Changes, Filter, Schema, Watch, Write, rel};
use formwork_migrations::{AUTHZ, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, Session, TenantTx, testing::TestDatabase};
use serde_json::json;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const SCHEMA: &str = "
  definition user {}
  definition team { relation member: user }
  definition document { relation reader: user | team#member }";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, index_tables()?]).await;
    let authz = Authz::new(Schema::parse(SCHEMA)?);
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::user(Uuid::from_u128(1)));
    let documents = || authz.watch(db.tenants(), &session).only(Filter::of_type("document"));

    // A watch begins with now: so its first checkpoint is taken before anything else is read.
    let mut watch = documents();
    let begin = watch.look().await?;
    let mut tx = db.tenants().begin(&session).await?;
    index(&mut tx, &begin).await?;
    tx.commit().await?;

    let mut tx = db.tenants().begin(&session).await?;
    let write = Write::new()
        .create(rel!("document:plan#reader@user:anna"))
        .create(rel!("document:plan#reader@team:site#member"))
        .create(rel!("team:site#member@user:bob"))
        .metadata(json!({ "request": "share-1" }));
    authz.write(&mut tx, &write).await?;
    tx.commit().await?;

    let mut rolled_back = db.tenants().begin(&session).await?;
    authz.touch(&mut rolled_back, &rel!("document:secret#reader@user:eve")).await?;
    rolled_back.rollback().await?;

    follow(&mut watch, &session, &db, "first").await?;

    // The program ends here, and later another one goes on from what is stored.
    drop(watch);
    let mut tx = db.tenants().begin(&session).await?;
    authz.delete(&mut tx, &rel!("document:plan#reader@user:anna")).await?;
    tx.commit().await?;
    let mut tx = db.tenants().begin_read(&session).await?;
    let kept: String = sqlx::query_scalar("select checkpoint from index_state").fetch_one(&mut *tx).await?;
    drop(tx);
    follow(&mut documents().from(kept.parse()?), &session, &db, "second").await?;

    let mut tx = db.tenants().begin_read(&session).await?;
    let rows: Vec<String> = sqlx::query_scalar("select document || ' ' || reader from readers order by 1")
        .fetch_all(&mut *tx)
        .await?;
    println!("in the index: {}", rows.join(", "));
    Ok(())
}

/// One batch; `next` waits for it, so a program would do this for ever.
async fn follow(watch: &mut Watch, session: &Session, db: &TestDatabase, name: &str) -> Result<(), Failure> {
    let batch = watch.next().await?;
    for watched in batch.changes() {
        let request = watched.metadata.as_ref().and_then(|data| data.get("request")?.as_str()).unwrap_or("-");
        let (sign, fact) = match &watched.change {
            Change::Touch(fact) => ('+', fact),
            Change::Delete(fact) => ('-', fact),
        };
        println!("{name}: {sign} {fact}, asked for by {request}");
    }
    let mut tx = db.tenants().begin(session).await?;
    index(&mut tx, &batch).await?;
    tx.commit().await?;
    Ok(())
}

/// The changes and the checkpoint behind them, in one transaction.
async fn index(tx: &mut TenantTx, batch: &Changes) -> Result<(), Failure> {
    for watched in batch.changes() {
        let (sql, fact) = match &watched.change {
            Change::Touch(fact) => {
                ("insert into readers (document, reader) values ($1, $2) on conflict do nothing", fact)
            }
            Change::Delete(fact) => ("delete from readers where document = $1 and reader = $2", fact),
        };
        let (document, reader) = (fact.object().id(), fact.subject().to_string());
        sqlx::query(sql).bind(document).bind(reader).execute(&mut **tx).await?;
    }
    let keep = "insert into index_state (one, checkpoint) values (1, $1)
                on conflict (tenant_id, one) do update set checkpoint = excluded.checkpoint";
    sqlx::query(keep).bind(batch.checkpoint().to_string()).execute(&mut **tx).await?;
    Ok(())
}

fn index_tables() -> Result<Set, Failure> {
    let tenant =
        "tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid";
    let sql = format!(
        "create table readers ({tenant}, document text, reader text, primary key (tenant_id, document, reader));
         create table index_state ({tenant}, one int, checkpoint text not null, primary key (tenant_id, one));
         {}{}",
        TenantTable::new("readers").sql()?,
        TenantTable::new("index_state").sql()?
    );
    let home = vec![Migration { version: 1, name: "index", sql: sql.leak() }];
    Ok(Set { name: "example/index", platform: &[], database: &[], home: home.leak() })
}
