//! Reading permit files: a CSV as a city publishes it becomes checked rows for projects.
//!
//! A file is read in two passes, in constant memory but for one small entry a key. [`Survey::run`]
//! finds the encoding, the columns, every bad row and every repeat, and writes nothing but the
//! [`Report`]; [`Survey::rows`] then yields, in file order, one [`PermitRow`] a key: its final
//! content. So a file that cannot be imported is refused before the first project is written, and
//! a project is written once however often the file repeats it.
//!
//! A [`Mapping`] says which column is what, how dates and money are written and which stage a
//! written status means. Three are [built in](Mapping::built_in).
//!
//! A row's *content* is the parsed values of its mapped columns ([`PermitRow::content_hash`]);
//! columns that the mapping does not name do not count.

mod dates;
mod encoding;
mod error;
mod header;
mod mapping;
mod money;
mod permit;
mod progress;
mod record;
mod repeats;
mod report;
mod survey;

pub use error::{FileError, HeaderError, ImportError, MappingError, ReportError};
pub use mapping::Mapping;
pub use permit::PermitRow;
pub use progress::Progress;
pub use report::{Outcome, Report};
pub use survey::{Counts, Rows, Survey, probe};
