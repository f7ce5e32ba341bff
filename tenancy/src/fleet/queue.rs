//! The homes of one wave that are still to be done, shared by those who do them.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::plan::PlannedHome;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) planned: PlannedHome,
    /// How often it has been tried.
    pub(super) attempts: u32,
    /// Whether its steps must be asked for again, because somebody may have done them.
    pub(super) is_stale: bool,
    not_before: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// None once it has been stopped.
    jobs: Mutex<Option<VecDeque<Job>>>,
}

impl Queue {
    pub(super) fn new(homes: Vec<PlannedHome>) -> Self {
        let job = |planned| Job { planned, attempts: 0, is_stale: false, not_before: None };
        Self { jobs: Mutex::new(Some(homes.into_iter().map(job).collect())) }
    }

    /// The next home that may be tried, if need be after a wait; none when nothing is left.
    pub(super) async fn next(&self) -> Option<Job> {
        loop {
            let until = {
                let mut guard = self.jobs();
                let jobs = guard.as_mut()?;
                let now = Instant::now();
                match jobs.iter().position(|job| job.not_before.is_none_or(|at| at <= now)) {
                    Some(ready) => return jobs.remove(ready),
                    // None at all: whoever puts a home back comes for it again.
                    None => jobs.iter().filter_map(|job| job.not_before).min()?,
                }
            };
            tokio::time::sleep_until(until).await;
        }
    }

    /// For another attempt, behind the others.
    pub(super) fn put_back(&self, mut job: Job, wait: Duration) {
        job.not_before = Some(Instant::now() + wait);
        if let Some(jobs) = self.jobs().as_mut() {
            jobs.push_back(job);
        }
    }

    /// No home is begun from here on.
    pub(super) fn stop(&self) {
        *self.jobs() = None;
    }

    fn jobs(&self) -> MutexGuard<'_, Option<VecDeque<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
