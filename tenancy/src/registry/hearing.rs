//! Being told that something has changed: by Postgres, by a Redis, or by nobody.
//!
//! INVARIANT: what is heard says only that it is time to look. It may be lost, forged or repeated: the look is asked of
//! the database, happens without it too, and not more often than is good.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use super::{Inner, Registry, metrics::Counters};
use crate::{Tenants, relay::Wake};

/// What Postgres says it on.
const CHANNEL: &str = "formwork_registry";
/// How long to wait before listening again, and how often to look all the same.
const AGAIN: Duration = Duration::from_secs(1);
const ALL_THE_SAME: Duration = Duration::from_secs(30);

impl Tenants {
    /// Begins to use the Redis, and to hear of changes, from whom the options say.
    pub(crate) async fn hear_of_changes(&self) {
        let registry = self.registry();
        #[cfg(feature = "redis")]
        if let Some(redis) = &registry.0.redis {
            redis.begin(self).await;
        }
        let mut tasks = registry.0.hearing.lock().unwrap_or_else(PoisonError::into_inner);
        if registry.0.listen.is_some() {
            tasks.push(tokio::spawn(listen(Arc::downgrade(&registry.0))).abort_handle());
        }
        #[cfg(feature = "redis")]
        if let Some(redis) = &registry.0.redis {
            let hearing = hear(redis.clone(), Arc::downgrade(&registry.0));
            tasks.push(tokio::spawn(hearing).abort_handle());
        }
    }
}

fn is_suspect(registry: &Weak<Inner>) {
    if let Some(inner) = registry.upgrade() {
        Counters::add(&inner.counters.heard);
        Registry(inner).is_suspect();
    }
}

async fn listen(registry: Weak<Inner>) {
    let Some(options) = registry.upgrade().and_then(|inner| inner.listen.clone()) else { return };
    let mut wake = Wake::new(CHANNEL, Some(options.application_name("formwork-registry")), ALL_THE_SAME);
    while registry.strong_count() > 0 {
        if let Err(error) = wake.ready().await {
            tracing::debug!(%error, "the registry cannot listen for changes yet");
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        // At the beginning too: what was said before is lost.
        is_suspect(&registry);
        wake.wait(ALL_THE_SAME).await;
    }
}

#[cfg(feature = "redis")]
async fn hear(redis: super::redis::RedisTier, registry: Weak<Inner>) {
    while registry.strong_count() > 0 {
        if let Err(error) = redis.hear(|| is_suspect(&registry)).await {
            tracing::debug!(%error, "the registry cannot hear of changes from its Redis yet");
        }
        tokio::time::sleep(AGAIN).await;
    }
}
