//! `formwork tenant`: what needs the owner's login.

use std::{io::BufRead, path::Path};

use clap::{Args, Subcommand};
use formwork_tenancy::{HomePlace, NewTenant, TenantId, Tenants};

use super::{Failure, say};
use crate::{
    app::App,
    databases::Databases,
    modules::members::{self, NewMember, Role},
    token::Tokens,
};

#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// Make a tenant and its home.
    Create(Create),
    /// Make a person a member of a tenant.
    AddMember(AddMember),
    /// Move a tenant's rows to another home, while it is read.
    Move(super::tenant_move::Move),
    /// Domains of a tenant's own: claim, prove, list, remove.
    #[command(subcommand)]
    Domain(super::tenant_domain::Domain),
    /// API keys of a tenant: make, list, revoke.
    #[command(subcommand)]
    ApiKey(super::tenant_api_key::ApiKey),
    /// Write one tenant into one file, while it is used.
    Export(super::tenant_archive::Export),
    /// Restore a tenant from such a file, or make a copy of it.
    Import(super::tenant_archive::Import),
    /// Look whether such a file is whole; needs no database.
    VerifyExport(super::tenant_archive::VerifyExport),
    #[command(flatten)]
    Life(super::tenant_life::Life),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name in addresses: lower-case letters, digits, hyphens.
    slug: String,
    /// Name for people [default: the slug].
    #[arg(long)]
    name: Option<String>,
    /// Where its tables are: shared, schema, database:NAME or database:NAME:shared.
    #[arg(long, default_value = "shared")]
    isolation: HomePlace,
    /// ISO 4217 code used where none is given.
    #[arg(long, default_value = "KWD", value_parser = currency)]
    currency: String,
}

#[derive(Debug, Args)]
pub(super) struct AddMember {
    /// The tenant's slug.
    tenant: String,
    /// Address, by which they sign in.
    #[arg(value_parser = address)]
    email: String,
    /// Name for people [default: the address].
    #[arg(long)]
    name: Option<String>,
    /// What they are in the tenant.
    #[arg(long, value_enum, default_value_t = Role::Member)]
    role: Role,
    /// Read a password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

fn currency(code: &str) -> Result<String, &'static str> {
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        Ok(code.to_owned())
    } else {
        Err("write an ISO 4217 code, such as USD")
    }
}

fn address(email: &str) -> Result<String, &'static str> {
    match email.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() => Ok(email.to_owned()),
        _ => Err("write it as name@host"),
    }
}

impl Tenant {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        if let Self::VerifyExport(verify) = self {
            return verify.run().await;
        }
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = match self {
            Self::Create(create) => create.run(&databases).await,
            Self::AddMember(add) => add.run(&databases).await,
            Self::Move(moving) => moving.run(&databases).await,
            Self::Domain(domain) => domain.run(&databases).await,
            Self::ApiKey(key) => key.run(&databases).await,
            Self::Export(export) => export.run(&databases).await,
            Self::Import(import) => import.run(&databases).await,
            Self::VerifyExport(verify) => verify.run().await,
            Self::Life(life) => life.run(&databases).await,
        };
        databases.stop().await;
        outcome
    }
}

/// The tenant with this slug, whatever its status.
pub(super) async fn tenant_of(databases: &Databases, slug: &str) -> Result<TenantId, Failure> {
    let tenants = databases.tenants(Tenants::builder()).await?;
    let found = tenants.by_slug(slug).await;
    tenants.close().await;
    Ok(found?.ok_or_else(|| format!("there is no tenant `{slug}`"))?.id())
}

/// Columns as wide as their widest cell, the first line being the heads.
pub(super) fn print_table(lines: &[Vec<String>]) {
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    for line in lines {
        let padded = |(at, cell): (usize, &String)| format!("{cell:<width$}", width = width(at).unwrap_or(0));
        let cells = line.iter().enumerate().map(padded);
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

impl Create {
    async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let control = databases.control().await?;
        let name = self.name.unwrap_or_else(|| self.slug.clone());
        let new = NewTenant::placed(&self.slug, name, self.isolation).currency(self.currency);
        let id = control.provision(&new).await?;
        say!("tenant `{}` is made: {id}", self.slug);
        control.close().await;
        Ok(())
    }
}

impl AddMember {
    async fn run(self, databases: &Databases) -> Result<(), Failure> {
        let password = if self.password_stdin {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line)?;
            Some(line.trim_end_matches(['\r', '\n']).to_owned())
        } else {
            None
        };
        if password.as_ref().is_some_and(|password| password.chars().count() < 8) {
            return Err("the password must have at least 8 characters".into());
        }
        let control = databases.control().await?;
        let app = App::new(databases.tenants(Tenants::builder()).await?, Tokens::ephemeral()?)?;
        let tenant = super::import::tenant_named(&app, &self.tenant).await?;
        let member = NewMember {
            email: &self.email,
            name: self.name.as_deref().unwrap_or(&self.email),
            password: password.as_deref(),
            role: self.role,
        };
        let added = members::add(&app, &control, &tenant, &member).await?;
        let (email, tenant) = (&self.email, &self.tenant);
        if !added.is_new_member {
            say!("`{email}` is a member of `{tenant}` already: role and password stay as they are");
        } else {
            say!("`{email}` is a member of `{tenant}`: {}", added.user);
            if password.is_some() && !added.is_new_user {
                say!("they are known from another tenant and keep the password that they have");
            }
        }
        app.tenants.close().await;
        control.close().await;
        Ok(())
    }
}
