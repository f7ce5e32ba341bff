//! What is told of after an answer, and by whom it is not waited for.
//!
//! INVARIANT: a bounded number of reports is on its way, however many requests give cause for one. The rest is dropped,
//! counted and logged.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Semaphore;

/// Reports on their way at once: less than a pool has connections.
const AT_ONCE: usize = 4;

/// The places of reports. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reports {
    places: Arc<Semaphore>,
    dropped: Arc<AtomicU64>,
}

impl Default for Reports {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), dropped: Arc::default() }
    }
}

impl Reports {
    /// Begins the report behind the answer, when there is a place for it.
    pub(super) fn begin(&self, report: impl Future<Output = ()> + Send + 'static) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            return tracing::warn!(dropped, "a report was dropped: too many are on their way");
        };
        tokio::spawn(async move {
            report.await;
            drop(place);
        });
    }

    /// How many were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bounded_number_of_reports_is_on_its_way_and_the_rest_is_counted() {
        let (reports, held) = (Reports::default(), Arc::new(Semaphore::new(0)));
        for _ in 0..10 * AT_ONCE {
            let held = Arc::clone(&held);
            reports.begin(async move { drop(held.acquire().await) });
        }
        assert_eq!(reports.dropped(), 9 * AT_ONCE as u64);
        held.add_permits(AT_ONCE);
        drop(reports.places.acquire_many(AT_ONCE as u32).await.unwrap());
        reports.begin(async {});
        assert_eq!(reports.dropped(), 9 * AT_ONCE as u64, "a place is free again");
    }
}
