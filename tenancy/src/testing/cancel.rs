//! Futures dropped at random, as a client that goes away drops its request's.

use std::{
    future::Future,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use sqlx::PgPool;

use super::{PoolLeak, pool::Examination};
use crate::Tenants;

/// Runs work on a pool and drops it at a random await, over and over, with plain queries in between.
///
/// ```no_run
/// # async fn example(tenants: formwork_tenancy::Tenants, session: formwork_tenancy::Session) {
/// use formwork_tenancy::testing::CancelFuzz;
///
/// let report = CancelFuzz::new(&tenants)
///     .rounds(1_000)
///     .run(async |_round| {
///         let mut tx = tenants.begin(&session).await.unwrap();
///         sqlx::query("update notes set body = 'x'").execute(&mut *tx).await.unwrap();
///         tx.commit().await.unwrap();
///     })
///     .await
///     .unwrap();
/// assert!(report.cancelled > 0);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CancelFuzz {
    pool: PgPool,
    rounds: usize,
    seed: u64,
    examination: Examination,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CancelReport {
    /// Rounds that were run to their end.
    pub finished: usize,
    /// Rounds that were dropped in the middle.
    pub cancelled: usize,
    /// Connections that the pool had at the end.
    pub connections: usize,
}

impl CancelFuzz {
    /// Of the service's own connections: 1,000 rounds.
    pub fn new(tenants: &Tenants) -> Self {
        Self::of_pool(tenants.pool_unguarded())
    }

    /// Of any pool: how does other code on it fare?
    pub fn of_pool(pool: &PgPool) -> Self {
        Self { pool: pool.clone(), rounds: 1_000, seed: 0x5eed, examination: Examination::default() }
    }

    /// How often.
    #[must_use]
    pub fn rounds(mut self, count: usize) -> Self {
        self.rounds = count;
        self
    }

    /// Where the random draws begin: the same draws every time. What the scheduler makes of them is its own.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The setting that carries the tenant, when it is not `app.current_tenant`.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>) -> Self {
        self.examination.setting = name.into();
        self
    }

    /// Each round is a call of `work` with its number, dropped after a random number of polls or, three in 16, after a
    /// random time; one in 16 is run to its end, to measure. Then each idle connection is asked a plain question outside any transaction, which is what
    /// would see what was left behind; at the end every connection is.
    ///
    /// # Errors
    ///
    /// The first [`PoolLeak`]; also when no round was cancelled, which would prove nothing.
    pub async fn run<T>(mut self, work: impl AsyncFn(usize) -> T) -> Result<CancelReport, PoolLeak> {
        self.examination.all(&self.pool).await?;
        let mut draws = Draws(self.seed);
        let (mut polls, mut took) = (u64::MAX - 1, Duration::ZERO);
        let mut report = CancelReport { finished: 0, cancelled: 0, connections: 0 };
        for round in 0..self.rounds {
            let work = work(round);
            let finished = match round % 16 {
                // To its end, to know how long that is now.
                0 => {
                    let begun = Instant::now();
                    let (_, taken) = drop_after(u64::MAX, work).await;
                    took = begun.elapsed();
                    // The fewest of late: more were needed while the machine had other work.
                    polls = taken.min(polls + 1);
                    true
                }
                // By time, as a client goes away.
                4 | 8 | 12 => {
                    let within = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                    tokio::time::timeout(Duration::from_micros(draws.below(within)), work).await.is_ok()
                }
                // By polls, which are finer than a timer's millisecond.
                _ => drop_after(1 + draws.below(polls), work).await.0.is_some(),
            };
            match finished {
                true => report.finished += 1,
                false => report.cancelled += 1,
            }
            self.examination.idle(&self.pool).await.map_err(|leak| leak.in_round(round))?;
        }
        report.connections = self.examination.all(&self.pool).await?;
        match report.cancelled {
            0 => Err(PoolLeak::new(format!("nothing is proven, since nothing was cancelled: {report:?}"))),
            _ => Ok(report),
        }
    }
}

/// Polls a future at most `polls` times and then drops it. Answers `None` when it had not finished, and the polls.
async fn drop_after<F: Future>(polls: u64, future: F) -> (Option<F::Output>, u64) {
    let mut future = pin!(future);
    let mut taken = 0;
    std::future::poll_fn(|context| {
        if taken == polls {
            return Poll::Ready((None, taken));
        }
        taken += 1;
        future.as_mut().poll(context).map(|done| (Some(done), taken))
    })
    .await
}

/// Vigna's SplitMix64: good enough for a few thousand draws, and nothing to depend on.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_dropped_is_told_from_what_finished() {
        let work = || async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(drop_after(1, work()).await, (None, 1));
        assert_eq!(drop_after(2, work()).await, (Some(7), 2));
    }

    #[test]
    fn draws_are_the_same_every_time() {
        let (mut one, mut two) = (Draws(1), Draws(1));
        let drawn: Vec<u64> = (0..100).map(|_| one.below(10)).collect();
        assert_eq!(drawn, (0..100).map(|_| two.below(10)).collect::<Vec<_>>());
        assert!((0..10).all(|value| drawn.contains(&value)));
    }
}
