//! How does Postgres sort, page and count only what somebody may see?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin list_as_sql`.

use formwork_authz::{Authz, Object, ObjectFilter, Relationship, Schema, Subject};
use formwork_migrations::{AUTHZ, Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{Actor, Isolation, Session, TenantTx, testing::TestDatabase};
use sea_query::{Expr, ExprTrait, Order, PostgresQueryBuilder, Query};
use sea_query_sqlx::SqlxBinder;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const SCHEMA: &str = "
  definition user {}
  definition team { relation member: user }
  definition note {
    relation reader: user | team#member
    relation barred: user
    permission view = reader - barred
  }";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, AUTHZ, notes_table()?]).await;
    let authz = Authz::new(Schema::parse(SCHEMA)?);
    let acme = db.tenant("acme", Isolation::Shared).await;
    let anna = Actor::user(Uuid::now_v7());
    let session = Session::new(&acme, anna);

    let mut tx = db.tenants().begin(&session).await?;
    write(&authz, &mut tx, session.actor()).await?;
    tx.commit().await?;

    let mut tx = db.tenants().begin_read(&session).await?;
    let seen = authz.filter(&mut tx, session.actor(), "view", "note").await?.of_uuids();
    println!("{} notes in all", count(&mut tx, &seen).await?);
    let mut after = String::new();
    loop {
        let titles = page(&mut tx, &seen, &after).await?;
        let Some(last) = titles.last() else { break };
        println!("{}", titles.join(", "));
        after.clone_from(last);
    }
    Ok(())
}

/// Ten notes: the team reads all but the last, and Anna of the team is barred from the second.
async fn write(authz: &Authz, tx: &mut TenantTx, anna: &Actor) -> Result<(), Failure> {
    let anna = Subject::from(anna);
    let readers = Subject::userset("team", "site", "member");
    let mut facts = vec![Relationship::new(Object::new("team", "site"), "member", anna.clone())];
    for n in 1..=10 {
        let id = Uuid::now_v7();
        sqlx::query("insert into notes (id, title) values ($1, $2)")
            .bind(id)
            .bind(format!("note {n:02}"))
            .execute(&mut **tx)
            .await?;
        let note = Object::new("note", id);
        if n == 2 {
            facts.push(Relationship::new(note.clone(), "barred", anna.clone()));
        }
        if n < 10 {
            facts.push(Relationship::new(note, "reader", readers.clone()));
        }
    }
    authz.touch_many(tx, &facts).await?;
    Ok(())
}

/// Three titles behind the last one.
async fn page(tx: &mut TenantTx, seen: &ObjectFilter, after: &str) -> Result<Vec<String>, Failure> {
    let (text, values) = Query::select()
        .column("title")
        .from("notes")
        .and_where(seen.on(Expr::col("id")))
        .and_where(Expr::col("title").gt(after))
        .order_by("title", Order::Asc)
        .limit(3)
        .to_owned()
        .build_sqlx(PostgresQueryBuilder);
    Ok(sqlx::query_scalar_with(AssertSqlSafe(text), values).fetch_all(&mut **tx).await?)
}

/// The same condition as text, without sea-query.
async fn count(tx: &mut TenantTx, seen: &ObjectFilter) -> Result<i64, Failure> {
    let (condition, values) = seen.sql("id", 1);
    let text = format!("select count(*) from notes where {condition}");
    let query = sqlx::query_scalar(AssertSqlSafe(text));
    let query = values.into_iter().fold(query, |query, value| query.bind(value));
    Ok(query.fetch_one(&mut **tx).await?)
}

fn notes_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table notes (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null, title text not null, primary key (tenant_id, id));
         create index notes_by_title on notes (tenant_id, title);
         {}",
        TenantTable::new("notes").sql()?
    );
    let home = vec![Migration { version: 1, name: "notes", sql: sql.leak() }];
    Ok(Set { name: "example/notes", platform: &[], database: &[], home: home.leak() })
}
