//! The test kit: a real Postgres a process, a database a test, and tests of what a table or a query lets through.
//!
//! The cluster is started by the first test that asks, from binaries found as in
//! [`local_postgres`](crate::local_postgres) (`PG_BIN_DIR` names others), and ends with the process. A database is
//! cloned from a template that has been migrated once. Everything panics with a clear message: it is for
//! tests only.
//!
//! ```no_run
//! # async fn example() {
//! use formwork_tenancy::{Isolation, TenantTx, assert_isolated, testing::TestDatabase};
//! use uuid::Uuid;
//!
//! let db = TestDatabase::new(&[formwork_migrations::TENANCY]).await;
//! let acme = db.tenant("acme", Isolation::Shared).await;
//! let anna = db.user(&acme, "anna").await;
//! let tx = anna.begin().await;
//! # drop(tx);
//!
//! // As B: rows. As A: whatever could reach them. In every isolation mode, for both.
//! let seed = async |b: &mut TenantTx| -> Vec<Uuid> {
//!     let add = "insert into notes (body) values ('secret') returning id";
//!     vec![sqlx::query_scalar(add).fetch_one(&mut **b).await.unwrap()]
//! };
//! let attack = async |a: &mut TenantTx, ids: &Vec<Uuid>| {
//!     let delete = sqlx::query("delete from notes where id = any($1)").bind(ids);
//!     delete.execute(&mut **a).await.map(|done| done.rows_affected())
//! };
//! assert_isolated!(db, seed, attack);
//! # }
//! ```

#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod actor;
mod cancel;
mod cluster;
mod database;
mod isolated;
mod knowledge;
mod leak;
mod long;
mod pool;
mod replica;
mod state;

pub use actor::{TestActor, TestUser};
pub use cancel::{CancelFuzz, CancelReport};
pub use cluster::cluster;
pub use database::{BASE_DOMAIN, TestDatabase};
pub use isolated::{IsolationReport, IsolationTest, isolated};
pub use knowledge::Knowledge;
pub use leak::Leak;
pub use long::LongRound;
pub use pool::{PoolLeak, examine_pool};
pub use replica::Replica;
