//! A tenant, as the registry knows it.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{UnsupportedHome, supported::Supported};

/// Identity of a tenant: a UUIDv7, the first column of every key of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TenantId(Uuid);

impl TenantId {
    /// A new identity.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The UUID.
    pub fn as_uuid(self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for TenantId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a tenant's own tables are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The schema `shared`, row-level security between its tenants.
    Shared,
    /// A schema of its own; row-level security is on as a second wall.
    Schema,
    /// Another database.
    Database,
}

/// Where a tenant stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its home is being made.
    Provisioning,
    /// In service.
    Active,
    /// Refused for now, by an operator's decision.
    Suspended,
    /// Kept, no longer served.
    Archived,
    /// Its rows are being removed.
    Deleting,
    /// Gone.
    Deleted,
}

macro_rules! text_form {
    ($type:ident, $what:literal, $($variant:ident => $text:literal),+ $(,)?) => {
        impl $type {
            /// As it is written in the registry.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownName {
                        what: $what,
                        given: text.to_owned(),
                        known: &[$($text),+],
                    }),
                }
            }
        }
    };
}

text_form!(Isolation, "isolation", Shared => "shared", Schema => "schema", Database => "database");
text_form!(
    Status, "status",
    Provisioning => "provisioning", Active => "active", Suspended => "suspended",
    Archived => "archived", Deleting => "deleting", Deleted => "deleted",
);

/// A name that is none of the known ones.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{given}` is no {what}: use one of {}", known.join(", "))]
pub struct UnknownName {
    what: &'static str,
    given: String,
    known: &'static [&'static str],
}

/// A tenant that has been resolved. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenant(Arc<Record>);

#[derive(Debug)]
struct Record {
    id: TenantId,
    slug: String,
    name: String,
    status: Status,
    isolation: Isolation,
    /// INVARIANT: `main` exactly when the isolation is not `database`.
    database_name: String,
    /// INVARIANT: matches `[a-z_][a-z0-9_]*`, so that it can stand in SQL text.
    schema_name: String,
    epoch: i64,
    region: String,
    plan: String,
    default_currency: String,
    time_zone: String,
    version: i64,
    own_role: bool,
    home_versions: BTreeMap<String, i32>,
    /// Judged when the registry answered, so that a transaction does not have to.
    unsupported: Option<UnsupportedHome>,
    /// When the registry said so.
    read_at: Instant,
}

impl Tenant {
    /// Identity.
    pub fn id(&self) -> TenantId {
        self.0.id
    }

    /// Name in addresses: `acme` of `acme.example.com`.
    pub fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Name for people.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where it stands in its life.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Where its tables are.
    pub fn isolation(&self) -> Isolation {
        self.0.isolation
    }

    /// The database that its tables are in, by the name that the service knows it by: `main` unless the isolation is
    /// [`Isolation::Database`].
    pub fn database_name(&self) -> &str {
        &self.0.database_name
    }

    /// The schema that its tables are in.
    pub fn schema_name(&self) -> &str {
        &self.0.schema_name
    }

    /// Raised when the home moves or is restored; a [`CommitToken`](crate::CommitToken) of an older
    /// epoch says nothing about the new home.
    pub fn epoch(&self) -> i64 {
        self.0.epoch
    }

    /// Whether its schema has a role of its own, as a second wall.
    pub fn has_own_role(&self) -> bool {
        self.0.own_role
    }

    /// The version of each set that its home had when the registry answered.
    pub fn home_versions(&self) -> &BTreeMap<String, i32> {
        &self.0.home_versions
    }

    pub(crate) fn unsupported(&self) -> Option<&UnsupportedHome> {
        self.0.unsupported.as_ref()
    }

    pub(crate) fn with_home_versions(mut self, versions: BTreeMap<String, i32>) -> Self {
        if let Some(record) = Arc::get_mut(&mut self.0) {
            record.home_versions = versions;
        }
        self
    }

    pub(crate) fn judged_by(mut self, supported: &Supported) -> Self {
        if let Some(record) = Arc::get_mut(&mut self.0) {
            record.unsupported = supported.judge(&record.slug, &record.home_versions);
        }
        self
    }

    /// Region of its home.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// Plan, which limits hang on.
    pub fn plan(&self) -> &str {
        &self.0.plan
    }

    /// ISO 4217 code used where none is given.
    pub fn default_currency(&self) -> &str {
        &self.0.default_currency
    }

    /// IANA name of its time zone.
    pub fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    /// Version of the registry's entry.
    pub fn version(&self) -> i64 {
        self.0.version
    }

    /// When this process read it.
    pub(crate) fn read_at(&self) -> Instant {
        self.0.read_at
    }
}

impl FromRow<'_, PgRow> for Tenant {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema_name: String = row.try_get("schema_name")?;
        if !is_identifier(&schema_name) {
            return Err(sqlx::Error::Decode(format!("`{schema_name}` is no schema name of a home").into()));
        }
        let decode = |error: UnknownName| sqlx::Error::Decode(error.into());
        Ok(Self(Arc::new(Record {
            id: TenantId(row.try_get("id")?),
            slug: row.try_get("slug")?,
            name: row.try_get("name")?,
            status: row.try_get::<&str, _>("status")?.parse().map_err(decode)?,
            isolation: row.try_get::<&str, _>("isolation")?.parse().map_err(decode)?,
            database_name: row.try_get("database_name")?,
            schema_name,
            epoch: row.try_get("epoch")?,
            region: row.try_get("region")?,
            plan: row.try_get("plan")?,
            default_currency: row.try_get("default_currency")?,
            time_zone: row.try_get("time_zone")?,
            version: row.try_get("version")?,
            own_role: row.try_get("own_role")?,
            home_versions: row.try_get::<Json<_>, _>("home_versions")?.0,
            unsupported: None,
            read_at: Instant::now(),
        })))
    }
}

/// Lower-case ASCII that needs no quoting in SQL.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && text.len() <= 63
}

/// Lower-case letters, digits and inner hyphens, at most 63: one label of a host name.
pub(crate) fn is_slug(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
