//! Either limiter behind one name.

#[cfg(feature = "redis")]
use super::RedisLimiter;
use super::{Call, MemoryLimiter, Verdict};

/// What a service holds, whichever it was set up with. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Limiter {
    /// Each node counts for itself.
    Memory(MemoryLimiter),
    /// All nodes count together.
    #[cfg(feature = "redis")]
    Redis(RedisLimiter),
}

impl Limiter {
    /// May the call go on? It always gets an answer: see `RedisLimiter` for a Redis that gives none.
    pub async fn check(&self, call: &Call<'_>) -> Verdict {
        match self {
            Self::Memory(limiter) => limiter.check(call),
            #[cfg(feature = "redis")]
            Self::Redis(limiter) => limiter.check(call).await,
        }
    }
}

impl From<MemoryLimiter> for Limiter {
    fn from(limiter: MemoryLimiter) -> Self {
        Self::Memory(limiter)
    }
}

#[cfg(feature = "redis")]
impl From<RedisLimiter> for Limiter {
    fn from(limiter: RedisLimiter) -> Self {
        Self::Redis(limiter)
    }
}
