//! Regions: which one this process serves, and where the others are.
//!
//! A tenant's region is that of its home's database, as the registry has it. A process that was told its region serves no
//! tenant of another: it could reach the database, perhaps, but its logs, caches and files are where it is.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use crate::{StorageError, Tenant, Tenants, TxOptions};

/// How long it is remembered where a region is.
const REMEMBERED: Duration = Duration::from_secs(60);
const CAPACITY: u64 = 1_000;

/// The tenant is served in another region than this process. HTTP 421.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tenant is served in region `{region}` and not in `{here}`{}", go(self.place.as_deref()))]
pub struct WrongRegion {
    region: String,
    here: Arc<str>,
    place: Option<String>,
}

fn go(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(": go to {place}"))
}

impl WrongRegion {
    /// Where the tenant is served.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What this process serves.
    pub fn here(&self) -> &str {
        &self.here
    }

    /// Where to go: the public base URL of the tenant's region, when the registry has one.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Regions {
    here: Option<Arc<str>>,
    places: Cache<String, Option<String>>,
}

impl Regions {
    pub(crate) fn new(here: Option<String>) -> Self {
        let places = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Self { here: here.map(Into::into), places }
    }
}

impl Tenants {
    /// The region that this process serves, when it was told.
    pub fn region(&self) -> Option<&str> {
        self.regions.here.as_deref()
    }

    /// Is the tenant served here? Told without a question.
    pub(crate) fn is_in_this_region(&self, tenant: &Tenant) -> bool {
        self.region().is_none_or(|here| here == tenant.region())
    }

    /// Why the tenant is not served here, if it is not.
    pub(crate) async fn wrong_region(&self, tenant: &Tenant) -> Option<WrongRegion> {
        let here = self.regions.here.as_ref().filter(|here| ***here != *tenant.region())?;
        let place = self.place_of(tenant.region()).await.unwrap_or_else(|error| {
            // It is refused all the same, without the place to go to.
            tracing::warn!(%error, "the registry could not say where a region is");
            None
        });
        Some(WrongRegion { region: tenant.region().to_owned(), here: Arc::clone(here), place })
    }

    async fn place_of(&self, region: &str) -> Result<Option<String>, StorageError> {
        if let Some(place) = self.regions.places.get(region).await {
            return Ok(place);
        }
        let mut conn = self.begin_outside(TxOptions::new().read_only()).await?;
        let place: Option<Option<String>> =
            sqlx::query_scalar("select base_url from platform.region_by_name($1)")
                .bind(region)
                .fetch_optional(&mut conn)
                .await?;
        conn.rollback().await?;
        let place = place.flatten();
        self.regions.places.insert(region.to_owned(), place.clone()).await;
        Ok(place)
    }
}
