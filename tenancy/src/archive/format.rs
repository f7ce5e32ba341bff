//! The lines of an archive that are JSON. `docs/export.md` says what stands where.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{HomePlace, Isolation, Status, databases::MAIN};

/// What the first line calls itself.
pub(super) const FORMAT: &str = "formwork-tenant";
/// The version of the format that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;
/// The line that ends the rows of a section, as in `COPY`.
pub(super) const END_OF_ROWS: &str = "\\.\n";

/// As much of the first line as tells what it is the first line of.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    pub(super) format: String,
    pub(super) version: u32,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) exported_at: chrono::DateTime<chrono::Utc>,
    pub(super) tenant: TenantRecord,
    pub(super) migrations: Vec<AppliedStep>,
    pub(super) sections: Vec<SectionHead>,
}

/// A tenant, as its export says that it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantRecord {
    pub(super) id: Uuid,
    pub(super) slug: String,
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) isolation: Isolation,
    pub(super) database: String,
    pub(super) own_schema: bool,
    pub(super) own_role: bool,
    pub(super) epoch: i64,
    pub(super) region: String,
    /// Regions in which its data may lie; none: anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) residency: Option<Vec<String>>,
    pub(super) plan: String,
    pub(super) default_currency: String,
    pub(super) time_zone: String,
}

impl TenantRecord {
    /// Identity.
    pub fn id(&self) -> crate::TenantId {
        self.id.into()
    }

    /// Name in addresses.
    pub fn slug(&self) -> &str {
        &self.slug
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stood in its life.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Where its home was.
    pub fn place(&self) -> HomePlace {
        let database = if self.isolation == Isolation::Database { &self.database } else { MAIN };
        match self.own_schema {
            true => HomePlace::database(database),
            false => HomePlace::shared_in(database),
        }
    }

    /// The epoch of that home.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }
}

/// A migration that the home had been through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppliedStep {
    pub(super) set: String,
    pub(super) version: i32,
    pub(super) sha256: String,
}

/// What a section holds. The name is as SQL writes it, quoted where it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SectionHead {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
}

/// The line before a section's rows.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SectionBegin {
    pub(super) section: String,
}

/// The rows of one table, counted and summed. It stands behind the rows, and again in the last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    pub(super) section: String,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl Section {
    /// The table's name, quoted as SQL needs it; with `platform.` what is the control plane's.
    pub fn name(&self) -> &str {
        &self.section
    }

    /// Rows of the tenant.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the rows, with the ends of their lines.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of those bytes, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    pub(super) sections: Vec<Section>,
    /// Of everything before this line.
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// In lower-case hexadecimal.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.as_ref().len());
    for byte in bytes.as_ref() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
