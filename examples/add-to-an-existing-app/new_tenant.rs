//! Makes a tenant: `new_tenant bolt "Bolt Ltd" schema`. Run as the owner.

use formwork_tenancy::{ControlPlane, NewTenant, doctor::DoctorConfig};

mod schema;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let control = ControlPlane::connect(&std::env::var("DATABASE_OWNER_URL")?, schema::SETS).await?;
    let mut arguments = std::env::args().skip(1);
    let (Some(slug), Some(name), Some(isolation)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: new_tenant <slug> <name> shared|schema".into());
    };
    let tenant = control.provision(&NewTenant::new(slug, name, isolation.parse()?)).await?;
    println!("made {tenant}");

    // Is every wall where it should be, and is every home what it should be?
    let report = control.doctor(&DoctorConfig::new()).await?;
    print!("{report}\n{}", control.fleet().drift().await?);
    if !report.is_healthy() {
        return Err("not healthy".into());
    }
    Ok(())
}
