//! Where a tenant's home is to be.

use std::{fmt, str::FromStr};

use crate::{
    Isolation, TenantId,
    control_plane::SHARED,
    databases::{MAIN, is_database_name},
};

/// A place for a tenant's home: a database, and in it the shared schema or one of the tenant's own.
///
/// ```
/// use formwork_tenancy::{HomePlace, Isolation};
///
/// let place: HomePlace = "database:eu".parse()?;
/// assert_eq!(place, HomePlace::database("eu"));
/// assert_eq!(place.isolation(), Isolation::Database);
/// assert_eq!(HomePlace::shared_in("eu").to_string(), "database:eu:shared");
/// # Ok::<(), formwork_tenancy::InvalidPlace>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePlace {
    database: String,
    has_own_schema: bool,
}

impl HomePlace {
    /// The shared schema of the main database.
    pub fn shared() -> Self {
        Self::shared_in(MAIN)
    }

    /// A schema of its own in the main database.
    pub fn schema() -> Self {
        Self::database(MAIN)
    }

    /// A schema of its own in the database with this name.
    pub fn database(name: impl Into<String>) -> Self {
        Self { database: name.into(), has_own_schema: true }
    }

    /// The shared schema of the database with this name.
    pub fn shared_in(name: impl Into<String>) -> Self {
        Self { database: name.into(), has_own_schema: false }
    }

    /// The database's name.
    pub fn database_name(&self) -> &str {
        &self.database
    }

    /// Is the schema the tenant's own?
    pub fn has_own_schema(&self) -> bool {
        self.has_own_schema
    }

    /// What the registry calls it.
    pub fn isolation(&self) -> Isolation {
        match (self.database.as_str(), self.has_own_schema) {
            (MAIN, false) => Isolation::Shared,
            (MAIN, true) => Isolation::Schema,
            _ => Isolation::Database,
        }
    }

    pub(crate) fn schema_of(&self, tenant: TenantId) -> String {
        match self.has_own_schema {
            true => format!("t_{}", tenant.as_uuid().simple()),
            false => SHARED.to_owned(),
        }
    }
}

impl fmt::Display for HomePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.isolation() {
            Isolation::Shared => f.write_str("shared"),
            Isolation::Schema => f.write_str("schema"),
            Isolation::Database if self.has_own_schema => write!(f, "database:{}", self.database),
            Isolation::Database => write!(f, "database:{}:shared", self.database),
        }
    }
}

/// Text that is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no place for a home: write shared, schema, database:NAME or database:NAME:shared")]
pub struct InvalidPlace {
    given: String,
}

impl FromStr for HomePlace {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let database = |name: &str| is_database_name(name).then(|| name.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let place = match parts.as_slice() {
            ["shared"] => Some(Self::shared()),
            ["schema"] => Some(Self::schema()),
            ["database", name] => database(name).map(Self::database),
            ["database", name, "shared"] => database(name).map(Self::shared_in),
            _ => None,
        };
        place.ok_or_else(|| InvalidPlace { given: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_as_it_was_written() {
        for text in ["shared", "schema", "database:eu", "database:eu-west_1:shared"] {
            assert_eq!(text.parse::<HomePlace>().unwrap().to_string(), text);
        }
        assert_eq!("database:main".parse(), Ok(HomePlace::schema()));
        for text in ["", "Shared", "database", "database:", "database:EU", "database:eu:own", "schema:x"] {
            assert!(text.parse::<HomePlace>().is_err(), "{text}");
        }
    }
}
