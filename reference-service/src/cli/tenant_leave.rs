//! `formwork tenant impersonate`, `revoke`: leave for an administrator, which the tenant reads in its own trail.

use std::time::Duration;

use clap::Args;
use formwork_tenancy::NewAdministratorGrant;
use serde_json::json;
use uuid::Uuid;

use super::{
    Failure, say,
    tenant_order::{Desk, Why},
};

#[derive(Debug, Args)]
pub(super) struct Impersonate {
    /// The tenant's slug.
    tenant: String,
    /// Address of the administrator who gets leave.
    administrator: String,
    /// Address of the member as whom they act; without it they act as an administrator.
    #[arg(long = "as", value_name = "MEMBER")]
    member: Option<String>,
    /// For how many minutes.
    #[arg(long = "for", default_value_t = 60, value_name = "MINUTES")]
    minutes: u64,
    #[command(flatten)]
    why: Why,
    /// Print the grant as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The grant, as `impersonate` has answered it.
    grant: Uuid,
    /// Who takes it back.
    #[arg(long, env = "USER", default_value = "command line", value_name = "NAME")]
    by: String,
}

impl Impersonate {
    pub(super) async fn at(self, desk: &Desk) -> Result<(), Failure> {
        let tenant = desk.tenant(&self.tenant).await?;
        let reason = self.why.reason()?;
        let member = match &self.member {
            None => None,
            Some(email) => {
                let found = desk.tenants.member_by_email(tenant, email).await?;
                let unknown = || format!("`{email}` is no active member of `{}`", self.tenant);
                Some(found.ok_or_else(unknown)?.user())
            }
        };
        let administrator =
            desk.control.ensure_user(&self.administrator, &self.administrator, None).await?.id;
        let time = Duration::from_secs(self.minutes.saturating_mul(60));
        let mut grant = NewAdministratorGrant::new(administrator, tenant, reason, &self.why.actor(), time);
        if let Some(member) = member {
            grant = grant.impersonating(member);
        }
        let grant = desk.control.grant_administrator(&grant).await?;
        if self.json {
            let told = json!({
                "tenant": self.tenant, "grant": grant, "administrator": administrator, "impersonates": member,
                "minutes": self.minutes,
            });
            say!("{}", serde_json::to_string_pretty(&told)?);
            return Ok(());
        }
        let role = self.member.as_deref().unwrap_or("an administrator");
        say!(
            "`{}` may act for `{}` as {role} for {} minutes: {grant}",
            self.administrator,
            self.tenant,
            self.minutes
        );
        Ok(())
    }
}

impl Revoke {
    pub(super) async fn at(self, desk: &Desk) -> Result<(), Failure> {
        let by = formwork_tenancy::Actor::system(self.by.trim());
        match desk.control.revoke_administrator(self.grant, &by).await? {
            true => say!("grant {} is revoked", self.grant),
            false => say!("grant {} was not in force", self.grant),
        }
        Ok(())
    }
}
