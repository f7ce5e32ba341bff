//! `formwork tenant hold`, `release`, `holds`: who keeps a tenant from being deleted.

use clap::Args;
use formwork_tenancy::lifecycle::{LegalHold, Lifecycle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Failure, say,
    tenant_order::{Desk, Why},
};

#[derive(Debug, Args)]
pub(super) struct Hold {
    /// The tenant's slug.
    tenant: String,
    /// For whom it is kept: a court, a department.
    #[arg(long = "for", value_name = "HOLDER")]
    holder: String,
    #[command(flatten)]
    why: Why,
    /// Print the hold as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// The hold, as `holds` lists it.
    hold: Uuid,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
pub(super) struct Holds {
    /// The tenant's slug.
    tenant: String,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

impl Hold {
    pub(super) async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let order = self.why.order()?;
        let hold = life.hold(desk.tenant(&self.tenant).await?, &self.holder, &order).await?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&as_json(&hold))?);
        } else {
            say!("`{}` is on hold by {}: {}", self.tenant, hold.holder(), hold.id());
        }
        Ok(())
    }
}

impl Release {
    pub(super) async fn at(self, life: &Lifecycle) -> Result<(), Failure> {
        life.release(self.hold, &self.why.order()?).await?;
        say!("hold {} is released", self.hold);
        Ok(())
    }
}

impl Holds {
    pub(super) async fn at(self, desk: &Desk, life: &Lifecycle) -> Result<(), Failure> {
        let holds = life.holds(desk.tenant(&self.tenant).await?).await?;
        if self.json {
            let lines: Vec<Value> = holds.iter().map(as_json).collect();
            say!("{}", serde_json::to_string_pretty(&lines)?);
            return Ok(());
        }
        say!("{:<36}  {:<20}  holder: why (placed by)", "hold", "since");
        for hold in &holds {
            let since = hold.since().format("%Y-%m-%dT%H:%M:%SZ").to_string();
            say!("{}  {since:<20}  {}: {} ({})", hold.id(), hold.holder(), hold.reason(), hold.placed_by());
        }
        Ok(())
    }
}

fn as_json(hold: &LegalHold) -> Value {
    json!({
        "id": hold.id(), "holder": hold.holder(), "reason": hold.reason(), "placed_by": hold.placed_by(),
        "since": hold.since(),
    })
}
