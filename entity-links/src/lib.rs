//! Typed links between any two entities of a tenant.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! [`LinkTypes`] says which [`LinkType`]s there are; a [`Link`] joins two [`End`]s by the name of one.
//! [`Links`] writes and reads them inside a transaction; it learns from an [`EntityResolver`] whether an
//! entity exists, and from `formwork-authz` whether the actor may.
//!
//! # Guarantees
//!
//! - No link across tenants: its key begins with the tenant, and both ends are looked for under row security.
//! - Link, event `entity.linked` and audit event are one transaction.
//! - Who may not see an end is told that there is no such thing.
//! - A type's rules hold whatever is done at once: a limit of one is a unique index; greater ones, and that there is
//!   no cycle, are looked at under a lock that is held until the transaction ends (PostgreSQL manual, "Advisory
//!   Locks").
//!
//! # Non-goals
//!
//! No graph database: a link says that two rows belong together, the rows say what they are.

mod cycle;
mod end;
mod error;
mod history;
mod limit;
mod link;
mod link_type;
mod linked;
mod links;
mod lock;
mod make;
mod merge;
mod metadata;
mod remove;
mod replace;
mod resolver;
mod tenant_types;
mod unlink;
mod walk;

pub use end::End;
pub use error::LinkError;
pub use history::HistoryPage;
pub use link::{Link, StoredLink};
pub use link_type::{InvalidLinkType, LinkType, LinkTypes, OnDelete};
pub use linked::{Count, Direction, Hidden, Linked, Page, Selection, Stub};
pub use links::Links;
pub use merge::Merged;
pub use metadata::{Field, MetadataError, MetadataSchema};
pub use remove::{Cascade, Removal};
pub use replace::Replaced;
pub use resolver::EntityResolver;
pub use walk::{Cut, Step, Walk, Walked};
