//! How is a personal field sealed under its tenant's own key, found again, and made unreadable for good?
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin encrypted_fields`.

use formwork_migrations::{Migration, Set, TENANCY, TenantTable};
use formwork_tenancy::{
    Actor, Isolation, Session, Tenants, field,
    keys::{Field, IndexedColumn, Keys, LocalKeyFile, Sealed, SealedColumn, normalise},
    testing::TestDatabase,
};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Emails are found whatever their case; the column holds no email, only what equal ones have in common.
const EMAIL: IndexedColumn = IndexedColumn::new("people", "email").normalised(normalise::ignoring_case);
const PASSPORT: SealedColumn = SealedColumn::new("people", "passport");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let db = TestDatabase::new(&[TENANCY, people_table()?]).await;
    let tenants = db.tenants();
    let folder = tempfile::tempdir()?;
    // The keys that wrap the tenants' keys: outside of the database, mode 0600. `AwsKms` is the other provider.
    let keys = Keys::new(LocalKeyFile::open_or_create(folder.path().join("keys.json"))?);

    let acme = Session::new(&db.tenant("acme", Isolation::Shared).await, Actor::system("example"));
    let bolt = Session::new(&db.tenant("bolt", Isolation::Schema).await, Actor::system("example"));
    let anna = add(tenants, &keys, &acme, "Anna", "anna@example.com", "X1234567").await?;
    let bob = add(tenants, &keys, &acme, "Bob", "bob@example.com", "Y7654321").await?;

    let mut tx = tenants.begin_read(&acme).await?;
    let sealed: Sealed<String> = sqlx::query_scalar("select passport from people where id = $1")
        .bind(anna)
        .fetch_one(&mut *tx)
        .await?;
    let opened = keys.open(&mut tx, &sealed, passport_of(anna)).await?;
    println!("acme: in the database {sealed:?}, opened {opened}");
    if let Err(error) = keys.open(&mut tx, &sealed, passport_of(bob)).await {
        println!("in another row: {error}");
    }
    drop(tx);

    for session in [&acme, &bolt] {
        let found = find(tenants, &keys, session, " Anna@Example.com").await?;
        println!("{}: found by email: {}", session.tenant().slug(), found.as_deref().unwrap_or("nobody"));
    }

    // A new data key; the old values are sealed anew, page by page, each page a transaction.
    let mut tx = tenants.begin(&acme).await?;
    keys.rotate(&mut tx).await?;
    tx.commit().await?;
    let mut after = None;
    loop {
        let mut tx = tenants.begin(&acme).await?;
        let page = keys.reseal(&mut tx, &PASSPORT, after, 500).await?;
        tx.commit().await?;
        after = page.next();
        if after.is_none() {
            break;
        }
    }
    let mut tx = tenants.begin_read(&acme).await?;
    let anew: Sealed<String> = sqlx::query_scalar("select passport from people where id = $1")
        .bind(anna)
        .fetch_one(&mut *tx)
        .await?;
    let opened = keys.open(&mut tx, &anew, passport_of(anna)).await?;
    println!("under a new key: {opened}, version {}", anew.key_version().unwrap_or_default());
    drop(tx);

    // For good, and in every backup of the database.
    keys.shred(tenants, &acme).await?;
    let mut tx = tenants.begin_read(&acme).await?;
    if let Err(error) = keys.open(&mut tx, &anew, passport_of(anna)).await {
        println!("shredded: {error}");
    }
    Ok(())
}

fn passport_of(id: Uuid) -> Field<'static> {
    field!("people", "passport", id)
}

/// One transaction: with the tenant's keys in memory, sealing asks nothing of anybody.
async fn add(
    tenants: &Tenants,
    keys: &Keys,
    session: &Session,
    name: &str,
    email: &str,
    passport: &str,
) -> Result<Uuid, Failure> {
    let id = Uuid::now_v7();
    let mut tx = tenants.begin(session).await?;
    let sealed = keys.seal(&mut tx, passport, passport_of(id)).await?;
    let index = keys.blind_index(&mut tx, &EMAIL, email).await?;
    sqlx::query("insert into people (id, name, passport, email_index) values ($1, $2, $3, $4)")
        .bind(id)
        .bind(name)
        .bind(&sealed)
        .bind(&index)
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    Ok(id)
}

async fn find(
    tenants: &Tenants,
    keys: &Keys,
    session: &Session,
    email: &str,
) -> Result<Option<String>, Failure> {
    let mut tx = tenants.begin_read(session).await?;
    let index = keys.blind_index_to_find(&mut tx, &EMAIL, email).await?;
    let sql = "select name from people where email_index = $1";
    Ok(sqlx::query_scalar(sql).bind(index).fetch_optional(&mut *tx).await?)
}

/// The application's own table, with the generated row security.
fn people_table() -> Result<Set, Failure> {
    let sql = format!(
        "create table people (
           tenant_id uuid not null default nullif(current_setting('app.current_tenant', true), '')::uuid,
           id uuid not null, name text not null, passport bytea, email_index bytea, primary key (tenant_id, id));
         create index people_by_email on people (tenant_id, email_index);
         {}",
        TenantTable::new("people").sql()?
    );
    let home = vec![Migration { version: 1, name: "people", sql: sql.leak() }];
    Ok(Set { name: "example/people", platform: &[], database: &[], home: home.leak() })
}
