//! `formwork audit remove-old`: events whose time is over go, under a signed tombstone, and partitions with nothing in
//! them any more.

use std::path::{Path, PathBuf};

use chrono::{Months, Utc};
use clap::Args;
use formwork_audit::{Audit, Filter, seal::Sealer};
use formwork_tenancy::{Tenant, Tenants, lifecycle::Lifecycle};

use super::{
    Failure,
    audit::{default_key, find, session},
    say,
    sealing::sealer,
    tenant_order::Why,
};
use crate::databases::Databases;

#[derive(Debug, Args)]
pub(super) struct RemoveOld {
    /// The tenants' slugs.
    #[arg(required = true)]
    tenants: Vec<String>,
    /// How many months events are kept.
    #[arg(long, value_name = "MONTHS", value_parser = clap::value_parser!(u32).range(1..))]
    keep_months: u32,
    /// The signing key, Ed25519 in PEM [default: audit-seal.pem in the state folder].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file to which checkpoints are appended once they are committed.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Only say how many events would go.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    why: Why,
}

impl RemoveOld {
    pub(super) async fn run(
        self,
        databases: &Databases,
        tenants: &Tenants,
        state: &Path,
    ) -> Result<(), Failure> {
        if self.dry_run {
            for slug in &self.tenants {
                self.tell(tenants, &find(tenants, slug).await?).await?;
            }
            return Ok(());
        }
        let key = self.key.clone().unwrap_or_else(|| default_key(state));
        let sealer = sealer(&key, self.anchor.as_deref())?;
        let control = databases.control().await?;
        let life = Lifecycle::new(control.clone());
        let outcome = self.all(tenants, &life, &sealer).await;
        control.close().await;
        outcome
    }

    async fn tell(&self, tenants: &Tenants, tenant: &Tenant) -> Result<(), Failure> {
        let mut tx = tenants.begin_read(&session(tenant)).await?;
        let old = Filter { until: Some(Utc::now() - Months::new(self.keep_months)), ..Filter::default() };
        let events = Audit::new().count(&mut tx, &old).await?;
        say!("`{}`: {events} events would go", tenant.slug());
        Ok(())
    }

    async fn all(&self, tenants: &Tenants, life: &Lifecycle, sealer: &Sealer) -> Result<(), Failure> {
        let order = self.why.order()?;
        for slug in &self.tenants {
            let tenant = find(tenants, slug).await?;
            let mut tx = tenants.begin(&session(&tenant)).await?;
            let tombstone = sealer.bury(&mut tx, Utc::now() - Months::new(self.keep_months)).await?;
            tx.commit().await?;
            let Some(tombstone) = tombstone else {
                say!("`{slug}`: no event is that old");
                continue;
            };
            let number = tombstone.checkpoint().number();
            let removed = life.remove_events(tenant.id(), number, &order).await?;
            say!("`{slug}`: {removed} events removed, tombstone {number}");
        }
        match life.drop_empty_partitions().await? {
            0 => {}
            dropped => say!("{dropped} empty partitions dropped"),
        }
        Ok(())
    }
}
