//! Tenants in Postgres: resolution, and isolation that cannot leak.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! [`Tenants`] is the handle that a service holds. It resolves a request to a [`Tenant`]; a [`Session`]
//! is one [`Actor`]'s work for it; [`Tenants::begin`] turns that into a [`TenantTx`], the only way to the
//! tenant's tables; its commit leaves a [`CommitToken`]. [`ControlPlane`] is the owner's side: migrations
//! and provisioning.
//!
//! # Guarantees
//!
//! - A statement reads and writes rows of the transaction's tenant and of no other: row security is
//!   forced on every table of a home (PostgreSQL manual, "Row Security Policies"), and a login that it
//!   would not hold is refused at connect.
//! - No tenant's context outlives its transaction: it is set with `SET LOCAL` in the message that begins
//!   it, and a connection whose answer was not read is closed, never reused.
//! - Without a tenant there are no rows.
//!
//! # Non-goals
//!
//! No HTTP framework, no environment variables, no global state. SQL that an attacker controls can set
//! another tenant: keep it out as you do today.
//!
//! # Features
//!
//! `keys`: fields sealed under keys of the tenant's own. `aws-kms`: those keys in AWS KMS. `local-postgres`: a
//! private cluster started from binaries on the machine. `testing`: the test kit.

mod conn;
mod control_plane;
mod cursor;
mod entity;
mod error;
mod evidence;
mod member;
mod options;
mod outbox;
mod registry;
mod resolve;
mod run;
mod savepoint;
mod session;
mod tenant;
mod tenants;
mod token;
mod tx;
mod warm;

pub mod doctor;
pub mod fleet;
#[cfg(feature = "keys")]
pub mod keys;
#[cfg(feature = "local-postgres")]
pub mod local_postgres;
#[cfg(feature = "testing")]
pub mod testing;

pub use conn::TenantConn;
pub use control_plane::{ControlError, ControlPlane, EnsuredUser, NewTenant};
pub use cursor::{Cursor, InvalidCursor};
pub use entity::Entity;
pub use error::{CommitError, ConnectError, ResolveError, StorageError};
pub use evidence::Evidence;
pub use formwork_migrations::TenantTable;
pub use member::MemberLogin;
pub use options::{IsolationLevel, TxOptions};
pub use outbox::OutboxEvent;
pub use resolve::TokenTenant;
pub use run::{Retryable, RunError};
pub use session::{Actor, Session};
pub use tenant::{Isolation, Status, Tenant, TenantId, UnknownName};
pub use tenants::{Tenants, TenantsBuilder};
pub use token::{CommitToken, InvalidToken};
pub use tx::TenantTx;
