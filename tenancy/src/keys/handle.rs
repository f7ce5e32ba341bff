//! The handle that a service holds.

use std::{sync::Arc, time::Duration};

use super::{KeyProvider, cache::KeyCache};

/// The longest that an opened data key may stay in memory: so long after a shredding other nodes may still read.
pub const MAX_TIME_TO_LIVE: Duration = Duration::from_secs(60);

/// How long a provider may take for one answer, while a transaction waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seals and opens fields under the keys of their tenants. Cheap to clone. See [the module](super).
#[derive(Debug, Clone)]
pub struct Keys {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) provider: Arc<dyn KeyProvider>,
    pub(super) cache: KeyCache,
    pub(super) patience: Duration,
}

/// How [`Keys`] keep what they have opened.
#[derive(Debug)]
pub struct KeysBuilder {
    provider: Arc<dyn KeyProvider>,
    time_to_live: Duration,
    capacity: u64,
    patience: Duration,
}

impl Keys {
    /// With the provider, and what [`builder`](Self::builder) starts from.
    pub fn new(provider: impl KeyProvider) -> Self {
        Self::builder(Arc::new(provider)).build()
    }

    /// Where the tenants' keys come from.
    pub fn provider(&self) -> &dyn KeyProvider {
        &*self.inner.provider
    }

    /// Starts from: one minute, 10,000 keys, five seconds for an answer of the provider.
    pub fn builder(provider: Arc<dyn KeyProvider>) -> KeysBuilder {
        KeysBuilder { provider, time_to_live: MAX_TIME_TO_LIVE, capacity: 10_000, patience: PATIENCE }
    }
}

impl KeysBuilder {
    /// How long an opened key is used without asking again; at most [`MAX_TIME_TO_LIVE`].
    #[must_use]
    pub fn time_to_live(mut self, limit: Duration) -> Self {
        self.time_to_live = limit.min(MAX_TIME_TO_LIVE);
        self
    }

    /// Opened keys in memory at the most; about three a tenant are in use.
    #[must_use]
    pub fn capacity(mut self, keys: u64) -> Self {
        self.capacity = keys;
        self
    }

    /// How long the provider may take for one answer; then it counts as unavailable.
    #[must_use]
    pub fn provider_timeout(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    /// The handle.
    pub fn build(self) -> Keys {
        let cache = KeyCache::new(self.capacity, self.time_to_live);
        Keys { inner: Arc::new(Inner { provider: self.provider, cache, patience: self.patience }) }
    }
}
