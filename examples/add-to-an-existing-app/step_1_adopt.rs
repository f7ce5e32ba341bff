//! Makes the rows of the single tenant the first tenant's. Run once, as the owner of the tables, with the service
//! stopped: `step_1_adopt first "First customer"`.

use formwork_migrations::TENANCY;
use formwork_tenancy::{ControlPlane, Isolation, NewTenant};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

mod schema;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_OWNER_URL")?;
    let mut arguments = std::env::args().skip(1);
    let (Some(slug), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: step_1_adopt <slug> <name>".into());
    };

    // The registry of tenants, and the first one.
    let platform = ControlPlane::connect(&url, &[TENANCY]).await?;
    platform.migrate().await?;
    let tenant = platform.provision(&NewTenant::new(slug, name, Isolation::Shared)).await?;

    // Its rows: all of it or nothing. Of an identity, which is a UUID, nothing needs to be quoted.
    let mut owner = PgConnection::connect(&url).await?;
    let adopt = include_str!("step_1_adopt.sql").replace("{tenant}", &tenant.to_string());
    sqlx::raw_sql(AssertSqlSafe(format!("begin; {adopt}; commit"))).execute(&mut owner).await?;

    // The walls.
    ControlPlane::connect(&url, schema::SETS).await?.migrate().await?;
    println!("adopted by {tenant}");
    Ok(())
}
