//! Files of schemas, relationships and expectations, as SpiceDB's and OpenFGA's own tools read them.
//!
//! Nothing here opens a file: the caller gives texts, and a function that reads what a text names. Whatever is wrong is
//! told with its place.

mod convert;
mod fault;
mod model;
mod openfga;
mod rename;
mod scenario;
mod tuples;
mod zed;
mod zed_backup;

pub use convert::{Imported, Unsaid, import_openfga, import_spicedb, misplaced};
pub use fault::{Fault, FileError};
pub use model::{Language, read_schema};
pub use scenario::{Answer, Expectation, Failure, Question, Report, Scenario, Test};
pub use tuples::{read_relationships, read_relationships_for, relationships_of};
pub use zed_backup::read_zed_backup;
