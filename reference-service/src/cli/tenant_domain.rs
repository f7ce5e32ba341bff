//! `formwork tenant domain`: a tenant's own domains. DNS is asked by whoever runs the command.

use clap::{Args, Subcommand};
use formwork_tenancy::{Actor, ControlPlane, DomainClaim, TenantId};
use serde_json::{Value, json};

use super::{
    Failure, say,
    tenant::{print_table, tenant_of},
};
use crate::databases::Databases;

#[derive(Debug, Subcommand)]
pub(super) enum Domain {
    /// Claim a domain; says which TXT record proves it.
    Add(Add),
    /// Take a claimed domain into service, once its TXT record stands in DNS.
    Verify(Verify),
    /// The domains of a tenant.
    List(List),
    /// Remove a domain, proven or not.
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Named {
    /// The tenant's slug.
    tenant: String,
    /// The domain.
    domain: String,
    #[command(flatten)]
    ours: Ours,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Ours {
    /// Tenants answer as <slug>.<domain>, as `formwork serve` was told: nobody can claim these.
    #[arg(long, default_value = "localhost", env = "FORMWORK_BASE_DOMAIN")]
    base_domain: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    #[command(flatten)]
    named: Named,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    named: Named,
    /// A TXT record that DNS has under the name that `add` has said, as `dig +short TXT` prints it; may be given more
    /// than once.
    #[arg(long, required = true, value_name = "VALUE")]
    txt: Vec<String>,
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
pub(super) struct Remove {
    #[command(flatten)]
    named: Named,
}

impl Domain {
    pub(super) async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let mut control = databases.control().await?;
        if let Self::Add(Add { named }) | Self::Verify(Verify { named, .. }) = &self {
            for domain in &named.ours.base_domain {
                control = control.base_domain(domain)?;
            }
        }
        let tenant = tenant_of(databases, self.tenant()).await?;
        let outcome = self.on(&control, tenant).await;
        control.close().await;
        outcome
    }

    fn tenant(&self) -> &str {
        match self {
            Self::Add(Add { named })
            | Self::Verify(Verify { named, .. })
            | Self::Remove(Remove { named }) => &named.tenant,
            Self::List(list) => &list.tenant,
        }
    }

    async fn on(self, control: &ControlPlane, tenant: TenantId) -> Result<(), Failure> {
        let operator = Actor::system("command-line");
        match self {
            Self::Add(Add { named }) => {
                let claim = control.add_domain(tenant, &named.domain).await?;
                if named.json {
                    return say_json(&as_json(&claim));
                }
                say!("to prove that `{}` is the tenant's, have this record in DNS:", claim.host());
                say!("  {} TXT \"{}\"", claim.record_name(), claim.record_value());
                say!("then: formwork tenant domain verify {} {} --txt VALUE", named.tenant, claim.host());
            }
            Self::Verify(Verify { named, txt }) => {
                // As `dig` prints them: a line each, in quotes.
                let lines = txt.iter().flat_map(|value| value.lines());
                let found: Vec<_> = lines.map(|value| value.trim().trim_matches('"')).collect();
                let claim = control.verify_domain(tenant, &named.domain, &found, &operator).await?;
                if named.json {
                    return say_json(&as_json(&claim));
                }
                say!("`{}` is proven: requests to it are `{}`'s", claim.host(), named.tenant);
            }
            Self::List(list) => {
                let claims = control.domains(tenant).await?;
                if list.json {
                    return say_json(&claims.iter().map(as_json).collect());
                }
                print_table(&table(&claims));
            }
            Self::Remove(Remove { named }) => {
                let removed = control.remove_domain(tenant, &named.domain, &operator).await?;
                if !removed {
                    return Err(format!("`{}` has not claimed `{}`", named.tenant, named.domain).into());
                }
                if named.json {
                    return say_json(&json!({"host": named.domain, "outcome": "removed"}));
                }
                say!("`{}` is removed: nothing comes by it any more", named.domain);
            }
        }
        Ok(())
    }
}

fn say_json(value: &Value) -> Result<(), Failure> {
    say!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn as_json(claim: &DomainClaim) -> Value {
    json!({
        "host": claim.host(),
        "claimed_at": claim.claimed_at(),
        "verified_at": claim.verified_at(),
        "record": { "type": "TXT", "name": claim.record_name(), "value": claim.record_value() },
    })
}

fn table(claims: &[DomainClaim]) -> Vec<Vec<String>> {
    let mut lines = vec![["DOMAIN", "PROVEN", "RECORD"].map(str::to_owned).to_vec()];
    for claim in claims {
        let proven = claim.verified_at().map_or("no".to_owned(), |at| at.format("%F %R").to_string());
        lines.push(vec![
            claim.host().to_owned(),
            proven,
            format!("TXT {} {}", claim.record_name(), claim.record_value()),
        ]);
    }
    lines
}
