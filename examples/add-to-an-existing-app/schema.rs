//! What a tenant's home has.

use formwork_migrations::{Migration, Set, TENANCY};

/// The platform's tables, and ours.
pub(crate) const SETS: &[Set] = &[
    TENANCY,
    Set {
        name: "notes",
        platform: &[],
        database: &[],
        home: &[Migration { version: 1, name: "boards and notes", sql: include_str!("home.sql") }],
    },
];
