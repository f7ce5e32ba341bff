//! An append-only audit trail, written in the business transaction.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! An [`Event`] says what was done: an action, its [`Target`]s, an [`Outcome`], the proof of the permission. Who
//! did it, and in which request, comes from the transaction's session. [`Audit`] writes events and lists
//! [`StoredEvent`]s by a [`Filter`], page by page. An [`Action`] that is declared says how its event is told and what
//! happens when it cannot be. [`Denials`] are noted beside the requests that they end. An [`Export`] is the trail as a
//! file. A [`Sealer`](seal::Sealer) in the background makes the trail provable: see [`seal`].
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
//! What is in an answer is a matter of classes: [`classification`] strips what the reader is not cleared for.
//!
//! # Features
//!
//! `keys`: personal fields, sealed under the tenant's own key.

// The derive's text names the crate.
extern crate self as formwork_audit;

mod access;
mod action;
mod audit;
mod buffer;
mod denials;
mod diff;
mod error;
mod event;
mod export;
mod hex;
mod list;
#[cfg(feature = "keys")]
mod personal;

pub mod classification;
pub mod seal;
pub mod sink;

pub use access::{EXPORTED, READ};
pub use action::{Action, Actions};
pub use audit::Audit;
pub use buffer::Buffer;
pub use denials::{DENIED, DenialCounts, Denials};
pub use diff::FieldRules;
pub use error::AuditError;
pub use event::{Event, Outcome, Target};
pub use export::{Export, ExportFormat};
pub use list::{Filter, Page, StoredEvent};
