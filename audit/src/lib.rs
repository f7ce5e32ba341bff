//! An append-only audit trail, written in the business transaction.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! An [`Event`] says what was done: an action, its [`Target`]s, an [`Outcome`], the proof of the permission. Who
//! did it, and in which request, comes from the transaction's session. [`Audit`] writes events and lists
//! [`StoredEvent`]s by a [`Filter`], page by page. An [`Action`] that is declared says how its event is told and what
//! happens when it cannot be. A [`Sealer`](seal::Sealer) in the background makes the trail provable: see [`seal`].
//!
//! # Guarantees
//!
//! - An event is stored exactly when its transaction commits.
//! - No role of the service can change or remove one: it has no grant, and a trigger refuses.
//! - A list is complete, or has a cursor.
//! - What is sealed cannot be changed, removed, inserted or reordered unnoticed, by whoever has the database.
//!
//! # Non-goals
//!
//! No sampling, no levels, no free text in place of an action: that is what a log is for.
//!
//! # Features
//!
//! `keys`: personal fields, sealed under the tenant's own key.

mod action;
mod audit;
mod buffer;
mod diff;
mod error;
mod event;
mod hex;
mod list;
#[cfg(feature = "keys")]
mod personal;

pub mod seal;
pub mod sink;

pub use action::{Action, Actions};
pub use audit::Audit;
pub use buffer::Buffer;
pub use diff::FieldRules;
pub use error::AuditError;
pub use event::{Event, Outcome, Target};
pub use list::{Filter, Page, StoredEvent};
