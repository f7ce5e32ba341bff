//! How does an application with tables of its own get an audit trail, and nothing else?
//!
//! It keeps its tables where they are. What is new: the trail's own schema, a tenant to write it for (here one, for the
//! whole application), and transactions that are begun by `Tenants`.
//!
//! Runs on a Postgres of its own: `cargo run -p formwork-examples --bin audit_alone`.

use formwork_audit::{
    Action, Actions, Audit, Event, Export, ExportFormat, FieldRules, Filter,
    seal::{SealKey, Sealer, Verifier},
};
use formwork_migrations::{AUDIT, TENANCY};
use formwork_tenancy::{
    Actor, ControlPlane, Isolation, NewTenant, Session, Tenants, local_postgres::LocalRole,
    testing::TestDatabase,
};
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

const PAID: Action = Action::new("invoice.paid").fields(FieldRules::all().masking(&["iban"]));
const ACTIONS: Actions = Actions::new(&[PAID]);

/// A row of the application's own table.
#[derive(Debug, Clone, Serialize, FromRow)]
struct Invoice {
    id: Uuid,
    customer: String,
    iban: Option<String>,
    is_paid: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    // An application as it was before: a table, and rows.
    let server = TestDatabase::new(&[TENANCY]).await;
    let (owner, app) = (server.options(LocalRole::Owner).await, server.options(LocalRole::App).await);
    let before = sqlx::PgPool::connect_with(server.options(LocalRole::Superuser).await).await?;
    sqlx::raw_sql(
        "create table public.invoices (id uuid primary key, customer text not null, iban text, is_paid bool not null);
         grant usage on schema public to formwork_app;
         grant select, insert, update on public.invoices to formwork_app",
    )
    .execute(&before)
    .await?;
    let invoice = Uuid::now_v7();
    sqlx::query("insert into public.invoices values ($1, 'Acme', null, false)")
        .bind(invoice)
        .execute(&before)
        .await?;

    // Once: the trail's tables, and the one tenant whose trail it is.
    let control = ControlPlane::connect_with(owner, &[TENANCY, AUDIT]).await?;
    control.migrate().await?;
    let tenant = control.provision(&NewTenant::new("main", "The application", Isolation::Shared)).await?;

    let tenants = Tenants::builder().connect_with(app).await?;
    let tenant = tenants.by_id(tenant).await?.ok_or("the tenant is there")?;
    let audit = Audit::new().actions(ACTIONS);
    let session = Session::new(&tenant, Actor::user(Uuid::from_u128(7))).request_id("request-1");

    pay(&tenants, &audit, &session, invoice, "DE89 3704", true).await?;
    // What fails leaves neither the change nor the event.
    let undone = pay(&tenants, &audit, &session, invoice, "DE00 0000", false).await;
    println!("refused: {}", undone.is_err());

    let mut tx = tenants.begin(&session).await?;
    for event in audit.history(&mut tx, ("invoice", invoice), None, 10).await?.events {
        let fields = |fields: Option<serde_json::Value>| fields.unwrap_or_default();
        println!(
            "{} by {}: {} -> {}",
            event.action,
            event.actor_type,
            fields(event.before),
            fields(event.after)
        );
    }
    let mut export = Export::begin(&audit, &mut tx, ExportFormat::Csv, Filter::default()).await?;
    let mut lines = 0;
    while let Some(piece) = export.next(&audit, &mut tx).await? {
        lines += piece.lines().count();
    }
    println!("exported: {} event in {lines} lines", export.written());
    tx.commit().await?;

    // The proof that nobody has changed it since.
    let key = SealKey::from_seed(&[7; 32]);
    let mut tx = tenants.begin(&session).await?;
    let sealed = Sealer::new(key.clone()).seal(&mut tx).await?;
    tx.commit().await?;
    let mut tx = tenants.begin_read(&session).await?;
    let found = Verifier::new([key.public()]).verify(&mut tx).await?;
    println!("sealed: {} events, intact: {}", sealed.events(), found.is_intact());
    Ok(())
}

/// The change and what is told of it, in one transaction.
async fn pay(
    tenants: &Tenants,
    audit: &Audit,
    session: &Session,
    invoice: Uuid,
    iban: &str,
    is_valid: bool,
) -> Result<(), Failure> {
    let mut tx = tenants.begin(session).await?;
    let one = "select * from public.invoices where id = $1 for update";
    let before: Invoice = sqlx::query_as(one).bind(invoice).fetch_one(&mut *tx).await?;
    let after: Invoice =
        sqlx::query_as("update public.invoices set is_paid = true, iban = $2 where id = $1 returning *")
            .bind(invoice)
            .bind(iban)
            .fetch_one(&mut *tx)
            .await?;
    let event = Event::of(&PAID).target(("invoice", invoice)).diff(&before, &after)?;
    audit.record(&mut tx, event).await?;
    if !is_valid {
        return Err("the bank has refused it".into());
    }
    tx.commit().await?;
    Ok(())
}
