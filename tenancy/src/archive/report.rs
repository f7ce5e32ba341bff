//! What an export or an import tells.

use std::fmt;

use super::format::{End, Header, Section, TenantRecord};
use crate::{HomePlace, TenantId};

/// Something that an export, an import or a verification has come to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum ArchiveEvent<'a> {
    /// A section begins.
    Section {
        /// Its table's name.
        name: &'a str,
        /// Sections before it.
        done: usize,
        /// Sections in all.
        total: usize,
    },
    /// Rows have gone by; told every now and then.
    Rows {
        /// Rows of the section so far.
        rows: u64,
        /// Bytes of the archive so far.
        bytes: u64,
    },
    /// An import has come to a step.
    Reached {
        /// The step.
        step: ImportStep,
    },
}

/// How far an import has come. Whatever fails before the last is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ImportStep {
    /// The registry has the tenant, in `provisioning`.
    Begun,
    /// Its home is there, empty.
    Prepared,
    /// Every row has been inserted, in a transaction that nobody sees.
    Loaded,
    /// The archive was whole, and what was inserted is what it has.
    Verified,
    /// The home has the rows; the registry still says `provisioning`.
    Stored,
    /// The tenant is there.
    Done,
}

impl ImportStep {
    /// All, in order.
    pub const ALL: [Self; 6] =
        [Self::Begun, Self::Prepared, Self::Loaded, Self::Verified, Self::Stored, Self::Done];
}

/// What an archive holds.
#[derive(Debug, Clone)]
pub struct Manifest {
    tenant: TenantRecord,
    exported_at: chrono::DateTime<chrono::Utc>,
    sections: Vec<Section>,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    pub(super) fn new(header: Header, end: End) -> Self {
        let Header { tenant, exported_at, .. } = header;
        let End { sections, bytes, sha256 } = end;
        Self { tenant, exported_at, sections, bytes, sha256 }
    }

    /// The tenant, as it was.
    pub fn tenant(&self) -> &TenantRecord {
        &self.tenant
    }

    /// When, by the home's database.
    pub fn exported_at(&self) -> chrono::DateTime<chrono::Utc> {
        self.exported_at
    }

    /// The tables, in the order in which they stand.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Rows in all.
    pub fn rows(&self) -> u64 {
        self.sections.iter().map(Section::rows).sum()
    }

    /// Bytes before the last line.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of those bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, tables, bytes) = (self.rows(), self.sections.len(), self.bytes);
        write!(f, "{rows} rows of {tables} tables, {bytes} bytes, sha256 {}", self.sha256)
    }
}

/// What an import did.
#[derive(Debug, Clone)]
pub struct ImportReport {
    pub(super) tenant: TenantId,
    pub(super) slug: String,
    pub(super) place: HomePlace,
    pub(super) epoch: i64,
    pub(super) manifest: Manifest,
}

impl ImportReport {
    /// The tenant's identity: the archive's, or a new one for a copy.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Its name in addresses.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Where it lives.
    pub fn place(&self) -> &HomePlace {
        &self.place
    }

    /// The epoch of its home: tokens of an older one mean `full`.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// What the archive holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
