//! Permissions in the manner of Zanzibar, in your own Postgres and your own transaction.
//!
#![doc = include_str!("../README.md")]
//!
//! # How the nouns relate
//!
//! A [`Relationship`] is one stored fact: a [`Subject`] holds a relation on an [`Object`]. A [`Schema`]
//! says which facts there can be and which permissions follow. A [`Graph`] is one tenant's facts in
//! memory, at one moment. [`Authz`] keeps the graphs and asks them inside a transaction: [`Authz::check`]
//! gives a [`Decision`], [`Authz::require`] a [`Grant`], which is evidence for the audit trail. [`Following`]
//! keeps the graphs up to date, a [`View`] answers outside of a transaction, a [`Watch`] tells what changes.
//!
//! # Guarantees
//!
//! - A question is answered from what is committed when the transaction first asks, unless another
//!   [`Consistency`] was chosen or a replica answers it, and from the transaction's own writes through
//!   [`Authz`]. What another transaction has not committed, or another tenant has, changes no answer: the
//!   tuples stand under row security (PostgreSQL manual, "Row Security Policies"), and a graph that has
//!   uncommitted writes in it is never shared.
//! - No committed change is missed, in whatever order transactions commit: the log is followed by
//!   snapshots, not by ids (PostgreSQL manual, "Transaction ID and Snapshot Information Functions").
//! - Any client's write counts: triggers log it in its own transaction.
//! - Cycles and depth are no errors. What holds only because of itself does not hold (the least fixed
//!   point of the rewrites of "Zanzibar: Google's Consistent, Global Authorization System", section
//!   2.3.1). A native schema whose exclusions would have no such answer is refused; an OpenFGA model is
//!   warned of (F0906), and a cycle met under what is taken away denies.
//! - A failure to decide is an error, and never either answer.
//!
//! # Non-goals
//!
//! No server and no second database. Nothing is inferred about a
//! userset that is asked about but that it contains itself: it is not opened to see whether each of its
//! members is excluded.

mod adopt;
mod asker;
mod authz;
mod cache;
mod condition;
mod consistency;
mod context;
mod decision;
mod error;
mod export;
#[cfg(feature = "files")]
pub mod files;
mod filter;
mod follow;
mod grant;
mod graph;
mod lock;
mod log;
mod memory;
mod metrics;
mod name;
mod object;
mod outside;
mod packed;
mod parse;
mod past;
mod read;
mod relationship;
mod schema;
mod sql;
mod strict;
mod subject;
mod typed;
mod view;
mod watch;
mod write;

pub use adopt::{AdoptError, Orphans, SchemaPlan, SchemaVersion, StoredSchema};
pub use asker::Asker;
pub use authz::Authz;
pub use condition::ConditionError;
pub use consistency::Consistency;
pub use context::{Clock, Context, SystemClock};
pub use decision::Decision;
pub use error::{
    CheckError, Denied, Existing, FailedPrecondition, Misplaced, ParseError, ReadError, RequireError,
    TooComplex, Undecided, UnknownPermission, UnknownType, WriteError,
};
pub use export::Export;
pub use filter::Filter;
pub use follow::Following;
pub use grant::Grant;
pub use graph::{
    Answered, Attempt, Claim, Cursor, Expansion, Explanation, FoundSubject, Graph, GraphAsker, ObjectId,
    Page, PermissionId, Remedies, Standing, Step, SubjectId, Tree,
};
pub use metrics::Metrics;
pub use object::Object;
pub use outside::View;
pub use read::ReadPage;
pub use relationship::{Change, Relationship};
pub use schema::{
    Allowed, ConditionInfo as Condition, ConversionError, Definition, Diagnostic, InvalidSchemaId, Module,
    ParameterType, Rewrite, Schema, SchemaDiff, SchemaError, SchemaId, Source, format_native, format_openfga,
};
pub use sql::{Budget, Inexpressible, ObjectFilter};
pub use subject::{AsSubject, Subject};
pub use typed::{AsPermission, ObjectType, Permission};
pub use watch::{Changes, Watch, WatchError, Watched, WatchedSchema};
pub use write::{Import, Write, Written};

/// A relationship whose shape is verified by the compiler.
///
/// Types and relations are literal; an id is literal text, or has variables in braces, which are
/// formatted with `Display`. Whether such an id is valid is verified when the relationship is written.
///
/// # How is a relationship written down?
///
/// ```
/// use formwork_authz::rel;
///
/// let (rfi, bob) = (7, "bob");
/// assert_eq!(rel!("rfi:{rfi}#assignee@user:{bob}").to_string(), "rfi:7#assignee@user:bob");
/// assert_eq!(rel!("rfi:{rfi}#viewer@team:eng#member").to_string(), "rfi:7#viewer@team:eng#member");
/// ```
///
/// # And with the terms under which it counts?
///
/// The context of a condition is a map of JSON values and an expiration a time, each in a variable:
///
/// ```
/// use chrono::{DateTime, Utc};
/// use formwork_authz::rel;
/// use serde_json::{Map, json};
///
/// let hours = Map::from_iter([("from".to_owned(), json!(8))]);
/// let until: DateTime<Utc> = "2026-01-31T18:00:00Z".parse()?;
/// let fact = rel!("rfi:7#viewer@user:bob[in_hours:{hours}][expiration:{until}]");
/// assert_eq!(fact.to_string(), r#"rfi:7#viewer@user:bob[in_hours:{"from":8}][expiration:2026-01-31T18:00:00Z]"#);
/// assert_eq!(rel!("rfi:7#viewer@user:bob[in_hours]").condition(), Some("in_hours"));
/// # Ok::<(), chrono::ParseError>(())
/// ```
///
/// A misshapen one does not compile:
///
/// ```compile_fail
/// formwork_authz::rel!("rfi:7#assignee");
/// ```
pub use formwork_authz_macros::rel;

/// Types for the objects and permissions of a schema: what is misspelt does not compile.
///
/// It takes a text, or a file from the folder of `Cargo.toml` (`.zed`, with its imports, or `.fga`), and is best put into a
/// module of its own. For each type of objects it makes a type of Rust, whose `CAN` has the relations and permissions;
/// the editor shows the rule of each. Its `rel!` takes what the schema has a place for, and nothing else. `schema()` compiles
/// the text and has every other fault of it: call it in a test.
///
/// # How does the compiler come to know permissions?
///
/// ```
/// use formwork_authz::Graph;
///
/// mod access {
///     formwork_authz::schema!("
///         definition user {}
///         definition change_order {
///             relation approver: user
///             permission approve = approver
///         }");
/// }
/// use access::{ChangeOrder, User, rel};
///
/// let graph = Graph::load(access::schema()?, [rel!("change_order:7#approver@user:anna")]);
/// let anna = graph.for_subject(&User::new("anna"))?;
/// assert!(anna.check(ChangeOrder::CAN.approve, &ChangeOrder::new(7))?.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A permission of another type does not compile:
///
/// ```compile_fail,E0308
/// # mod access {
/// #     formwork_authz::schema!("
/// #         definition user {}
/// #         definition folder { relation viewer: user }
/// #         definition document { relation viewer: user }");
/// # }
/// # use access::{Document, Folder, User};
/// # let graph = formwork_authz::Graph::load(access::schema().unwrap(), []);
/// let anna = graph.for_subject(&User::new("anna")).unwrap();
/// anna.check(Document::CAN.viewer, &Folder::new(7)).unwrap();
/// ```
pub use formwork_authz_macros::schema;

#[doc(hidden)]
pub use formwork_authz_macros::rel_of_schema;
