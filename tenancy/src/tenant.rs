//! A tenant, as the registry knows it.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{StorageError, UnsupportedHome, limits::Clock};

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
    entry: TenantEntry,
    standing: HomeStanding,
    /// By which the two moments below are meant: another one's mean nothing.
    clock: Arc<dyn Clock>,
    /// When the registry is known to have said so, last, in nanoseconds; 0: it is known to say otherwise.
    current_at: AtomicU64,
    /// When somebody asked for it, last, to a tenth of a second.
    used_at: AtomicU64,
}

/// What the registry says of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantEntry {
    pub(crate) id: TenantId,
    pub(crate) slug: String,
    name: String,
    status: Status,
    isolation: Isolation,
    /// INVARIANT: `main` exactly when the isolation is not `database`.
    pub(crate) database_name: String,
    /// INVARIANT: matches `[a-z_][a-z0-9_]*`, so that it can stand in SQL text.
    pub(crate) schema_name: String,
    epoch: i64,
    region: String,
    plan: String,
    default_currency: String,
    time_zone: String,
    version: i64,
    own_role: bool,
    pub(crate) home_versions: BTreeMap<String, i32>,
    /// Stands for the versions in the control plane's database, where a change of them is asked for.
    home_stamp: i64,
}

/// Whether this program can work with a home.
#[derive(Debug, Clone)]
pub(crate) enum HomeStanding {
    Supported,
    Unsupported(UnsupportedHome),
    /// The home's database could not be asked.
    Unjudged(StorageError),
}

/// How often it is noted that an entry is in use.
const NOTED: u64 = 100_000_000;

impl Deref for Record {
    type Target = TenantEntry;

    fn deref(&self) -> &TenantEntry {
        &self.entry
    }
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

    /// As the registry said at `current_at`, by this clock.
    pub(crate) fn new(
        entry: TenantEntry,
        standing: HomeStanding,
        clock: Arc<dyn Clock>,
        current_at: u64,
    ) -> Self {
        let (current_at, used_at) = (AtomicU64::new(current_at), AtomicU64::new(current_at));
        Self(Arc::new(Record { entry, standing, clock, current_at, used_at }))
    }

    pub(crate) fn unsupported(&self) -> Option<&UnsupportedHome> {
        match &self.0.standing {
            HomeStanding::Unsupported(unsupported) => Some(unsupported),
            _ => None,
        }
    }

    /// Why it is not known whether this program can work with the home, when it is not.
    pub(crate) fn unjudged(&self) -> Option<&StorageError> {
        match &self.0.standing {
            HomeStanding::Unjudged(error) => Some(error),
            _ => None,
        }
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

    pub(crate) fn home_stamp(&self) -> i64 {
        self.0.home_stamp
    }

    /// When the registry said so last, in nanoseconds.
    pub(crate) fn current_at(&self) -> u64 {
        self.0.current_at.load(Ordering::Acquire)
    }

    /// How long ago the registry said so, by this clock. None: another clock's, or it is known to say otherwise.
    pub(crate) fn age(&self, clock: &Arc<dyn Clock>, now: u64) -> Option<Duration> {
        let at = self.current_at();
        (at > 0 && Arc::ptr_eq(&self.0.clock, clock)).then(|| Duration::from_nanos(now.saturating_sub(at)))
    }

    /// The registry has said the same again. What is known to be outdated stays so.
    pub(crate) fn is_current_at(&self, moment: u64) {
        let renewed = |at: u64| (0 < at && at < moment).then_some(moment);
        let _ = self.0.current_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, renewed);
    }

    /// The registry says otherwise now: whoever holds on to this asks again.
    pub(crate) fn is_outdated(&self) {
        self.0.current_at.store(0, Ordering::Release);
    }

    pub(crate) fn is_used_at(&self, moment: u64) {
        // Mostly a look, so that processors need not take the line from each other.
        if moment.saturating_sub(self.0.used_at.load(Ordering::Relaxed)) > NOTED {
            self.0.used_at.store(moment, Ordering::Relaxed);
        }
    }

    pub(crate) fn used_at(&self) -> u64 {
        self.0.used_at.load(Ordering::Relaxed)
    }

    pub(crate) fn is_same_record(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromRow<'_, PgRow> for TenantEntry {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let schema_name: String = row.try_get("schema_name")?;
        if !is_identifier(&schema_name) {
            return Err(sqlx::Error::Decode(format!("`{schema_name}` is no schema name of a home").into()));
        }
        let decode = |error: UnknownName| sqlx::Error::Decode(error.into());
        Ok(Self {
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
            home_stamp: row.try_get("home_stamp")?,
        })
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
