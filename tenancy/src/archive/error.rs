//! What can be wrong with an archive, an export or an import, sorted by what is to be done about it.

use std::io;

use crate::{
    ControlError, Status, StorageError, TenantId, UnknownDatabase,
    moves::{MoveFault, MoveRefusal},
};

/// The bytes are no whole archive of one tenant. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// They could not be read.
    #[error("the archive could not be read")]
    Read(#[source] io::Error),
    /// Something else.
    #[error("this is no export of a tenant: its first line does not say so")]
    NotAnArchive,
    /// Of a version of the format that this program does not read.
    #[error("the archive has version {found} of the format, and this program reads version {known}: use the program that wrote it", known = super::format::VERSION)]
    Version {
        /// Its version.
        found: u32,
    },
    /// It ends before its end.
    #[error("the archive is cut off in {place}, line {line}: export again")]
    Truncated {
        /// A section's name, or what else was expected.
        place: String,
        /// Where it ends.
        line: u64,
    },
    /// A line is not what the format says.
    #[error("{place}, line {line}: {why}")]
    Malformed {
        /// A section's name, or what else stands there.
        place: String,
        /// Where.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A section stands where another one belongs.
    #[error("line {line}: `{found}` stands where `{expected}` belongs")]
    Order {
        /// Where.
        line: u64,
        /// Its name.
        found: String,
        /// The other's name.
        expected: String,
    },
    /// A row of another tenant.
    #[error("`{table}`, line {line}: the row is not of the archive's tenant")]
    ForeignRow {
        /// The table's name.
        table: String,
        /// Where.
        line: u64,
    },
    /// The bytes are not those that were written.
    #[error("{place} was changed: count or checksum is another one")]
    Checksum {
        /// A section's name, or the archive.
        place: String,
    },
}

/// A tenant was not exported. What has been written is no archive: it has no last line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No tenant has this identity.
    #[error("there is no tenant {tenant}")]
    UnknownTenant {
        /// As given.
        tenant: TenantId,
    },
    /// It has no home that is whole.
    #[error("the tenant is {status}: only one that is active, suspended or archived can be exported")]
    NotExportable {
        /// Where it stands.
        status: Status,
    },
    /// Its home was moved away meanwhile.
    #[error("the tenant was moved to another home just now: export again")]
    Moved,
    /// A migration is at work.
    #[error("a migration is at work on the tenant's database: wait for its end")]
    Busy,
    /// Its home is in a database that this control plane was not told of.
    #[error(transparent)]
    UnknownDatabase(UnknownDatabase),
    /// Its tables have no order in which they can be filled again.
    #[error(transparent)]
    Home(MoveFault),
    /// It could not be written.
    #[error("the archive could not be written")]
    Write(#[source] io::Error),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A tenant was not imported, and nothing of it is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The archive is not whole, or not what it says.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// It is whole, and does not belong here.
    #[error(transparent)]
    Refused(#[from] ImportRefusal),
    /// Rows were refused by the database: checks, keys or types.
    #[error("{}: the rows are refused: {}", place(table, *line), text(source))]
    Rows {
        /// The table's name.
        table: String,
        /// The first line that is known to be refused.
        line: Option<u64>,
        /// What the database said.
        source: StorageError,
    },
    /// What was imported, exported again, is not what the archive has.
    #[error(
        "table `{table}` is not the same after the import: look for triggers and defaults that change what is inserted"
    )]
    Mismatch {
        /// Its name.
        table: String,
    },
    /// The home could not be made, or its tables have no order.
    #[error("the home could not be made: {0}")]
    Home(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The registry or the home is not as the import left it.
    #[error("the tenant was changed by somebody else during its import")]
    Disturbed,
    /// It failed and could not be cleared up now: the tenant stays in `provisioning` until it is imported again or the
    /// import is aborted.
    #[error("the import failed and could not be undone: import again, or abort it: {source}")]
    Interrupted {
        /// What failed.
        source: Box<ImportError>,
    },
    /// The database failed.
    #[error("{}", text(.0))]
    Storage(#[source] StorageError),
}

/// Why a whole archive was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportRefusal {
    /// The tenant is there.
    #[error("tenant {tenant} is {status} here: delete it first, or import a copy under another identity")]
    Exists {
        /// Its identity.
        tenant: TenantId,
        /// Where it stands.
        status: Status,
    },
    /// The name in addresses is another tenant's.
    #[error("the slug `{slug}` is taken: choose another one")]
    SlugTaken {
        /// The slug.
        slug: String,
    },
    /// What the archive says of its tenant cannot be.
    #[error("the archive's tenant cannot be entered: {why}")]
    Record {
        /// What is wrong.
        why: String,
    },
    /// The home has not been through the same migrations.
    #[error("the archive has `{set}` at version {}, and here it is at {}{}: {}", said(*archive), said(*here),
        if archive == here { " with another text" } else { "" }, remedy(*archive, *here))]
    Migrations {
        /// The first set that differs.
        set: String,
        /// Its version in the archive.
        archive: Option<i32>,
        /// Its version here.
        here: Option<i32>,
    },
    /// A table is missing, too many, or has other columns.
    #[error("table `{table}` is not the same in the archive and here: {why}")]
    Table {
        /// Its name.
        table: String,
        /// What differs.
        why: String,
    },
    /// A copy under another identity of what is sealed for this one.
    #[error(
        "the tenant has keys of its own: what is sealed under them opens for no other tenant, so it cannot be copied"
    )]
    Sealed,
    /// A person's address is somebody else's here, or the identity is of somebody with another address.
    #[error(
        "`{email}` is known here as another person: change the address there or here, or import without people"
    )]
    Identity {
        /// The address.
        email: String,
    },
    /// A domain is another tenant's here.
    #[error("the domain `{host}` is another tenant's here: release it, or import without people")]
    Domain {
        /// The domain.
        host: String,
    },
    /// Numbers so high that the sequence would soon be at its end.
    #[error("column `{column}` of `{table}` has numbers beyond half of what its sequence can count")]
    Counter {
        /// The table's name.
        table: String,
        /// The column's name.
        column: String,
    },
    /// The home is to be in a database that this control plane was not told of.
    #[error(transparent)]
    UnknownDatabase(UnknownDatabase),
    /// There is no import to abort.
    #[error("the tenant has no import that was cut off")]
    NotOpen,
    /// Somebody else is at work.
    #[error("a move or an import of this tenant, or a migration, is at work: wait for its end")]
    Busy,
}

fn said(version: Option<i32>) -> String {
    version.map_or_else(|| "none".to_owned(), |version| version.to_string())
}

fn remedy(archive: Option<i32>, here: Option<i32>) -> &'static str {
    match (archive, here) {
        (_, None) => "import with a program that has this set",
        (Some(archive), Some(here)) if archive > here => "run the migrations, then import",
        _ => "import with a program of the archive's version, and migrate there",
    }
}

fn place(table: &str, line: Option<u64>) -> String {
    match line {
        Some(line) => format!("`{table}`, line {line}"),
        None => format!("`{table}`"),
    }
}

/// What the database said, since an operator reads it.
fn text(error: &StorageError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

impl From<sqlx::Error> for ExportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<MoveFault> for ExportError {
    fn from(fault: MoveFault) -> Self {
        match fault {
            MoveFault::Storage(error) => Self::Storage(error),
            MoveFault::Refused(MoveRefusal::Busy) => Self::Busy,
            MoveFault::Refused(MoveRefusal::UnknownDatabase(unknown)) => Self::UnknownDatabase(unknown),
            fault => Self::Home(fault),
        }
    }
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<MoveFault> for ImportError {
    fn from(fault: MoveFault) -> Self {
        match fault {
            MoveFault::Storage(error) => Self::Storage(error),
            MoveFault::Refused(MoveRefusal::Busy) => ImportRefusal::Busy.into(),
            MoveFault::Refused(MoveRefusal::UnknownDatabase(unknown)) => {
                ImportRefusal::UnknownDatabase(unknown).into()
            }
            fault => Self::Home(Box::new(fault)),
        }
    }
}

impl From<ControlError> for ImportError {
    fn from(error: ControlError) -> Self {
        Self::Home(Box::new(error))
    }
}
