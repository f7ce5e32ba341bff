//! Rate limits: how often, per address, user, tenant and endpoint.
//!
//! The algorithm is the ATM Forum's generic cell rate algorithm in its form "virtual scheduling" (Traffic Management
//! Specification 4.0, section 4.4.2): a limit keeps one number, the time at which it is full again. A [`Call`] names
//! every limit that one request is under; all must have room, and when one has none, nothing is taken from any.
//!
//! - [`MemoryLimiter`] counts in this process, in bounded memory.
//! - `RedisLimiter` (feature `redis`) counts for all nodes together, and in memory while Redis is out of reach.
//! - [`Limiter`] is either.
//!
//! ```
//! use std::time::Duration;
//!
//! use formwork_tenancy::{Actor, TenantId, limits::{Call, Limit, MemoryLimiter, Scope, Verdict}};
//!
//! let limiter = MemoryLimiter::new();
//! let (acme, ada) = (TenantId::generate(), Actor::user(uuid::Uuid::now_v7()));
//! let call = Call::of_tenant(acme)
//!     .overall(Limit::per_second(100).burst(300))
//!     .user(&ada, Limit::per_second(5))
//!     .endpoint("POST /imports", Limit::per_minute(2));
//! assert!(limiter.check(&call).is_allowed());
//! assert!(limiter.check(&call).is_allowed());
//! let Verdict::Refused(refused) = limiter.check(&call) else { panic!() };
//! assert_eq!(refused.scope(), Scope::Endpoint);
//! assert!(refused.retry_after().is_some_and(|wait| wait <= Duration::from_secs(30)));
//! ```
//!
//! Every key begins with the call's tenant, so one tenant's calls never count against another's. A call whose tenant
//! is not known yet begins with the client's address ([`Call::from_ip`]).

mod call;
mod clock;
mod headers;
mod limit;
mod limiter;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod table;
mod verdict;

pub use call::{Call, Scope};
pub use clock::Clock;
pub(crate) use clock::Monotonic;
pub use limit::Limit;
pub use limiter::Limiter;
pub use memory::{MemoryLimiter, MemoryLimiterBuilder};
pub use verdict::{Allowed, Refused, Standing, Verdict};

#[cfg(feature = "redis")]
pub use self::redis::{RedisLimiter, RedisLimiterBuilder};
#[cfg(feature = "redis")]
pub use crate::redis_server::RedisAddressError;
