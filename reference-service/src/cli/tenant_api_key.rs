//! `formwork tenant api-key`: keys by which programs name their tenant and themselves.

use std::time::Duration;

use clap::{Args, Subcommand};
use formwork_tenancy::{Actor, ApiKey as Key, ControlPlane, NewApiKey, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Failure, say,
    tenant::{print_table, tenant_of},
};
use crate::databases::Databases;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key, which is shown this once.
    Create(Create),
    /// The keys of a tenant, without what they are.
    List(List),
    /// Take a key back.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// The tenant's slug.
    tenant: String,
    /// What it is for.
    name: String,
    /// After how many days it is good no more [default: never].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in: Option<u32>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The tenant's slug.
    tenant: String,
    /// Print them as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The tenant's slug.
    tenant: String,
    /// The key's identity, as `list` shows it.
    key: Uuid,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

impl ApiKey {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let tenant = tenant_of(databases, self.tenant()).await?;
        let outcome = match self {
            Self::Create(create) => create.on(&control, tenant).await,
            Self::List(list) => list.on(&control, tenant).await,
            Self::Revoke(revoke) => revoke.on(&control, tenant).await,
        };
        control.close().await;
        outcome
    }

    fn tenant(&self) -> &str {
        match self {
            Self::Create(Create { tenant, .. }) | Self::List(List { tenant, .. }) => tenant,
            Self::Revoke(revoke) => &revoke.tenant,
        }
    }
}

impl Create {
    async fn on(self, control: &ControlPlane, tenant: TenantId) -> Result<(), Failure> {
        let mut new = NewApiKey::new(self.name, &Actor::system("command-line"));
        if let Some(days) = self.expires_in {
            new = new.lifetime(DAY * days);
        }
        let (key, secret) = control.create_api_key(tenant, &new).await?;
        if self.json {
            let shown = json!({ "id": key.id(), "key": secret.reveal(), "expires_at": key.expires_at() });
            say!("{}", serde_json::to_string_pretty(&shown)?);
        } else {
            say!("{}", secret.reveal());
            say!("this is key {} of `{}`: keep it, it is not shown again", key.id(), self.tenant);
        }
        Ok(())
    }
}

impl List {
    async fn on(self, control: &ControlPlane, tenant: TenantId) -> Result<(), Failure> {
        let keys = control.api_keys(tenant).await?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&keys.iter().map(as_json).collect::<Vec<_>>())?);
        } else {
            print_table(&table(&keys));
        }
        Ok(())
    }
}

impl Revoke {
    async fn on(self, control: &ControlPlane, tenant: TenantId) -> Result<(), Failure> {
        let (slug, key) = (&self.tenant, self.key);
        let revoked = control.revoke_api_key(tenant, key, &Actor::system("command-line")).await?;
        if !revoked {
            return Err(format!("`{slug}` has no key {key} that could be revoked").into());
        }
        if self.json {
            say!("{}", json!({ "id": key, "outcome": "revoked" }));
        } else {
            say!("key {key} of `{slug}` is revoked");
        }
        Ok(())
    }
}

fn as_json(key: &Key) -> Value {
    json!({
        "id": key.id(),
        "name": key.name(),
        "hint": key.hint(),
        "created_by": key.created_by(),
        "created_at": key.created_at(),
        "expires_at": key.expires_at(),
        "revoked_at": key.revoked_at(),
    })
}

fn table(keys: &[Key]) -> Vec<Vec<String>> {
    let mut lines =
        vec![["KEY", "NAME", "TEXT", "CREATED", "EXPIRES", "REVOKED"].map(str::to_owned).to_vec()];
    for key in keys {
        let day = |at: Option<chrono::DateTime<chrono::Utc>>| {
            at.map_or("-".to_owned(), |at| at.format("%F").to_string())
        };
        let times = [Some(key.created_at()), key.expires_at(), key.revoked_at()].map(day);
        lines.push(
            [key.id().to_string(), key.name().to_owned(), key.hint()].into_iter().chain(times).collect(),
        );
    }
    lines
}
