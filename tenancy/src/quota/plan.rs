//! What each plan allows.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::QuotaError;
use crate::Tenant;

/// How much of a resource, in which period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    units: Option<u64>,
    period: Period,
}

/// When the count begins anew, by the calendar of the tenant's time zone and the clock of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Period {
    /// Never.
    Ever,
    /// At midnight.
    Day,
    /// At the first of a month.
    Month,
    /// At the first of January.
    Year,
}

impl Quota {
    /// Up to so many units, for all time unless [a period](Self::every) is named.
    pub const fn up_to(units: u64) -> Self {
        Self { units: Some(units), period: Period::Ever }
    }

    /// Counted, and without limit.
    pub const fn unlimited() -> Self {
        Self { units: None, period: Period::Ever }
    }

    /// Counted anew in each period.
    #[must_use]
    pub const fn every(mut self, period: Period) -> Self {
        self.period = period;
        self
    }
}

/// The quotas of all plans, which tenants can have [exceptions](Self::set_limit) from. Cheap to clone.
///
/// See [the module](super) for an example.
#[derive(Debug, Clone)]
pub struct Quotas {
    /// By plan, `None` for those that have none of their own; then by resource.
    plans: Arc<HashMap<Option<String>, HashMap<String, Quota>>>,
    hold: Duration,
}

impl Default for Quotas {
    fn default() -> Self {
        Self::new()
    }
}

/// A quota as the database reads it.
pub(super) struct Terms {
    pub(super) units: Option<i64>,
    pub(super) kind: &'static str,
}

impl Quotas {
    /// None yet; a reservation holds for 15 minutes.
    pub fn new() -> Self {
        Self { plans: Arc::default(), hold: Duration::from_secs(15 * 60) }
    }

    /// Tenants of this plan have this of the resource.
    #[must_use]
    pub fn plan(self, plan: impl Into<String>, resource: impl Into<String>, quota: Quota) -> Self {
        self.with(Some(plan.into()), resource.into(), quota)
    }

    /// Tenants whose plan says nothing else have this of the resource.
    #[must_use]
    pub fn any_plan(self, resource: impl Into<String>, quota: Quota) -> Self {
        self.with(None, resource.into(), quota)
    }

    /// A reservation that is not settled holds for so long, of at most 100 years.
    #[must_use]
    pub fn hold_for(mut self, time: Duration) -> Self {
        self.hold = time.min(Duration::from_secs(100 * 365 * 86_400));
        self
    }

    fn with(mut self, plan: Option<String>, resource: String, quota: Quota) -> Self {
        Arc::make_mut(&mut self.plans).entry(plan).or_default().insert(resource, quota);
        self
    }

    pub(super) fn hold_milliseconds(&self) -> i64 {
        i64::try_from(self.hold.as_millis()).unwrap_or(i64::MAX)
    }

    pub(super) fn terms(&self, tenant: &Tenant, resource: &str) -> Result<Terms, QuotaError> {
        let own = self.plans.get(&Some(tenant.plan().to_owned())).and_then(|quotas| quotas.get(resource));
        let quota = own.or_else(|| self.plans.get(&None).and_then(|quotas| quotas.get(resource)));
        let quota = quota.ok_or_else(|| QuotaError::Unknown {
            resource: resource.to_owned(),
            plan: tenant.plan().to_owned(),
        })?;
        let kind = match quota.period {
            Period::Ever => "",
            Period::Day => "day",
            Period::Month => "month",
            Period::Year => "year",
        };
        Ok(Terms { units: quota.units.map(|units| i64::try_from(units).unwrap_or(i64::MAX)), kind })
    }
}
