//! Opened keys, for a short while.
//!
//! INVARIANT: a key is used no longer than the time to live after the moment at which the database said that it
//! stands; not after the moment at which the provider had opened it, which may be later. So a shredding is seen by
//! every node when that time has passed.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;
use tokio::time::Instant;

use super::{ProviderError, Purpose, SecretKey};
use crate::TenantId;

/// A data key or an index key, opened.
#[derive(Debug)]
pub(super) struct TenantKey {
    pub(super) version: u32,
    pub(super) secret: SecretKey,
    fresh_until: Option<Instant>,
}

/// Which key: without a version, the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) tenant: TenantId,
    pub(super) purpose: Purpose,
    pub(super) version: Option<u32>,
}

#[derive(Debug)]
pub(super) struct KeyCache {
    opened: Cache<Slot, Arc<TenantKey>>,
    time_to_live: Duration,
}

impl TenantKey {
    /// One that no cache may keep.
    pub(super) fn passing(version: u32, secret: SecretKey) -> Arc<Self> {
        Arc::new(Self { version, secret, fresh_until: None })
    }

    fn is_fresh(&self) -> bool {
        self.fresh_until.is_some_and(|end| Instant::now() < end)
    }
}

impl KeyCache {
    pub(super) fn new(capacity: u64, time_to_live: Duration) -> Self {
        let opened = Cache::builder().max_capacity(capacity).time_to_live(time_to_live).build();
        Self { opened, time_to_live }
    }

    pub(super) async fn get(&self, slot: Slot) -> Option<Arc<TenantKey>> {
        let key = self.opened.get(&slot).await?;
        if key.is_fresh() {
            return Some(key);
        }
        self.opened.invalidate(&slot).await;
        None
    }

    /// Until when a key may be used that stood at `asked`, less `age`, by which that look was out of date.
    pub(super) fn end(&self, asked: Instant, age: Duration) -> Option<Instant> {
        let end = asked + self.time_to_live.checked_sub(age)?;
        (Instant::now() < end).then_some(end)
    }

    /// The key of `version`, opened once for all who wait for it.
    pub(super) async fn open_once(
        &self,
        slot: Slot,
        version: u32,
        fresh_until: Instant,
        open: impl Future<Output = Result<SecretKey, ProviderError>>,
    ) -> Result<Arc<TenantKey>, ProviderError> {
        let open = async {
            let secret = open.await?;
            Ok(Arc::new(TenantKey { version, secret, fresh_until: Some(fresh_until) }))
        };
        let opened = self.opened.try_get_with(slot, open).await;
        opened.map_err(|error: Arc<ProviderError>| (*error).clone())
    }

    pub(super) async fn keep(&self, slot: Slot, key: &Arc<TenantKey>) {
        if key.is_fresh() {
            self.opened.insert(slot, Arc::clone(key)).await;
        }
    }

    pub(super) async fn forget(&self, slot: Slot) {
        self.opened.invalidate(&slot).await;
    }
}
