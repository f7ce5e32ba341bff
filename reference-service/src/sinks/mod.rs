//! Where the audit trails go besides: the sinks of a file, each delivered to from every database.

mod config;
mod metrics;

use std::sync::Arc;

use formwork_audit::sink::{Deliverer, EventRule, SinkFilter};
use formwork_tenancy::{Relay, TenantId, Tenants};

pub use config::{Config, Entry, SinksError};
pub use metrics::text as metrics_text;

/// A sink, delivered to from one database.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The database's name.
    pub database: String,
    /// What delivers.
    pub deliverer: Deliverer,
}

/// Everything that a file names, from every database. Places are opened; nothing is sent.
///
/// # Errors
///
/// [`SinksError`].
pub async fn deliveries(
    config: &Config,
    tenants: &Tenants,
    relays: &[(String, Relay)],
) -> Result<Vec<Delivery>, SinksError> {
    let mut deliveries = Vec::new();
    for entry in config.entries() {
        let filter = filter_of(entry, tenants).await?;
        let sink = entry.open()?;
        for (database, relay) in relays {
            let deliverer = Deliverer::shared(tenants, relay, entry.name.as_str(), Arc::clone(&sink))
                .filter(filter.clone())
                .format(entry.format())
                .retry(entry.retry());
            deliveries.push(Delivery { database: database.clone(), deliverer });
        }
    }
    Ok(deliveries)
}

async fn filter_of(entry: &Entry, tenants: &Tenants) -> Result<SinkFilter, SinksError> {
    let mut filter = SinkFilter::new(entry.rule());
    for slug in entry.tenants.iter().flatten() {
        filter = filter.only_tenants([id_of(tenants, slug).await?]);
    }
    for (slug, own) in &entry.tenant {
        let id = id_of(tenants, slug).await?;
        filter = match own.rule() {
            Some(rule) => filter.for_tenant(id, rule),
            None => filter.without_tenant(id),
        };
    }
    Ok(filter)
}

async fn id_of(tenants: &Tenants, slug: &str) -> Result<TenantId, SinksError> {
    let found = tenants.by_slug(slug).await?;
    Ok(found.ok_or_else(|| SinksError::UnknownTenant { slug: slug.to_owned() })?.id())
}

/// `None` where a list is not given: then nothing is asked of the event.
fn rule(actions: &[String], except: &[String], outcomes: &[formwork_audit::Outcome]) -> EventRule {
    EventRule::all().actions(actions).except(except).outcomes(outcomes.iter().copied())
}
