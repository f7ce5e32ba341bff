//! Who wants a change of a tenant, and why: asked for where it was not said, and never guessed.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use formwork_tenancy::{Actor, ControlPlane, TenantId, Tenants, lifecycle::Order};

use super::Failure;
use crate::databases::Databases;

/// What every command says that changes what a tenant is.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// Why: the tenant reads it in its own audit trail. Asked for on a terminal.
    #[arg(long)]
    reason: Option<String>,
    /// Who wants it, as it stands in the audit trail.
    #[arg(long, env = "USER", default_value = "command line", value_name = "NAME")]
    by: String,
}

impl Why {
    pub(super) fn order(&self) -> Result<Order, Failure> {
        Ok(Order::new(&self.actor(), self.reason()?))
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::system(self.by.trim())
    }

    pub(super) fn reason(&self) -> Result<String, Failure> {
        match &self.reason {
            Some(reason) => Ok(reason.clone()),
            None => ask("why? (the tenant reads it) ")?.ok_or_else(|| "say why, with --reason TEXT".into()),
        }
    }
}

/// What cannot be taken back is confirmed by typing the slug, where it was not said beforehand.
pub(super) fn confirm(slug: &str, yes: bool, what: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match ask(&format!("{what} Type `{slug}` to go on: "))? {
        None => Err(format!("{what} Confirm it with --yes").into()),
        Some(typed) if typed == slug => Ok(()),
        Some(_) => Err(format!("that is not `{slug}`: nothing was done").into()),
    }
}

/// A line that somebody types; none where nobody can.
fn ask(question: &str) -> Result<Option<String>, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(None);
    }
    let mut output = std::io::stderr().lock();
    write!(output, "{question}")?;
    output.flush()?;
    let mut line = String::new();
    input.lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

/// What a command on one tenant works with.
pub(super) struct Desk {
    pub(super) control: ControlPlane,
    pub(super) tenants: Tenants,
}

impl Desk {
    pub(super) async fn open(databases: &Databases) -> Result<Self, Failure> {
        let control = databases.control().await?;
        Ok(Self { control, tenants: databases.tenants(Tenants::builder()).await? })
    }

    pub(super) async fn tenant(&self, slug: &str) -> Result<TenantId, Failure> {
        let found = self.tenants.by_slug(slug).await?;
        Ok(found.ok_or_else(|| format!("there is no tenant `{slug}`"))?.id())
    }

    pub(super) async fn close(self) {
        self.tenants.close().await;
        self.control.close().await;
    }
}
