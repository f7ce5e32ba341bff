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
//!
//! # Non-goals
//!
//! No graph database: a link says that two rows belong together, the rows say what they are.

mod end;
mod error;
mod link;
mod linked;
mod links;
mod resolver;
mod unlink;

pub use end::End;
pub use error::LinkError;
pub use link::{Link, LinkType, LinkTypes, StoredLink};
pub use linked::{Direction, Linked, Page};
pub use links::Links;
pub use resolver::EntityResolver;
