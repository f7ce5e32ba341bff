//! Following a stream: a table that every tenant's transactions append to, read in such a way that nothing is missed.
//!
//! Ids and times cannot say what is new: a transaction may take a low id and commit late. So a follower keeps a
//! [`Snapshot`](crate::Snapshot), and reads the rows whose transaction was not visible in it and is visible now. No
//! row is missed, none comes twice, and a transaction that is left open holds back its own rows only.

mod cursor;
mod position;
mod table;

pub use cursor::{CursorError, Page, SnapshotCursor};
pub use position::{InvalidPosition, Position};
pub use table::{StreamKey, StreamTable};

pub(crate) use position::History;

/// What listeners wait on. The payload is empty: every login hears every channel.
pub(crate) const CHANNEL: &str = "formwork_streams";
