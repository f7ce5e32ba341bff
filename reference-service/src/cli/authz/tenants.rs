//! `formwork authz plan`, `adopt`, `sql` and `export`: the permission schema of the modules, and tenants' relationships.

use std::path::Path;

use clap::{Args, Subcommand};
use formwork_authz::{AdoptError, Authz};
use formwork_tenancy::{Actor, Session, Tenant, Tenants};
use indicatif::{ProgressBar, ProgressStyle};

use super::super::{Failure, say};
use crate::{databases::Databases, modules};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Permissions {
    /// Say what adopting this program's permission schema would change, and which relationships stand in the way.
    Plan(Adopt),
    /// Make this program's permission schema the newest of tenants: what it has no place for is stored no more.
    Adopt(Adopt),
    /// Print the SQL functions for all permissions that one statement can tell: a migration of a tenant's home.
    Sql,
    /// Print a tenant's relationships, a line each.
    Export(Export),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Adopt {
    /// The tenants' slugs.
    #[arg(required = true)]
    tenants: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// The tenant's slug.
    tenant: String,
}

impl Permissions {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let authz = Authz::new(modules::schema()?);
        if matches!(self, Self::Sql) {
            return sql(&authz);
        }
        let databases = Databases::named_or_made_before(state).await?;
        let outcome = self.on(&databases, &authz).await;
        databases.stop().await;
        outcome
    }

    async fn on(self, databases: &Databases, authz: &Authz) -> Result<(), Failure> {
        let tenants = databases.tenants(Tenants::builder()).await?;
        let outcome = match self {
            Self::Plan(all) => all.plan(&tenants, authz).await,
            Self::Adopt(all) => all.adopt(&tenants, authz).await,
            Self::Export(one) => one.run(&tenants, authz).await,
            Self::Sql => Ok(()),
        };
        tenants.close().await;
        outcome
    }
}

impl Adopt {
    async fn plan(&self, tenants: &Tenants, authz: &Authz) -> Result<(), Failure> {
        let mut stuck = 0;
        for slug in &self.tenants {
            let mut tx = tenants.begin(&session(&find(tenants, slug).await?)).await?;
            let plan = authz.plan_schema(&mut tx).await?;
            tx.rollback().await?;
            stuck += usize::from(!plan.orphans().is_empty());
            say!("`{slug}`: {}", plan.to_string().trim_end());
        }
        outcome(stuck)
    }

    /// Tenant by tenant: one with relationships in the way keeps no other back.
    async fn adopt(&self, tenants: &Tenants, authz: &Authz) -> Result<(), Failure> {
        let mut stuck = 0;
        for slug in &self.tenants {
            let mut tx = tenants.begin(&session(&find(tenants, slug).await?)).await?;
            match authz.adopt_schema(&mut tx).await {
                Ok(plan) => {
                    tx.commit().await?;
                    say!("`{slug}`: {}", plan.to_string().trim_end());
                }
                Err(AdoptError::Orphans(plan)) => {
                    tx.rollback().await?;
                    stuck += 1;
                    say!("`{slug}`: {}", plan.to_string().trim_end());
                }
                Err(error) => return Err(error.into()),
            }
        }
        outcome(stuck)
    }
}

fn outcome(stuck: usize) -> Result<(), Failure> {
    match stuck {
        0 => Ok(()),
        _ => Err(format!(
            "{stuck} have relationships that the schema has no place for, in the lines with `!`: delete them first"
        )
        .into()),
    }
}

impl Export {
    async fn run(&self, tenants: &Tenants, authz: &Authz) -> Result<(), Failure> {
        let mut tx = tenants.begin_read(&session(&find(tenants, &self.tenant).await?)).await?;
        let mut export = authz.export(&mut tx).await?;
        // Draws on a terminal only.
        let bar = ProgressBar::new(export.expected()).with_style(ProgressStyle::default_bar());
        while let Some(relationship) = export.next().await? {
            say!("{relationship}");
            if export.exported().is_multiple_of(1_000) {
                bar.set_position(export.exported());
            }
        }
        bar.finish_and_clear();
        drop(export);
        tx.rollback().await?;
        Ok(())
    }
}

fn sql(authz: &Authz) -> Result<(), Failure> {
    let schema = authz.schema();
    let all = schema.object_types().flat_map(|kind| schema.permissions(kind).map(move |name| (kind, name)));
    let told: Vec<(&str, &str)> =
        all.filter(|(kind, name)| schema.sql_expressible(kind, name).is_ok()).collect();
    say!("{}", schema.sql_functions(&told)?);
    Ok(())
}

async fn find(tenants: &Tenants, slug: &str) -> Result<Tenant, Failure> {
    Ok(tenants.by_slug(slug).await?.ok_or_else(|| format!("there is no tenant `{slug}`"))?)
}

fn session(tenant: &Tenant) -> Session {
    Session::new(tenant, Actor::system("authz"))
}
