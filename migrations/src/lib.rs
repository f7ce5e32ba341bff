//! The SQL of Formwork's crates, embedded.
//!
//! A [`Set`] holds the migrations of one crate or one module of a service. Those under `platform/`
//! run once, in the schema `platform` of the database `main`, the control plane's; those under `database/` run in
//! the schema `platform` of every database that has homes in it, `main` too; those under `home/` run once a tenant
//! home, with `search_path` set to that home, so that their names are unqualified and one text serves every isolation
//! mode. Migrations go forward only; a file that has been released is never edited.
//!
//! ```
//! let names: Vec<_> = formwork_migrations::TENANCY.platform.iter().map(|m| m.name).collect();
//! assert!(names.starts_with(&["control_plane", "tenant_homes"]));
//! ```
//!
//! This crate runs nothing: `formwork-tenancy` does.

mod checked_text;
mod policy;
mod tenant_table;

pub use policy::Policy;
pub use tenant_table::{InvalidTable, TENANT_COLUMN, TenantTable};

/// One step of a schema, applied in a transaction of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Position inside its list, from 1, without gaps.
    pub version: i32,
    /// What the step is about.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

/// The migrations of one crate or module.
#[derive(Debug, Clone, Copy)]
pub struct Set {
    /// Unique name, also the folder.
    pub name: &'static str,
    /// Steps that run once, in the control plane's database.
    pub platform: &'static [Migration],
    /// Steps that run once in every database that has homes in it, the control plane's too; after `platform`.
    pub database: &'static [Migration],
    /// Steps that run once a tenant home.
    pub home: &'static [Migration],
}

#[allow(unused_macros, reason = "a build without any feature has no set")]
macro_rules! migration {
    ($version:literal, $name:literal, $path:literal) => {
        Migration { version: $version, name: $name, sql: include_str!(concat!("../", $path)) }
    };
}

/// Registry, streams and the functions by which a service login resolves exact keys; in a home, quotas and the
/// tenant's keys.
#[cfg(feature = "tenancy")]
pub const TENANCY: Set = Set {
    name: "tenancy",
    platform: &[
        migration!(1, "control_plane", "tenancy/platform/0001_control_plane.sql"),
        migration!(2, "tenant_homes", "tenancy/platform/0002_tenant_homes.sql"),
        migration!(3, "administrator_grants", "tenancy/platform/0003_administrator_grants.sql"),
        migration!(4, "resolution", "tenancy/platform/0004_resolution.sql"),
        migration!(5, "registry", "tenancy/platform/0005_registry.sql"),
        migration!(6, "regions", "tenancy/platform/0006_regions.sql"),
        migration!(7, "lifecycle", "tenancy/platform/0007_lifecycle.sql"),
        migration!(8, "export", "tenancy/platform/0008_export.sql"),
    ],
    database: &[
        migration!(1, "homes", "tenancy/database/0001_homes.sql"),
        migration!(2, "outbox", "tenancy/database/0002_outbox.sql"),
        migration!(3, "streams", "tenancy/database/0003_streams.sql"),
    ],
    home: &[
        migration!(1, "quotas", "tenancy/home/0001_quotas.sql"),
        migration!(2, "tenant_keys", "tenancy/home/0002_tenant_keys.sql"),
    ],
};

/// Permission tuples, their change log, and the schemas by which they are read.
#[cfg(feature = "authz")]
pub const AUTHZ: Set = Set {
    name: "authz",
    platform: &[],
    database: &[
        migration!(1, "permission_changes", "authz/database/0001_permission_changes.sql"),
        migration!(2, "permission_schemas", "authz/database/0002_permission_schemas.sql"),
    ],
    home: &[
        migration!(1, "permission_tuples", "authz/home/0001_permission_tuples.sql"),
        migration!(2, "permission_writes", "authz/home/0002_permission_writes.sql"),
        migration!(3, "permission_schemas", "authz/home/0003_permission_schemas.sql"),
    ],
};

/// The append-only audit trail, its seals, and what goes to its sinks.
#[cfg(feature = "audit")]
pub const AUDIT: Set = Set {
    name: "audit",
    platform: &[],
    database: &[migration!(1, "audit_outbox", "audit/database/0001_audit_outbox.sql")],
    home: &[
        migration!(1, "audit_events", "audit/home/0001_audit_events.sql"),
        migration!(2, "platform_lines", "audit/home/0002_platform_lines.sql"),
        migration!(3, "audit_event_fields", "audit/home/0003_audit_event_fields.sql"),
        migration!(4, "audit_seals", "audit/home/0004_audit_seals.sql"),
        migration!(5, "audit_partitions", "audit/home/0005_audit_partitions.sql"),
        migration!(6, "audit_sinks", "audit/home/0006_audit_sinks.sql"),
    ],
};

/// Links between any two entities.
#[cfg(feature = "entity-links")]
pub const ENTITY_LINKS: Set = Set {
    name: "entity-links",
    platform: &[],
    database: &[],
    home: &[
        migration!(1, "entity_links", "entity-links/home/0001_entity_links.sql"),
        migration!(2, "link_types", "entity-links/home/0002_link_types.sql"),
    ],
};

/// The reference service's modules, in the order of their dependencies.
#[cfg(feature = "service")]
pub const SERVICE: &[Set] = &[
    Set {
        name: "service/members",
        platform: &[],
        database: &[],
        home: &[migration!(1, "members", "service/members/home/0001_members.sql")],
    },
    Set {
        name: "service/projects",
        platform: &[],
        database: &[],
        home: &[migration!(1, "projects", "service/projects/home/0001_projects.sql")],
    },
    Set {
        name: "service/tasks",
        platform: &[],
        database: &[],
        home: &[migration!(1, "tasks", "service/tasks/home/0001_tasks.sql")],
    },
];

#[cfg(all(test, feature = "service"))]
mod tests {
    use super::*;

    fn all_sets() -> Vec<Set> {
        let mut sets = vec![TENANCY, AUTHZ, AUDIT, ENTITY_LINKS];
        sets.extend_from_slice(SERVICE);
        sets
    }

    #[test]
    fn versions_count_from_one_without_gaps() {
        for set in all_sets() {
            for list in [set.platform, set.database, set.home] {
                for (index, migration) in list.iter().enumerate() {
                    assert_eq!(migration.version as usize, index + 1, "{} {}", set.name, migration.name);
                }
            }
        }
    }

    /// The policy text is generated; what is checked in must be what the generator writes today.
    #[test]
    fn every_table_of_a_home_carries_the_generated_policy() {
        for set in all_sets() {
            for migration in set.home {
                for table in created_tables(migration.sql) {
                    let expected = TenantTable::new(&table).sql().unwrap();
                    let append_only = TenantTable::new(&table).append_only().sql().unwrap();
                    assert!(
                        migration.sql.contains(&expected) || migration.sql.contains(&append_only),
                        "{}/{}: table `{table}` lacks the generated block:\n{expected}",
                        set.name,
                        migration.name
                    );
                }
            }
        }
    }

    /// A stream of the platform has the same wall, among statements of its own.
    #[test]
    fn every_stream_carries_the_generated_policy() {
        let mut streams = 0;
        for migration in all_sets().iter().flat_map(|set| [set.platform, set.database].concat()) {
            for line in migration.sql.lines() {
                let walled = line.strip_prefix("alter table ");
                let walled = walled.and_then(|rest| rest.strip_suffix(" enable row level security;"));
                if let Some(table) = walled {
                    streams += 1;
                    assert!(migration.sql.contains(&(Policy::isolation().sql(table) + ";\n")), "{table}");
                }
            }
            let policies = migration.sql.matches("create policy tenant_isolation").count();
            let named = format!("create policy {} on", Policy::isolation().name());
            assert_eq!(migration.sql.matches(&named).count(), policies, "{}", migration.name);
        }
        assert!(streams >= 2, "{streams}");
    }

    fn created_tables(sql: &str) -> Vec<String> {
        sql.lines()
            .filter_map(|line| line.strip_prefix("create table "))
            .map(|rest| rest.split([' ', '(']).next().unwrap_or_default().to_owned())
            .collect()
    }
}
