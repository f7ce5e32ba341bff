//! Which versions of a home this program can work with.
//!
//! A home that a failed migration left behind, or that is further than a stated range, is refused by name; the others
//! are served. The versions come with the registry's answer, so a home that was put right is served as soon as that
//! answer is renewed, within a second.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use formwork_migrations::Set;

/// The versions of one set that a program can work with; the widening of a rolling deploy.
///
/// ```
/// use formwork_tenancy::MigrationRange;
///
/// // The program was compiled with version 4 of this set and still works with a home at 3.
/// let range = MigrationRange::new("service/tasks", 3..=4);
/// assert_eq!(range.to_string(), "3 to 4 of `service/tasks`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationRange {
    set: String,
    versions: RangeInclusive<i32>,
}

impl MigrationRange {
    /// From the lowest to the highest version; 0 is a home without the set.
    pub fn new(set: impl Into<String>, versions: RangeInclusive<i32>) -> Self {
        Self { set: set.into(), versions }
    }

    /// The newest version of the set that was compiled in, or a later one: a schema is changed so that the programs
    /// that are running go on (`docs/schema-changes.md`).
    fn from_newest(set: &Set) -> Option<Self> {
        let newest = set.home.iter().map(|step| step.version).max()?;
        Some(Self::new(set.name, newest..=i32::MAX))
    }
}

impl fmt::Display for MigrationRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lowest, highest) = (self.versions.start(), self.versions.end());
        match *highest {
            i32::MAX => write!(f, "at least {lowest} of `{}`", self.set),
            highest if highest == *lowest => write!(f, "{lowest} of `{}`", self.set),
            highest => write!(f, "{lowest} to {highest} of `{}`", self.set),
        }
    }
}

/// A tenant whose home this program cannot work with. HTTP 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedHome {
    tenant: String,
    version: i32,
    range: MigrationRange,
}

impl UnsupportedHome {
    /// The tenant's slug.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The set.
    pub fn set(&self) -> &str {
        &self.range.set
    }

    /// The home's version of it.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// What this program can work with.
    pub fn supported(&self) -> RangeInclusive<i32> {
        self.range.versions.clone()
    }
}

impl fmt::Display for UnsupportedHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, version, range } = self;
        let remedy =
            if version < range.versions.start() { "run the migrations" } else { "run a newer program" };
        write!(
            f,
            "the home of tenant `{tenant}` is at version {version}, and this program needs {range}: {remedy}"
        )
    }
}

impl std::error::Error for UnsupportedHome {}

/// What a program supports, a range a set. Empty: whatever is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Supported(Vec<MigrationRange>);

impl Supported {
    pub(crate) fn add_sets(&mut self, sets: &[Set]) {
        for range in sets.iter().filter_map(MigrationRange::from_newest) {
            if !self.0.iter().any(|known| known.set == range.set) {
                self.0.push(range);
            }
        }
    }

    pub(crate) fn add_range(&mut self, range: MigrationRange) {
        self.0.retain(|known| known.set != range.set);
        self.0.push(range);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first set of which the home has a version that is not supported.
    pub(crate) fn judge(&self, tenant: &str, versions: &BTreeMap<String, i32>) -> Option<UnsupportedHome> {
        self.0.iter().find_map(|range| {
            let version = versions.get(&range.set).copied().unwrap_or(0);
            (!range.versions.contains(&version)).then(|| UnsupportedHome {
                tenant: tenant.to_owned(),
                version,
                range: range.clone(),
            })
        })
    }
}
