//! Quotas: how much of a resource a tenant may have, counted in the tenant's own transaction.
//!
//! What is used and what is set aside stands in the tenant's home, under row security. Taking is part of the
//! transaction that needs it: rolled back, nothing was taken. No number of transactions at once exceeds the limit.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # use formwork_tenancy::{Actor, Isolation, Session, testing::TestDatabase};
//! use formwork_tenancy::quota::{Period, Quota, QuotaError, Quotas};
//!
//! let quotas = Quotas::new()
//!     .plan("standard", "projects", Quota::up_to(10))
//!     .plan("standard", "exports", Quota::up_to(100).every(Period::Month))
//!     .any_plan("storage-bytes", Quota::up_to(5 << 30));
//! # let db = TestDatabase::new(&[formwork_migrations::TENANCY]).await;
//! # let session = db.session(&db.tenant("acme", Isolation::Shared).await, Actor::system("doc"));
//! # let tenants = db.tenants();
//!
//! // Used at once, in the transaction that makes the project.
//! let mut tx = tenants.begin(&session).await?;
//! quotas.consume(&mut tx, "projects", 1).await?;
//! tx.commit().await?;
//!
//! // Set aside before work whose size is not known yet, settled after it.
//! let mut tx = tenants.begin(&session).await?;
//! let reservation = quotas.reserve(&mut tx, "storage-bytes", 1 << 20).await?;
//! tx.commit().await?;
//! // ... the upload, which stores less ...
//! let mut tx = tenants.begin(&session).await?;
//! quotas.settle(&mut tx, &reservation, 700_000).await?;
//! tx.commit().await?;
//!
//! let mut tx = tenants.begin(&session).await?;
//! let Err(QuotaError::Exceeded(exceeded)) = quotas.reserve(&mut tx, "projects", 10).await else { panic!() };
//! assert_eq!((exceeded.limit(), exceeded.used(), exceeded.reserved()), (10, 1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What it costs
//!
//! One round trip each. A resource's row is locked from the first taking to the end of the transaction, so takings of
//! one tenant and one resource follow each other, and those of other tenants or resources do not wait. Take late in a
//! transaction; or, before long work, reserve in a transaction of its own. Transactions that take several resources
//! take them in one order, or Postgres ends one of two as a deadlock (which
//! [`Tenants::run`](crate::Tenants::run) runs again).

mod error;
mod plan;
mod take;
mod usage;

pub use error::{QuotaError, QuotaExceeded};
pub use plan::{Period, Quota, Quotas};
pub use take::Reservation;
pub use usage::Usage;
