//! Tenants in Postgres: resolution, and isolation that cannot leak.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! [`Tenants`] is the handle that a service holds. It resolves a request to a [`Tenant`]; a [`Session`]
//! is one [`Actor`]'s work for it; [`Tenants::begin`] turns that into a [`TenantTx`], the only way to the
//! tenant's tables; its commit leaves a [`CommitToken`]. A [`Resolver`] takes the tenant from whatever it is told to.
//! [`ControlPlane`] is the owner's side: migrations, provisioning, moves, a tenant in a file ([`archive`]); a
//! [`lifecycle::Lifecycle`] suspends, holds and deletes. A [`Relay`] follows what all tenants have published, by a [`SnapshotCursor`]; a [`Sweep`] visits
//! the tenants that have work.
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
//! private cluster started from binaries on the machine. `redis`: rate limits and a tier of the registry that nodes share.
//! `testing`: the test kit. `tower`: a layer that resolves each request's tenant.

mod administrator;
mod breaker;
mod conn;
mod control_plane;
mod cursor;
mod databases;
mod entity;
mod envelope;
mod error;
mod evidence;
mod member;
mod options;
mod outbox;
mod own_role;
mod place;
mod pooler;
#[cfg(feature = "redis")]
mod redis_server;
mod region;
mod registry;
mod relay;
mod replica;
mod resolve;
mod run;
mod savepoint;
mod scoped;
mod session;
mod snapshot;
mod stream;
mod supported;
mod sweep;
mod tenant;
mod tenants;
mod token;
mod tx;
mod warm;

pub mod admission;
pub mod archive;
pub mod doctor;
pub mod fleet;
#[cfg(feature = "keys")]
pub mod keys;
pub mod lifecycle;
pub mod limits;
#[cfg(feature = "local-postgres")]
pub mod local_postgres;
pub mod moves;
pub mod quota;
#[cfg(feature = "testing")]
pub mod testing;

pub use administrator::{AdministratorRefusal, Authority};
pub use conn::TenantConn;
pub use control_plane::{
    ApiKey, ControlError, ControlPlane, DomainClaim, DomainError, EnsuredUser, NewAdministratorGrant,
    NewApiKey, NewTenant, Prune, PruneError, Pruned,
};
pub use cursor::{Cursor, InvalidCursor};
pub use databases::UnknownDatabase;
pub use entity::Entity;
pub use envelope::{Envelope, EnvelopeError};
pub use error::{CommitError, ConnectError, Limit, Refusal, ResolveError, StorageError};
pub use evidence::Evidence;
pub use formwork_migrations::{InvalidTable, Policy, TENANT_COLUMN, TenantTable};
pub use member::MemberLogin;
pub use options::{IsolationLevel, PlanLimits, TxOptions};
pub use outbox::{OutboxEvent, PublishedEvent};
pub use place::{HomePlace, InvalidPlace};
pub use region::WrongRegion;
pub use registry::{RegistryMetrics, RegistryOptions};
pub use relay::{Backlog, Batch, FollowError, Follower, Relay, RelayBuilder, Stretch, Tail};
pub use replica::{ReplicaFault, ServedBy};
pub use resolve::{
    ApiKeyRefusal, ApiKeySecret, Host, InvalidHost, InvalidResolver, ReservedNames, Resolution, Resolver,
    ResolverBuilder, Source, TokenSubject, TokenTenant, TrustedCaller, TrustedProxy,
};
#[cfg(feature = "tower")]
pub use resolve::{ResolveLayer, ResolveService};
pub use run::{Retryable, RunError};
pub use scoped::{CacheKey, ChannelName, ObjectPath};
pub use session::{Actor, Session};
pub use snapshot::{InvalidSnapshot, Snapshot};
pub use stream::{CursorError, InvalidPosition, Page, Position, SnapshotCursor, StreamKey, StreamTable};
pub use supported::{MigrationRange, UnsupportedHome};
pub use sweep::{Sweep, SweepError, SweepRound, VisitError};
pub use tenant::{Isolation, Status, Tenant, TenantId, UnknownName};
pub use tenants::{Tenants, TenantsBuilder};
pub use token::{CommitToken, InvalidToken};
pub use tx::TenantTx;
